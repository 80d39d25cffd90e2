"""The training loop: batches in, updates, metrics and checkpoints out; it can stop and resume anywhere."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

import torch

from smile_synth.errors import SmileSynthError, TrainingError
from smile_synth.files import replace_file
from smile_synth.loader.augment import Views, augment, augment_motion, sample_views
from smile_synth.loader.loader import Batch, Loader
from smile_synth.model.student import StudentShape
from smile_synth.randomness import stream as random_stream
from smile_synth.recipe.recipe import Recipe
from smile_synth.store import Store
from smile_synth.training.device import keep_freed_memory, naming_memory, using_threads
from smile_synth.training.distributed import World, join_world
from smile_synth.training.learner import DeviceBatch, Learner, Outcome
from smile_synth.training.metrics import MetricsLog, read_rows
from smile_synth.training.pictures import loss_curve
from smile_synth.training.preflight import Job, build, check
from smile_synth.training.stages import Stage, locate
from smile_synth.training.stop import StopRequest, listening
from smile_synth.training.summary import RunSummary
from smile_synth.training.view import TrainingView
from smile_synth.training.watch import Pace, Watch

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
        learner = build(job)
        trainer = Trainer(job, learner, stop, view if world.is_first else None, evaluation)
        # The first process makes files that the others' checks must not find.
        world.barrier()
        with naming_memory(world.device), job.folder.locked() if world.is_first else nullcontext():
            return trainer.run()


@dataclass
class Progress:
    """Where a training stands.

    Args:
        step: updates done in all.
        position: of the loader after the last batch trained on; None at the start of a stage.
        losses: of the updates since the last line of metrics.
        first_ranks: the first effective ranks that were measured, of ``student`` and ``target``.
    """

    step: int = 0
    position: dict[str, Any] | None = None
    losses: list[float] = field(default_factory=list)
    first_ranks: dict[str, float] = field(default_factory=dict)


class Trainer:
    """Runs a checked job.

    Args:
        job: what ``check`` returned.
        learner: what ``build`` made of it.
        stop: says when to end early.
        view: where to show progress; None shows nothing.
        evaluation: makes what measures the student while it is trained, where the recipe asks for that.

    Raises:
        TrainingError: the recipe asks for probes, and there is no ``evaluation``.
    """

    def __init__(
        self,
        job: Job,
        learner: Learner,
        stop: StopRequest,
        view: TextIO | None,
        evaluation: PrepareEvaluation | None = None,
    ) -> None:
        if job.params.watch.probe_every_epochs and evaluation is None:
            raise TrainingError(
                "pretrain.watch.probe_every_epochs asks for probes, but no evaluation was given; "
                "set it to 0, or pass one"
            )
        self.job, self.stop, self._evaluation = job, stop, evaluation
        self.world: World = job.world
        self.learner = learner
        self.progress = Progress()
        self._stream = view
        self._pending: list[Outcome] = []
        self._saved_step = -1
        self._evaluate: Evaluate | None = None

    def run(self) -> RunSummary:
        """Train until every stage is done, or until asked to stop."""
        folder = self.job.folder
        if self.world.is_first and folder.fingerprint() != list(self.job.seen):
            raise TrainingError(f"another process trained in {folder.path} meanwhile; give the same command again")
        self._restore()
        if self.world.is_first:
            text = self.job.recipe.to_yaml(with_folder=True)
            if not folder.recipe.is_file() or folder.recipe.read_text(encoding="utf-8") != text:
                replace_file(folder.recipe, text)
        self.world.from_first(self._prepare_evaluation)
        first = self.world.is_first
        after, watching = self.progress.step, self.job.params.watch
        log = MetricsLog(self.job.folder.path, after_step=after, tensorboard=watching.tensorboard) if first else None
        view = TrainingView(self.job.total_steps, self.job.folder.log if first else None, self._stream)
        self.pace = Pace(self.world.device)
        self.view = view
        with view:
            self.watch = Watch(self.job, self.learner, log, view, self.progress.first_ranks)
            if self.job.note:
                view.note(self.job.note)
            view.note(self._opening())
            if self.job.params.target.uses_teacher:
                view.note(f"teacher: {self.job.teacher_note}")
            if self.learner.objective.motion_std is not None:
                view.note(f"motion is predicted in units of {self.learner.objective.motion_std:.6g} px a frame")
            for stage in self.job.stages:
                view.note(f"stage {stage.name}: {stage.rate_text}")
            reason = self._run_stages()
        if log is not None:
            log.close()
        return self._finish(reason)

    def _opening(self) -> str:
        job, step = self.job, self.progress.step
        what = f"resuming after update {step} of {job.total_steps}" if step else f"{job.total_steps} updates"
        size = self.learner.num_parameters / 1e6
        return (
            f"{what}, {size:.1f} M parameters, {job.num_clips} clips, batch {job.params.batch_size}, "
            f"{self.world.size} x {self.world.device.type}"
        )

    def _restore(self) -> None:
        """Set everything from the checkpoint, if there is one."""
        state = self.job.state
        stage_number, stage_step = locate(self.job.stages, state["step"] if state else 0)
        if state is not None:
            self.learner.load_weights(state)
            watched = state["watch"]
            self.progress = Progress(state["step"], None, watched["losses"], watched["first_ranks"])
        self.learner.start_stage(self.job.stages[stage_number])
        if state is not None and stage_step > 0:
            self.learner.load_moments(state)
            self.progress.position = state["loader"]
        self._saved_step = self.progress.step if state is not None else -1

    def _run_stages(self) -> str:
        """Run what is left of the stages; returns why it ended early, or an empty string."""
        while self.progress.step < self.job.total_steps:
            number, stage_step = locate(self.job.stages, self.progress.step)
            stage = self.job.stages[number]
            if stage_step == 0:
                self.learner.start_stage(stage)
                self.progress.position = None
            reason = self._run_stage(number, stage, stage_step)
            if reason:
                return reason
        return ""

    def _run_stage(self, number: int, stage: Stage, stage_step: int) -> str:
        with self._open_loader(number, stage) as loader:
            reason = self._train(loader, stage, stage_step)
        if loader.skipped:
            path, clip = loader.skipped[0]
            self.view.note(f"{len(loader.skipped)} times a damaged clip was skipped, the first was {path} clip {clip}")
        return reason

    def _train(self, loader: Loader, stage: Stage, stage_step: int) -> str:
        batches = iter(loader)
        while stage_step < stage.num_steps:
            batch = self._next(loader, batches, stage, stage_step)
            clips = self._on_device(batch)
            self._pending.append(self.learner.update(clips, stage, stage_step, self.progress.step))
            stage_step += 1
            self.progress.step += 1
            self.progress.position = batch.position
            self.pace.trained(stage.clips_per_batch)
            self._after_update(stage, stage_step, clips)
            if self._is_asked_to_stop() and stage_step < stage.num_steps:
                self._save(stage, stage_step)
                return self.stop.reason or "another process was asked to stop"
        return ""

    def _open_loader(self, number: int, stage: Stage) -> Loader:
        seed = int(random_stream(self.job.recipe.seed, "loader", number).integers(2**31))
        loading = self.job.params.loading
        loader = Loader(
            self.job.stores,
            batch_size=stage.clips_per_batch,
            seed=seed,
            rank=self.world.rank,
            world_size=self.world.size,
            weights=loading.weights,
            last=loading.last,
            on_error=loading.on_error,
            prefetch=loading.prefetch_batches,
            pin=self.world.device.type == "cuda",
            motion=self.job.params.uses_motion,
            features=self.job.features,
        )
        if self.progress.position is not None:
            loader.load_position(self.progress.position)
        return loader

    def _next(self, loader: Loader, batches: Iterator[Batch], stage: Stage, stage_step: int) -> Batch:
        """Return the next batch; where a rank cannot read its part, nothing that was learned so far is lost."""
        before, batch, failure = loader.wait_seconds, None, None
        try:
            batch = next(batches)
        except (SmileSynthError, OSError, MemoryError) as error:
            failure = error
        if self.world.any(failure is not None):
            if self.progress.step > max(self._saved_step, 0):
                self._save(stage, stage_step)
            if failure is not None:
                raise failure
            self.world.await_end()
        assert batch is not None
        self.pace.waited(loader.wait_seconds - before)
        return batch

    def _on_device(self, batch: Batch) -> DeviceBatch:
        device = self.world.device
        frames = batch.frames_BTHWC.to(device, non_blocking=True)
        boxes = batch.boxes_BKT4.to(device, non_blocking=True)
        motion = None if batch.motion_BTHW2 is None else batch.motion_BTHW2.to(device, non_blocking=True)
        if self.job.params.loading.augment.changes_anything:
            views = self._views(batch).to(device)
            frames, boxes = augment(frames, boxes, views)
            if motion is not None:
                motion = augment_motion(motion, views, height=frames.shape[2], width=frames.shape[3])
        features = None if batch.features_BND is None else batch.features_BND.to(device, non_blocking=True)
        return DeviceBatch(frames, boxes, batch.first, motion, features)

    def _views(self, batch: Batch) -> Views:
        _, _, height, width, _ = batch.frames_BTHWC.shape
        return sample_views(
            self.job.params.loading.augment,
            height=height,
            width=width,
            seed=self.job.recipe.seed,
            step=self.progress.step,
            first=batch.first,
            count=len(batch.frames_BTHWC),
        )

    def _after_update(self, stage: Stage, stage_step: int, clips: DeviceBatch) -> None:
        """Measure, show and save where it is time to."""
        params, step = self.job.params, self.progress.step
        stage_ends = stage_step == stage.num_steps
        wants_probe = self._wants_probe(stage, stage_step)
        if step % params.watch.every_steps == 0 or stage_ends or wants_probe:
            outcome = self._settle()
            metrics = self._run_evaluation() if wants_probe else {}
            self._report(stage, stage_step, clips, outcome, metrics)
        milestone = params.checkpoint.milestone_every_steps
        is_milestone = bool(milestone) and step % milestone == 0
        if step % params.checkpoint.every_steps == 0 or is_milestone or stage_ends:
            self._save(stage, stage_step, milestone=is_milestone)

    def _prepare_evaluation(self) -> None:
        if self._evaluation is not None and self.job.params.watch.probe_every_epochs:
            folder = self.job.folder.path / "probe"
            self._evaluate = self._evaluation(self.learner.student.shape, folder, self.world.device)

    def _wants_probe(self, stage: Stage, stage_step: int) -> bool:
        every = self.job.params.watch.probe_every_epochs
        return bool(every) and stage_step % (every * stage.steps_per_epoch) == 0

    def _run_evaluation(self) -> dict[str, float]:
        """Return what the student's features know by now, by name; every rank must call it, the first one works."""
        began_s = time.monotonic()
        state = self.learner.weights()

        def evaluate() -> dict[str, float]:
            assert self._evaluate is not None
            metrics = self._evaluate(state["ema"] or state["model"], f"update {self.progress.step}")
            return {f"probe/{name}": value for name, value in metrics.items()}

        found: dict[str, float] = self.world.from_first(evaluate)
        self.view.note(", ".join(f"{name} {100 * value:.1f}%" for name, value in found.items()))
        self.pace.paused(time.monotonic() - began_s)
        return found

    def _settle(self) -> Outcome:
        """Look at the losses that are still on the device; returns the last outcome.

        Raises:
            TrainingError: one of them is not finite.
        """
        outcome = self._pending[-1]
        losses = self.world.mean(torch.stack([o.loss for o in self._pending])).tolist()
        norms = torch.stack([o.gradient_norm for o in self._pending]).tolist()
        first = self.progress.step - len(losses) + 1
        self._pending.clear()
        for i, (loss, norm) in enumerate(zip(losses, norms, strict=True)):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise self._not_finite(first + i, loss, norm)
        self.progress.losses += losses
        return outcome

    def _not_finite(self, step: int, loss: float, norm: float) -> TrainingError:
        what = f"the gradient norm is {norm}" if math.isfinite(loss) else f"the loss is {loss}"
        kept = "no checkpoint was written yet"
        if self._saved_step >= 0:
            kept = f"the last good checkpoint is {self._checkpoints.latest}, after update {self._saved_step}"
        return TrainingError(
            f"{what} in update {step}; {kept}; "
            f"lower pretrain.optimizer.learning_rate, set optimizer.clip_grad_norm, or train in float32"
        )

    def _report(
        self, stage: Stage, stage_step: int, clips: DeviceBatch, outcome: Outcome, metrics: dict[str, float]
    ) -> None:
        step, losses = self.progress.step, self.progress.losses
        row: dict[str, Any] = {
            "step": step,
            "stage": stage.name,
            "stage_step": stage_step,
            "epoch": stage_step / stage.steps_per_epoch,
            "loss": math.fsum(losses) / len(losses),
            "learning_rate": stage.rate(stage_step - 1),
            "gradient_norm": float(outcome.gradient_norm),
            **metrics,
        }
        if len(outcome.parts) > 1:
            row.update({f"loss_{name}": float(self.world.mean(value)) for name, value in outcome.parts.items()})
        row.update(self.pace.measure(self.learner.flops_per_clip(stage.mask), self.world.size))
        self.progress.losses = []
        self.watch.show(row, stage, clips, self.pace.seconds_left(self.job.total_steps - step))

    @property
    def _checkpoints(self) -> Any:
        return self.job.folder.checkpoints(self.job.params.checkpoint.keep_milestones)

    def _is_asked_to_stop(self) -> bool:
        return self.world.any(bool(self.stop.reason))

    def _save(self, stage: Stage, stage_step: int, *, milestone: bool = False) -> None:
        """Write a checkpoint; losses are looked at first, so that weights that are not finite are never saved."""
        if self._pending:
            self._settle()
        state = self.learner.state()
        self._saved_step = self.progress.step
        if not self.world.is_first:
            return
        canvas = self.job.grid.canvas
        state |= {
            "student": self.learner.student.shape.to_dict(),
            "step": self.progress.step,
            "stage": stage.name,
            "stage_step": stage_step,
            "loader": self.progress.position,
            "recipe": self.job.recipe.resolved(),
            "canvas": {"height": canvas.height, "width": canvas.width, "frames": canvas.num_frames},
            "stages": self.job.stage_lengths,
            "stores": [store.digest for store in self.job.stores],
            "motion_std": self.learner.objective.motion_std,
            "watch": {"losses": list(self.progress.losses), "first_ranks": dict(self.watch.first_ranks)},
        }
        ends = stage.name if stage_step == stage.num_steps else ""
        self._checkpoints.save(state, milestone=milestone, stage_end=ends)

    def _finish(self, reason: str) -> RunSummary:
        folder = self.job.folder
        rows = read_rows(folder.metrics) if self.world.is_first else []
        summary = RunSummary(
            folder.path,
            self.progress.step,
            self.job.total_steps,
            reason,
            float(rows[-1]["loss"]) if rows else None,
            self.pace.seconds,
            self.pace.clips_per_second,
            self.pace.waiting_share,
            self.pace.memory_gib(),
            self.world.is_first,
        )
        if self.world.is_first:
            if rows:
                loss_curve(rows, folder.loss_curve)
            values = {**asdict(summary), "folder": str(folder.path)}
            replace_file(folder.summary, json.dumps(values, indent=2) + "\n")
        self.world.barrier()
        return summary
