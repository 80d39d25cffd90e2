"""Experiment trackers by name: where metrics and pictures go besides the run's own files."""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from smile_synth.errors import TrainingError
from smile_synth.files import replace_file

# Runs of all trainings stand in one project of a tracker.
PROJECT = "smile-synth"
# In the run's folder: under which id each tracker knows the run, so that a resumed run goes on there.
IDS_FILE = "trackers.json"
LOG = logging.getLogger(__name__)

Image = npt.NDArray[np.uint8]


class Tracker(Protocol):
    """Gets what a run measures."""

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """Take the numbers of one line of metrics, after ``step`` updates."""

    def picture(self, name: str, image_HWC: Image, step: int) -> None:
        """Take a picture."""

    def close(self) -> None:
        """Write what is held back, and end."""


class TensorBoard:
    """TensorBoard files in ``tensorboard/`` of the run's folder."""

    def __init__(self, folder: Path, config: Mapping[str, Any], after_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        del config
        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=after_step + 1)

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, name: str, image_HWC: Image, step: int) -> None:
        self._writer.add_image(name, image_HWC, step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class WandB:
    """Weights & Biases; ``WANDB_MODE=offline`` keeps everything in ``wandb/`` of the run's folder."""

    def __init__(self, folder: Path, config: Mapping[str, Any], after_step: int) -> None:
        del after_step
        self._wandb: Any = importlib.import_module("wandb")
        given = _Ids(folder).of("wandb", lambda: secrets.token_hex(4))
        self._run = self._wandb.init(
            project=PROJECT, name=folder.name, id=given, resume="allow", dir=str(folder), config=dict(config)
        )
        # A resumed run measures the updates after its checkpoint again; wandb's own steps can only rise.
        self._run.define_metric("*", step_metric="step")

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        self._run.log({**numbers, "step": step})

    def picture(self, name: str, image_HWC: Image, step: int) -> None:
        self._run.log({name: self._wandb.Image(image_HWC), "step": step})

    def close(self) -> None:
        self._run.finish()


class MLflow:
    """MLflow at ``MLFLOW_TRACKING_URI``, or in the file ``mlflow.db`` of the run's folder."""

    def __init__(self, folder: Path, config: Mapping[str, Any], after_step: int) -> None:
        del after_step
        mlflow: Any = importlib.import_module("mlflow")
        self._entities: Any = importlib.import_module("mlflow.entities")
        local = f"sqlite:///{folder.absolute() / 'mlflow.db'}"
        self._client = mlflow.MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", local))
        self._run_id = _Ids(folder).of("mlflow", lambda: self._create(folder))
        self._client.log_dict(self._run_id, dict(config), "recipe.json")

    def _create(self, folder: Path) -> str:
        found = self._client.get_experiment_by_name(PROJECT)
        where = (folder.absolute() / "mlflow-files").as_uri()
        experiment = found.experiment_id if found else self._client.create_experiment(PROJECT, artifact_location=where)
        return str(self._client.create_run(experiment, run_name=folder.name).info.run_id)

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        now_ms = int(1000 * time.time())
        # Names of metrics are as ours, but for characters that MLflow refuses; ours have none.
        metrics = [self._entities.Metric(name, value, now_ms, step) for name, value in numbers.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def picture(self, name: str, image_HWC: Image, step: int) -> None:
        self._client.log_image(self._run_id, image_HWC, key=name.replace(", ", "-").replace(" ", "-"), step=step)

    def close(self) -> None:
        self._client.set_terminated(self._run_id)


class Trackio:
    """Trackio, which keeps everything on this machine unless ``TRACKIO_SPACE_ID`` names a space."""

    def __init__(self, folder: Path, config: Mapping[str, Any], after_step: int) -> None:
        del after_step
        self._trackio: Any = importlib.import_module("trackio")
        self._trackio.init(project=PROJECT, name=folder.name, config=dict(config), resume="allow")

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        self._trackio.log(dict(numbers), step=step)

    def picture(self, name: str, image_HWC: Image, step: int) -> None:
        self._trackio.log({name: self._trackio.Image(image_HWC)}, step=step)

    def close(self) -> None:
        self._trackio.finish()


class _Ids:
    """The ids under which trackers know a run.

    Args:
        folder: the run's.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / IDS_FILE

    def of(self, tracker: str, create: Callable[[], str]) -> str:
        """Return the run's id in a tracker, made now where there is none."""
        known: dict[str, str] = json.loads(self._file.read_text(encoding="utf-8")) if self._file.is_file() else {}
        if tracker not in known:
            known[tracker] = create()
            replace_file(self._file, json.dumps(known, indent=1) + "\n")
        return known[tracker]


_TRACKERS: dict[str, Callable[[Path, Mapping[str, Any], int], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "mlflow": MLflow,
    "trackio": Trackio,
}


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers whose package is not installed.

    Raises:
        TrainingError: one is not; says how to install it.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise TrainingError(
                f"watch.trackers names {name!r}, which is not installed: "
                f'pip install "smile-synth[{name}]", or take it out of the list'
            )


def open_trackers(names: Sequence[str], folder: Path, config: Mapping[str, Any], after_step: int) -> list[Tracker]:
    """Start what the names stand for, or resume it.

    Args:
        names: of trackers.
        folder: the run's, which exists.
        config: the resolved recipe.
        after_step: numbers of later updates will come again.

    Raises:
        TrainingError: a tracker cannot start.
    """
    opened = []
    for name in names:
        try:
            opened.append(_TRACKERS[name](folder, config, after_step))
        except Exception as error:
            # A tracker is a stranger's code, and says in its own way what failed.
            for tracker in opened:
                tracker.close()
            raise TrainingError(f"the tracker {name} cannot start: {_line(error)}; see its documentation") from error
    return opened


class Tracked:
    """Several trackers as one; one that fails is dropped with a warning, and the training goes on.

    Args:
        trackers: from ``open_trackers``.
    """

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = list(trackers)

    def log(self, row: Mapping[str, Any]) -> None:
        """Take a row of metrics; ``row["step"]`` counts the updates done, numbers are passed on."""
        numbers = {key: value for key, value in row.items() if isinstance(value, float) and key != "step"}
        self._each(lambda tracker: tracker.log(numbers, row["step"]))

    def picture(self, name: str, image_HWC: Image, step: int) -> None:
        """Take a picture."""
        self._each(lambda tracker: tracker.picture(name, image_HWC, step))

    def close(self) -> None:
        """End all of them."""
        self._each(lambda tracker: tracker.close())

    def _each(self, do: Callable[[Tracker], None]) -> None:
        for tracker in list(self._trackers):
            try:
                do(tracker)
            except Exception as error:  # noqa: BLE001 - a tracker is a stranger's code, often behind a network
                self._trackers.remove(tracker)
                name = type(tracker).__name__
                LOG.warning("the tracker %s failed and gets no more: %s; metrics.jsonl goes on", name, _line(error))


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
