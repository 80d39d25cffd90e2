"""Pretraining: a recipe and stores in, a trained student out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TextIO

import torch

from smile_synth.errors import SmileSynthError, TrainingError
from smile_synth.loader.augment import Views, augment, augment_motion, sample_views
from smile_synth.loader.batch import Batch
from smile_synth.loader.loader import Loader
from smile_synth.model.student import StudentShape
from smile_synth.randomness import stream as random_stream
from smile_synth.recipe.recipe import Recipe
from smile_synth.store import Store
from smile_synth.training.callbacks import Callback
from smile_synth.training.device import keep_freed_memory, naming_memory, using_threads
from smile_synth.training.distributed import join_world
from smile_synth.training.learner import DeviceBatch, Learner
from smile_synth.training.loop import TrainingLoop
from smile_synth.training.metrics import MetricsLog
from smile_synth.training.preflight import Job, build, check
from smile_synth.training.stages import MaskedStage
from smile_synth.training.stop import StopRequest, listening
from smile_synth.training.summary import RunSummary
from smile_synth.training.task import BatchSource, Task
from smile_synth.training.view import TrainingView
from smile_synth.training.watch import Watch

# Metrics by name of a student's weights (by published key names), for the update named in the second argument.
Evaluate = Callable[[Mapping[str, torch.Tensor], str], Mapping[str, float]]
# Makes one, given the student's shape, a folder of its own, and the device.
PrepareEvaluation = Callable[[StudentShape, Path, torch.device], Evaluate]


def pretrain(
    recipe: Recipe,
    stores: Sequence[Store],
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    max_hours: float | None = None,
    view: TextIO | None = sys.stderr,
    evaluation: PrepareEvaluation | None = None,
    callbacks: Sequence[Callback] = (),
) -> RunSummary:
    """Train a student, from the start or from where a run stopped.

    Args:
        recipe: with a section ``pretrain``.
        stores: finished stores with clips of one size.
        out: the run's folder.
        resume: resume from the latest checkpoint in ``out``; without one, start.
        device: ``auto``, ``cpu`` or ``cuda``.
        max_hours: write a checkpoint and return after so long.
        view: where to show progress; None shows nothing.
        evaluation: makes what measures the student every ``watch.probe_every_epochs`` epochs.
        callbacks: are told of steps, epochs and checkpoints.

    Returns:
        What was done; ``reason`` says why where it ended early.

    Raises:
        SmileSynthError: something does not fit, before any work starts; or the loss is not finite.
    """
    threads = recipe.section("pretrain").runtime.threads
    with listening(StopRequest(max_hours)) as stop, join_world(device) as world, using_threads(threads):
        if world.device.type == "cpu":
            keep_freed_memory()
        job = check(recipe, stores, out, resume=resume, world=world)
        task = Pretraining(job, build(job), evaluation)
        loop = TrainingLoop(task, stop, view if world.is_first else None, callbacks)
        # The first process makes files that the others' checks must not find.
        world.barrier()
        with naming_memory(world.device), job.folder.locked() if world.is_first else nullcontext():
            return loop.run()


class Pretraining(Task[MaskedStage, Batch, DeviceBatch]):
    """A student that learns from the clips of stores.

    Args:
        job: what ``check`` returned.
        learner: what ``build`` made of it.
        evaluation: makes what measures the student while it is trained, where the recipe asks for that.

    Raises:
        TrainingError: the recipe asks for probes, and there is no ``evaluation``.
    """

    section = "pretrain"

    def __init__(self, job: Job, learner: Learner, evaluation: PrepareEvaluation | None) -> None:
        super().__init__(job, learner, job.stages, job.params.watch, job.params.checkpoint)
        if job.params.watch.probe_every_epochs and evaluation is None:
            raise TrainingError(
                "pretrain.watch.probe_every_epochs asks for probes, but no evaluation was given; "
                "set it to 0, or pass one"
            )
        self.job, self.learner, self._evaluation = job, learner, evaluation
        self._evaluate: Evaluate | None = None

    @property
    def evaluates_every_epochs(self) -> int:
        return self.job.params.watch.probe_every_epochs

    def prepare(self) -> None:
        if self._evaluation is not None and self.evaluates_every_epochs:
            folder = self.job.folder.path / "probe"
            self._evaluate = self._evaluation(self.learner.student.shape, folder, self.job.world.device)

    def begin(self, log: MetricsLog | None, view: TrainingView, watched: Mapping[str, Any]) -> None:
        super().begin(log, view, watched)
        self.watch = Watch(self.job, self.learner, log, view, dict(watched.get("first_ranks", {})))

    def opening(self) -> list[str]:
        lines = []
        if self.job.params.target.uses_teacher:
            lines.append(f"teacher: {self.job.teacher_note}")
        if self.learner.objective.motion_std is not None:
            lines.append(f"motion is predicted in units of {self.learner.objective.motion_std:.6g} px a frame")
        return lines

    def size_text(self) -> str:
        return f"{self.job.clips_text}, batch {self.job.params.batch_size}"

    def open(self, number: int, stage: MaskedStage, position: Mapping[str, Any] | None) -> Loader:
        seed = int(random_stream(self.job.recipe.seed, "loader", number).integers(2**31))
        loading, world = self.job.params.loading, self.job.world
        loader = Loader(
            self.job.stores,
            batch_size=stage.clips_per_batch,
            seed=seed,
            rank=world.rank,
            world_size=world.size,
            weights=loading.weights,
            last=loading.last,
            on_error=loading.on_error,
            prefetch=loading.prefetch_batches,
            pin=world.device.type == "cuda",
            motion=self.job.params.uses_motion,
            features=self.job.features,
            render_workers=loading.render_workers,
            first_clip=self.job.first_clip(number),
        )
        if position is not None:
            loader.load_position(position)
        return loader

    def skipped(self, source: BatchSource[Batch]) -> str:
        assert isinstance(source, Loader)
        if not source.skipped:
            return ""
        path, clip = source.skipped[0]
        return f"{len(source.skipped)} times a damaged clip was skipped, the first was {path} clip {clip}"

    def on_device(self, batch: Batch, step: int) -> DeviceBatch:
        device = self.job.world.device
        frames = batch.frames_BTHWC.to(device, non_blocking=True)
        boxes = batch.boxes_BKT4.to(device, non_blocking=True)
        motion = None if batch.motion_BTHW2 is None else batch.motion_BTHW2.to(device, non_blocking=True)
        if self.job.params.loading.augment.changes_anything:
            views = self._views(batch, step).to(device)
            frames, boxes = augment(frames, boxes, views)
            if motion is not None:
                motion = augment_motion(motion, views, height=frames.shape[2], width=frames.shape[3])
        features = None if batch.features_BND is None else batch.features_BND.to(device, non_blocking=True)
        return DeviceBatch(frames, boxes, batch.first, motion, features)

    def _views(self, batch: Batch, step: int) -> Views:
        _, _, height, width, _ = batch.frames_BTHWC.shape
        return sample_views(
            self.job.params.loading.augment,
            height=height,
            width=width,
            seed=self.job.recipe.seed,
            step=step,
            first=batch.first,
            count=len(batch.frames_BTHWC),
        )

    def content(self) -> dict[str, Any]:
        canvas = self.job.grid.canvas
        return {
            "student": self.learner.student.shape.to_dict(),
            "canvas": {"height": canvas.height, "width": canvas.width, "frames": canvas.num_frames},
            "stores": [store.digest for store in self.job.stores],
            "motion_std": self.learner.objective.motion_std,
        }

    def look(self, step: int, stage: MaskedStage, clips: DeviceBatch) -> dict[str, float]:
        return self.watch.look(step, stage, clips)

    def watched(self) -> dict[str, Any]:
        return {"first_ranks": dict(self.watch.first_ranks)}

    def evaluate(self, step: int) -> dict[str, float]:
        state = self.learner.weights()
        failures: list[Exception] = []

        def evaluate() -> dict[str, float]:
            assert self._evaluate is not None
            try:
                metrics = self._evaluate(state["ema"] or state["model"], f"update {step}")
            except (SmileSynthError, OSError, MemoryError) as error:
                # The others wait for an answer, and must be there when the loop saves what was learned.
                failures.append(error)
                return {}
            return {f"probe/{name}": value for name, value in metrics.items()}

        found: dict[str, float] = self.job.world.from_first(evaluate)
        if failures:
            raise failures[0]
        return found
