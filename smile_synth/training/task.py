"""What a training loop is told of what it trains: the loop is the same whatever the model, its data and its loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, Protocol, TypeVar

from smile_synth.recipe.pretrain import CheckpointParams
from smile_synth.recipe.recipe import Recipe
from smile_synth.training.distributed import World
from smile_synth.training.metrics import MetricsLog
from smile_synth.training.run_folder import RunFolder
from smile_synth.training.trainable import ClipsT, StageT, Trainable
from smile_synth.training.view import TrainingView


class HostBatch(Protocol):
    """Our share of a batch, on the host."""

    @property
    def position(self) -> dict[str, Any]:
        """Where to resume once this batch is trained on."""


class Logging(Protocol):
    """When metrics are written, and which trackers get them too."""

    @property
    def every_steps(self) -> int: ...
    @property
    def trackers(self) -> Sequence[str]: ...


BatchT = TypeVar("BatchT", bound=HostBatch)
BatchT_co = TypeVar("BatchT_co", bound=HostBatch, covariant=True)


class BatchSource(Protocol[BatchT_co]):
    """Endless batches, from where the source was set to."""

    @property
    def wait_seconds(self) -> float:
        """Seconds that the caller waited for batches so far."""

    def __iter__(self) -> Iterator[BatchT_co]: ...


class CheckedJob(Protocol):
    """What every job says once it passed its checks.

    ``seen`` is the folder's ``fingerprint`` when it was checked, ``note`` what to tell people of it, and ``state`` the
    checkpoint to resume from, whose tensors are on the first rank only.
    """

    @property
    def recipe(self) -> Recipe: ...
    @property
    def folder(self) -> RunFolder: ...
    @property
    def world(self) -> World: ...
    @property
    def state(self) -> Mapping[str, Any] | None: ...
    @property
    def note(self) -> str: ...
    @property
    def seen(self) -> tuple[int, ...]: ...


class Task(ABC, Generic[StageT, BatchT, ClipsT]):
    """A checked job with its model: what a loop asks of it.

    Args:
        job: what passed the checks.
        learner: the model.
        stages: what is done, in order.
        watch: what is measured and shown.
        checkpoint: when the state is saved.

    Attributes:
        section: of the recipe that says what is trained; the log's lines begin with it.
    """

    section: str

    def __init__(
        self,
        job: CheckedJob,
        learner: Trainable[StageT, ClipsT],
        stages: Sequence[StageT],
        watch: Logging,
        checkpoint: CheckpointParams,
    ) -> None:
        self.checked, self.trainable, self.stages = job, learner, tuple(stages)
        self.watching, self.saving = watch, checkpoint

    @property
    def total_steps(self) -> int:
        """Updates of all stages together."""
        return sum(stage.num_steps for stage in self.stages)

    @property
    def evaluates_every_epochs(self) -> int:
        """Epochs between two calls of ``evaluate``; 0: none."""
        return 0

    def prepare(self) -> None:
        """Do what the first rank alone does before anything is trained, while the others wait."""

    def begin(self, log: MetricsLog | None, view: TrainingView, watched: Mapping[str, Any]) -> None:
        """Learn where to write and what to continue.

        Args:
            log: gets metrics; None on all processes but the first.
            view: shows metrics and warnings.
            watched: what ``watched`` returned when the checkpoint was written; empty at a start.
        """
        del log, watched
        for line in self.opening():
            view.note(line)

    @abstractmethod
    def opening(self) -> list[str]:
        """Return lines about what is trained, for the log."""

    @abstractmethod
    def size_text(self) -> str:
        """Return how many clips there are and how many a batch takes, for the log's first line."""

    @abstractmethod
    def open(
        self, number: int, stage: StageT, position: Mapping[str, Any] | None
    ) -> AbstractContextManager[BatchSource[BatchT]]:
        """Open the source of a stage's batches.

        Args:
            number: of the stage, from 0.
            stage: what its batches are for.
            position: of the last batch trained on; None at the stage's start.
        """

    @abstractmethod
    def skipped(self, source: BatchSource[BatchT]) -> str:
        """Return a line about what a closed source left out; empty where that is nothing."""

    @abstractmethod
    def on_device(self, batch: BatchT, step: int) -> ClipsT:
        """Return a batch as the model takes it; ``step`` counts the updates done in all."""

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """Return what a checkpoint says of model and data in addition to what the loop knows."""

    def look(self, step: int, stage: StageT, clips: ClipsT) -> dict[str, float]:
        """Look at the last batch where it is time to; returns more metrics. Every rank must call it."""
        del step, stage, clips
        return {}

    def watched(self) -> dict[str, Any]:
        """Return what ``begin`` needs to continue, as plain values."""
        return {}

    def evaluate(self, step: int) -> dict[str, float]:
        """Return what the model knows by now, shares by name; every rank must call it.

        Raises:
            SmileSynthError: it cannot be found out on this rank; the other ranks return all the same.
        """
        raise NotImplementedError
