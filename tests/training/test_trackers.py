"""Trackers get what metrics.jsonl gets; a missing one is named before any work, and a failing one stops nothing."""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_training import run_tiny, tiny_recipe, tiny_store

from smile_synth.errors import RecipeError, TrainingError
from smile_synth.recipe.recipe import parse_recipe
from smile_synth.store import Store
from smile_synth.training.metrics import MetricsLog, read_rows
from smile_synth.training.trackers import PROJECT, Tracked, check_trackers, open_trackers
from smile_synth.training.trainable import Trainable

PICTURE = np.zeros((8, 8, 3), np.uint8)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tiny_store(tmp_path_factory.mktemp("store"))


def train(store: Store, out: Path, tracker: str, **how: Any) -> list[float]:
    """Train six updates in two starts; returns the losses that metrics.jsonl has."""
    recipe = tiny_recipe(watch={"trackers": [tracker], "pictures_every_steps": 3}, checkpoint={"every_steps": 2}, **how)

    run_tiny(store, out, recipe, max_hours=0.0)
    run_tiny(store, out, recipe, resume=True)
    return [row["loss"] for row in read_rows(out / "metrics.jsonl")]


def test_tensorboard_gets_what_the_lines_get(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = MetricsLog(tmp_path, trackers=open_trackers(["tensorboard"], tmp_path, {}, 0))
    log.write({"step": 4, "stage": "train", "loss": 0.5})
    log.picture("input", PICTURE, 4)
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(4, 0.5)]
    assert events.Tags()["images"] == ["input"]


def test_a_missing_package_is_named_before_any_work(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=r"'wandb', which is not installed: pip install \"smile-synth\[wandb\]\""):
        run_tiny(store, tmp_path / "run", tiny_recipe(watch={"trackers": ["wandb"]}))
    assert not (tmp_path / "run").exists()
    check_trackers([])


def test_a_tracker_that_fails_is_dropped_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    class Fails:
        def log(self, numbers: Any, step: int) -> None:
            raise ConnectionError("no route to host")

        def picture(self, name: str, image_HWC: Any, step: int) -> None:
            raise AssertionError("it is dropped")

        def close(self) -> None:
            raise AssertionError("it is dropped")

    class Takes:
        def __init__(self) -> None:
            self.got: list[Any] = []

        def log(self, numbers: Any, step: int) -> None:
            self.got.append((numbers, step))

        def picture(self, name: str, image_HWC: Any, step: int) -> None:
            self.got.append(name)

        def close(self) -> None:
            self.got.append("closed")

    takes = Takes()
    tracked = Tracked([Fails(), takes])
    with caplog.at_level(logging.WARNING):
        tracked.log({"step": 1, "stage": "train", "loss": 0.5})
    tracked.picture("input", PICTURE, 1)
    tracked.close()
    assert takes.got == [({"loss": 0.5}, 1), "input", "closed"]
    assert "the tracker Fails failed and gets no more: ConnectionError: no route to host" in caplog.text


def test_a_tracker_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> Any:
        raise ValueError("not logged in")

    monkeypatch.setattr("smile_synth.training.trackers._TRACKERS", {"tensorboard": fail})
    with pytest.raises(TrainingError, match="the tracker tensorboard cannot start: ValueError: not logged in"):
        open_trackers(["tensorboard"], tmp_path, {}, 0)


def test_trackers_are_closed_where_the_training_fails(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[Any] = []

    class Takes:
        def log(self, numbers: Any, step: int) -> None:
            got.append(step)

        def picture(self, name: str, image_HWC: Any, step: int) -> None: ...

        def close(self) -> None:
            got.append("closed")

    def fail(*arguments: Any) -> Any:
        if got:
            raise TrainingError("it went wrong")
        return update(*arguments)

    update = Trainable.update
    monkeypatch.setattr(Trainable, "update", fail)
    monkeypatch.setattr("smile_synth.training.trackers._TRACKERS", {"tensorboard": lambda *arguments: Takes()})
    with pytest.raises(TrainingError, match="it went wrong"):
        run_tiny(store, tmp_path / "run", tiny_recipe(watch={"trackers": ["tensorboard"]}))
    assert got == [1, "closed"]


def test_recipes_name_trackers_once_and_old_runs_are_read() -> None:
    def trackers(watch: dict[str, Any]) -> tuple[str, ...]:
        values = {"pretrain": {"max_steps": 1, "watch": watch}}
        recipe = parse_recipe(values, folder=Path.cwd(), origin="r")
        return tuple(recipe.section("pretrain").watch.trackers)

    assert trackers({}) == ("tensorboard",)
    assert trackers({"trackers": []}) == trackers({"tensorboard": False}) == ()
    assert trackers({"tensorboard": True}) == ("tensorboard",)
    with pytest.raises(RecipeError, match="each tracker may be named once"):
        trackers({"trackers": ["wandb", "wandb"]})
    with pytest.raises(RecipeError, match=r"got 'wandbb'. Did you mean 'wandb'\?"):
        trackers({"trackers": ["wandbb"]})


@pytest.mark.slow
def test_mlflow_keeps_every_line_in_a_file_of_the_run(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow: Any = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    losses = train(store, tmp_path / "run", "mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'run' / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name(PROJECT).experiment_id])
    history = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, "loss")}
    assert history == pytest.approx(dict(enumerate(losses, start=1)))
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"recipe.json", "images"}
    assert run.info.status == "FINISHED"


def wandb_records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a .wandb file: LevelDB's log, blocks of 32 KiB, after a header of 7 bytes."""
    place, parts = 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield parts
            parts = b""


@pytest.mark.slow
def test_wandb_offline_keeps_every_line_in_the_runs_folder(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    losses = train(store, tmp_path / "run", "wandb")
    history: dict[int, float] = {}
    files = sorted((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))
    for file in files:
        for content in wandb_records(file.read_bytes()):
            record: Any = wandb_internal_pb2.Record()
            record.ParseFromString(content)
            row = {(item.key or ".".join(item.nested_key)): item.value_json for item in record.history.item}
            if "loss" in row:
                history[int(row["step"])] = json.loads(row["loss"])
    assert history == pytest.approx(dict(enumerate(losses, start=1)))
    assert len({file.stem for file in files}) == 1, "a resumed run goes on under its id"


@pytest.mark.slow
def test_trackio_keeps_every_line_on_this_machine(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    losses = train(store, tmp_path / "run", "trackio")
    history = {row["step"]: row["loss"] for row in SQLiteStorage.get_logs(PROJECT, "run") if "loss" in row}
    assert history == pytest.approx(dict(enumerate(losses, start=1)))
