"""Checkpoints: one file with everything that a run needs to resume, written whole or not at all.

A checkpoint is a dictionary of plain values and tensors, readable with ``torch.load(path, weights_only=True)``:

============== ==================================================================================================
``format``     ``smile-synth checkpoint``
``version``    1
``model``      the student's weights by published key names, float32, whole whatever the number of processes
``ema``        the moving average of the weights, or None
``optimizer``  AdamW's moments by parameter name
``student``    every size of the student; absent in the oldest
``step``       updates done in all
``stage``      name of the stage that they ended in
``stage_step`` updates done in this stage
``loader``     position of the loader after the last batch that was trained on
``recipe``     the resolved recipe
``canvas``     height, width and frames of the clips
``stages``     names of the stages and updates of each
``stores``     digests of the stores or of the list of videos that it is trained on; absent in the oldest
``classes``    names of a classifier's classes; absent in pretraining
``motion_std`` the dataset's standard deviation of motion, px a frame; absent or None where motion is no target
``watch``      losses since the last line of metrics, and the first effective ranks
============== ==================================================================================================

No random state is stored: every update's randomness is a function of (seed, stage, update, place in the batch).
"""

from __future__ import annotations

import os
import pickle
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import IO, Annotated, Any, Literal, cast
from zipfile import BadZipFile

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from smile_synth.errors import CheckpointError
from smile_synth.files import replace_file
from smile_synth.model.weights import check_archive

FORMAT = "smile-synth checkpoint"
VERSION = 1
LATEST = "latest.pt"
# What torch.load and zipfile raise where bytes are not what they should be.
UNREADABLE = (
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    BadZipFile,
)
TENSORS = ("model", "ema", "optimizer")
Count = Annotated[int, Field(ge=0, le=2**53)]


class DamagedCheckpointError(CheckpointError):
    """A checkpoint's bytes are not what was written."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, arbitrary_types_allowed=True, extra="ignore")


class _Position(_Part):
    epoch: Count
    offset: Count
    data: str


class _Canvas(_Part):
    height: Count
    width: Count
    frames: Count


class _Watch(_Part):
    losses: list[float]
    first_ranks: dict[str, float] = {}


class _Content(_Part):
    """What a checkpoint must hold, as the module's docstring lists it."""

    format: Literal["smile-synth checkpoint"]
    version: Literal[1]
    model: Annotated[dict[str, torch.Tensor], Field(min_length=1)]
    ema: dict[str, torch.Tensor] | None
    optimizer: dict[str, dict[str, torch.Tensor]]
    student: dict[str, Any] = {}
    step: Count
    stage: str
    stage_step: Count
    loader: _Position
    recipe: dict[str, Any]
    canvas: _Canvas
    stages: Annotated[list[tuple[str, Count]], Field(min_length=1)]
    stores: list[str] | None = None
    classes: list[str] | None = None
    motion_std: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    watch: _Watch

    @field_validator("stages", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        return [tuple(v) if isinstance(v, list) else v for v in value] if isinstance(value, list) else value

    @model_validator(mode="after")
    def _check_place(self) -> _Content:
        lengths = dict(self.stages)
        if len(lengths) < len(self.stages) or self.stage not in lengths:
            raise ValueError(f"stage {self.stage!r} must be one of the different stages {[n for n, _ in self.stages]}")
        before = [length for _, length in self.stages[: [n for n, _ in self.stages].index(self.stage)]]
        if self.stage_step > lengths[self.stage] or self.step != sum(before) + self.stage_step:
            raise ValueError(f"step {self.step} and stage_step {self.stage_step} contradict the stages {self.stages}")
        return self

    @model_validator(mode="after")
    def _check_tensors(self) -> _Content:
        shapes = {name: value.shape for name, value in self.model.items()}
        if self.ema is not None and {name: value.shape for name, value in self.ema.items()} != shapes:
            raise ValueError("ema must have the names and shapes of model")
        for name, moments in self.optimizer.items():
            for key, shape in (("exp_avg", shapes.get(name)), ("exp_avg_sq", shapes.get(name)), ("step", ())):
                if key not in moments or shape is None or tuple(moments[key].shape) != tuple(shape):
                    raise ValueError(f"optimizer's {key} of {name!r} is absent or has another shape than the weight")
        tensors = [*self.model.values(), *(self.ema or {}).values()]
        tensors += [tensor for moments in self.optimizer.values() for tensor in moments.values()]
        if not all(tensor.is_floating_point() and tensor.layout == torch.strided for tensor in tensors):
            raise ValueError("every tensor must be dense and of a floating type")
        return self


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run: the latest, and milestones.

    Args:
        folder: where they lie; made when the first is saved.
        keep_milestones: how many milestones are kept, the newest.
    """

    folder: Path
    keep_milestones: int = 5

    @property
    def latest(self) -> Path:
        """The file of the latest state."""
        return self.folder / LATEST

    def kept(self) -> list[Path]:
        """Return milestones and ends of stages, the newest last."""
        files = [*self.folder.glob("step-*.pt"), *self.folder.glob("stage-*.pt")]
        return sorted(files, key=lambda file: (file.stat().st_mtime_ns, file.name))

    def save(self, state: Mapping[str, Any], *, milestone: bool = False, stage_end: str = "") -> Path:
        """Write the latest state, and keep it as a milestone or as the end of a stage where asked.

        Args:
            state: what the module's docstring lists.
            milestone: keep it, and delete the oldest milestone beyond ``keep_milestones``.
            stage_end: name of the stage that ends here; such a file is kept always.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        write_checkpoint({"format": FORMAT, "version": VERSION, **state}, self.latest)
        if stage_end:
            self._keep(self.folder / f"stage-{stage_end}.pt")
        elif milestone:
            self._keep(self.folder / f"step-{state['step']:08d}.pt")
            for old in sorted(self.folder.glob("step-*.pt"))[: -self.keep_milestones]:
                old.unlink()
        return self.latest

    def _keep(self, path: Path) -> None:
        """Give the latest state a second name; the next save replaces ``latest.pt`` and leaves this one."""

        def link(draft: Path) -> None:
            try:
                os.link(self.latest, draft)
            except OSError:  # a file system without hard links
                shutil.copyfile(self.latest, draft)

        replace_file(path, link)

    def newest_whole(self) -> tuple[dict[str, Any], str]:
        """Read the latest state or, where it is damaged, the newest other one that is not.

        Returns:
            The state, and a line for people where it is not that of ``latest.pt``; else an empty string.

        Raises:
            CheckpointError: there is none that can be read.
        """
        try:
            return read_checkpoint(self.latest), ""
        except DamagedCheckpointError as error:
            for path in reversed(self.kept()):
                try:
                    state = read_checkpoint(path)
                except DamagedCheckpointError:
                    continue
                return state, f"warning: {error}; resuming from {path.name}, update {state['step']}"
            raise


def write_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint so that ``path`` holds either what it held before or all of ``state``, even after a crash.

    Args:
        state: plain values and tensors.
        path: its folder exists.

    Raises:
        OSError: it cannot be written.
    """
    replace_file(path, lambda draft: _save(dict(state), draft))


def _save(state: dict[str, Any], path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        written = _Written(file)
        try:
            torch.save(state, cast(IO[bytes], written))
        except (RuntimeError, OSError):
            # torch hides the system's error behind one of its own zip writer.
            if written.error is not None:
                raise written.error from None
            raise


class _Written:
    """A file that remembers the error that a write ended with."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        rest = memoryview(content)
        total = rest.nbytes
        try:
            while rest.nbytes:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.error = self.error or error
            raise
        return total

    def flush(self) -> None:
        self._file.flush()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, without running anything that it may hold.

    Returns:
        The values that the module's docstring lists, of the types and shapes that they must have.

    Raises:
        DamagedCheckpointError: it is cut, or fails its checksums.
        CheckpointError: there is none, it is not ours, or it contradicts itself.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}; start without --resume, or check the run folder")
    try:
        check_archive(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tensors that are refused below anyway
            state = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        reason = " ".join(str(error).split())[:160]
        raise DamagedCheckpointError(f"checkpoint {path} is damaged or not a checkpoint ({reason})") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of smile-synth; resume needs checkpoints/{LATEST} of a run")
    if state.get("version") != VERSION:
        raise CheckpointError(
            f"checkpoint {path} has version {state.get('version')!r}, this smile-synth reads {VERSION}"
        )
    try:
        _Content.model_validate(state)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"][:3]))
        reason = f"{where}: {problem['msg']}" if where else problem["msg"].removeprefix("Value error, ")
        raise CheckpointError(
            f"checkpoint {path} does not hold what one holds ({reason[:200]}); take another of the same run, "
            f"or start a new one"
        ) from None
    return state
