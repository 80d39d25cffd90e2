"""The training loop: batches in, updates, metrics and checkpoints out; it can stop and resume anywhere."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TextIO, TypeVar

import torch

from smile_synth.errors import SmileSynthError, TrainingError
from smile_synth.files import replace_file
from smile_synth.training.callbacks import Callback, TrainingEvent
from smile_synth.training.checkpoint import Checkpoints
from smile_synth.training.metrics import MetricsLog, read_rows
from smile_synth.training.pace import Pace
from smile_synth.training.pictures import loss_curve
from smile_synth.training.stages import locate
from smile_synth.training.stop import StopRequest
from smile_synth.training.summary import RunSummary
from smile_synth.training.task import BatchSource, BatchT, Task
from smile_synth.training.trackers import open_trackers
from smile_synth.training.trainable import ClipsT, Outcome, StageT
from smile_synth.training.view import TrainingView

Result = TypeVar("Result")


@dataclass
class Progress:
    """Where a training stands.

    Args:
        step: updates done in all.
        position: of the source after the last batch trained on; None at the start of a stage.
        losses: of the updates since the last line of metrics.
    """

    step: int = 0
    position: dict[str, Any] | None = None
    losses: list[float] = field(default_factory=list)


class TrainingLoop(Generic[StageT, BatchT, ClipsT]):
    """Trains what a task describes.

    Args:
        task: model, data and stages, checked.
        stop: says when to end early.
        view: where to show progress; None shows nothing.
        callbacks: are told of steps, epochs and checkpoints.
    """

    def __init__(
        self,
        task: Task[StageT, BatchT, ClipsT],
        stop: StopRequest,
        view: TextIO | None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.task, self.stop = task, stop
        self.job, self.learner, self.world = task.checked, task.trainable, task.checked.world
        self.folder = task.checked.folder
        self.progress = Progress()
        self._stream = view
        self._pending: list[Outcome] = []
        self._saved_step = -1
        self._callbacks, self._metrics = tuple(callbacks), dict[str, Any]()

    def run(self) -> RunSummary:
        """Train until every stage is done, or until asked to stop.

        Raises:
            SmileSynthError: data cannot be read, or the loss is not finite.
        """
        if self.world.is_first and self.folder.fingerprint() != list(self.job.seen):
            raise TrainingError(f"another process trained in {self.folder.path} meanwhile; give the same command again")
        watched = self._restore()
        if self.world.is_first:
            text = self.job.recipe.to_yaml(with_folder=True)
            if not self.folder.recipe.is_file() or self.folder.recipe.read_text(encoding="utf-8") != text:
                replace_file(self.folder.recipe, text)
        self.world.from_first(self.task.prepare)
        with closing(self._open_log()) if self.world.is_first else nullcontext() as self._log:
            reason = self._run_in_view(watched)
        return self._finish(reason)

    def _run_in_view(self, watched: Mapping[str, Any]) -> str:
        log_file = self.folder.log if self.world.is_first else None
        self.view = TrainingView(self.task.total_steps, log_file, self._stream, title=self.task.section)
        self.pace = Pace(self.world.device)
        with self.view:
            if self.job.note:
                self.view.note(self.job.note)
            self.view.note(self._opening())
            self.task.begin(self._log, self.view, watched)
            for stage in self.task.stages:
                self.view.note(f"stage {stage.name}: {stage.rate_text}")
            return self._run_stages()

    def _open_log(self) -> MetricsLog:
        names, config, after_step = self.task.watching.trackers, self.job.recipe.resolved(), self.progress.step
        trackers = open_trackers(names, self.folder.path, config, after_step)
        return MetricsLog(self.folder.path, after_step=after_step, trackers=trackers)

    def _opening(self) -> str:
        total, step = self.task.total_steps, self.progress.step
        what = f"resuming after update {step} of {total}" if step else f"{total} updates"
        size = self.learner.num_parameters / 1e6
        return f"{what}, {size:.1f} M parameters, {self.task.size_text()}, {self.world.size} x {self.world.device.type}"

    def _restore(self) -> dict[str, Any]:
        """Set everything from the checkpoint, if there is one; returns what the task watched."""
        state, watched = self.job.state, dict[str, Any]()
        stage_number, stage_step = locate(self.task.stages, state["step"] if state else 0)
        if state is not None:
            self.learner.load_weights(state)
            watched = dict(state["watch"])
            self.progress = Progress(state["step"], None, watched.pop("losses"))
        self.learner.start_stage(self.task.stages[stage_number])
        if state is not None and stage_step > 0:
            self.learner.load_moments(state)
            self.progress.position = state["loader"]
        self._saved_step = self.progress.step if state is not None else -1
        return watched

    def _run_stages(self) -> str:
        """Run what is left of the stages; returns why it ended early, or an empty string."""
        while self.progress.step < self.task.total_steps:
            number, stage_step = locate(self.task.stages, self.progress.step)
            stage = self.task.stages[number]
            if stage_step == 0:
                self.learner.start_stage(stage)
                self.progress.position = None
            reason = self._run_stage(number, stage, stage_step)
            if reason:
                return reason
        return ""

    def _run_stage(self, number: int, stage: StageT, stage_step: int) -> str:
        with self.task.open(number, stage, self.progress.position) as source:
            reason = self._train(source, stage, stage_step)
        skipped = self.task.skipped(source)
        if skipped:
            self.view.note(skipped)
        return reason

    def _train(self, source: BatchSource[BatchT], stage: StageT, stage_step: int) -> str:
        batches = iter(source)
        while stage_step < stage.num_steps:
            batch = self._next(source, batches, stage, stage_step)
            clips = self.task.on_device(batch, self.progress.step)
            self._outcome = self.learner.update(clips, stage, stage_step, self.progress.step)
            self._pending.append(self._outcome)
            stage_step += 1
            self.progress.step += 1
            self.progress.position = batch.position
            self.pace.trained(stage.clips_per_batch)
            self._after_update(stage, stage_step, clips)
            if self._is_asked_to_stop() and stage_step < stage.num_steps:
                self._save(stage, stage_step)
                return self.stop.reason or "another process was asked to stop"
        return ""

    def _next(self, source: BatchSource[BatchT], batches: Iterator[BatchT], stage: StageT, stage_step: int) -> BatchT:
        """Return the next batch; where a rank cannot read its part, nothing that was learned so far is lost."""
        before = source.wait_seconds
        batch = self._or_save(lambda: next(batches), stage, stage_step)
        self.pace.waited(source.wait_seconds - before)
        return batch

    def _or_save(self, work: Callable[[], Result], stage: StageT, stage_step: int) -> Result:
        """Return what work gives; where it fails on some rank, save what was learned so far and end, on all ranks."""
        failure: BaseException | None = None
        try:
            result = work()
        except (SmileSynthError, OSError, MemoryError) as error:
            failure = error
        if self.world.any(failure is not None):
            if self.progress.step > max(self._saved_step, 0):
                self._save(stage, stage_step)
            if failure is not None:
                raise failure
            self.world.await_end()
        return result

    def _after_update(self, stage: StageT, stage_step: int, clips: ClipsT) -> None:
        """Measure, show and save where it is time to, and tell the callbacks."""
        watching, saving, step = self.task.watching, self.task.saving, self.progress.step
        stage_ends = stage_step == stage.num_steps
        evaluates = self._wants_evaluation(stage, stage_step)
        if step % watching.every_steps == 0 or stage_ends or evaluates:
            outcome = self._settle()
            metrics = self._or_save(self._evaluate, stage, stage_step) if evaluates else {}
            self._report(stage, stage_step, clips, outcome, metrics)
        self._tell(stage, stage_step)
        milestone = saving.milestone_every_steps
        is_milestone = bool(milestone) and step % milestone == 0
        if step % saving.every_steps == 0 or is_milestone or stage_ends:
            self._save(stage, stage_step, milestone=is_milestone)

    def _event(self, stage: StageT, stage_step: int) -> TrainingEvent:
        return TrainingEvent(
            self.progress.step,
            self.task.total_steps,
            stage.name,
            stage_step / stage.steps_per_epoch,
            self.folder.path,
            self._metrics,
            self.learner,
            self._outcome,
            self.stop,
        )

    def _tell(self, stage: StageT, stage_step: int) -> None:
        """Tell the callbacks of a step, and of an epoch that it ends."""
        if not self._callbacks:
            return
        event = self._event(stage, stage_step)
        ends_epoch = stage_step % stage.steps_per_epoch == 0 or stage_step == stage.num_steps
        for callback in self._callbacks:
            callback.on_step(event)
            if ends_epoch:
                callback.on_epoch(event)

    def _wants_evaluation(self, stage: StageT, stage_step: int) -> bool:
        every = self.task.evaluates_every_epochs
        return bool(every) and stage_step % (every * stage.steps_per_epoch) == 0

    def _evaluate(self) -> dict[str, float]:
        """Return what the model knows by now, by name; every rank must call it."""
        began_s = time.monotonic()
        found = self.task.evaluate(self.progress.step)
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
            f"lower {self.task.section}.optimizer.learning_rate, set optimizer.clip_grad_norm, or train in float32"
        )

    def _report(
        self, stage: StageT, stage_step: int, clips: ClipsT, outcome: Outcome, metrics: dict[str, float]
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
        row.update(self.pace.measure(self.learner.flops_per_clip(stage), self.world.size))
        self.progress.losses = []
        row.update(self.task.look(step, stage, clips))
        self._metrics = row
        if self._log is not None:
            self._log.write(row)
            self.view.update(row, self.pace.seconds_left(self.task.total_steps - step))

    @property
    def _checkpoints(self) -> Checkpoints:
        return self.folder.checkpoints(self.task.saving.keep_milestones)

    def _is_asked_to_stop(self) -> bool:
        return self.world.any(bool(self.stop.reason))

    def _save(self, stage: StageT, stage_step: int, *, milestone: bool = False) -> None:
        """Write a checkpoint, and tell the callbacks."""
        self._write_state(stage, stage_step, milestone=milestone)
        for callback in self._callbacks:
            callback.on_checkpoint(self._event(stage, stage_step), self._checkpoints.latest)

    def _write_state(self, stage: StageT, stage_step: int, *, milestone: bool) -> None:
        """Write a checkpoint; losses are looked at first, so that weights that are not finite are never saved."""
        if self._pending:
            self._settle()
        state = self.learner.state()
        self._saved_step = self.progress.step
        if not self.world.is_first:
            return
        state |= {
            "step": self.progress.step,
            "stage": stage.name,
            "stage_step": stage_step,
            "loader": self.progress.position,
            "recipe": self.job.recipe.resolved(),
            "stages": [[stage.name, stage.num_steps] for stage in self.task.stages],
            "watch": {"losses": list(self.progress.losses), **self.task.watched()},
            **self.task.content(),
        }
        ends = stage.name if stage_step == stage.num_steps else ""
        self._checkpoints.save(state, milestone=milestone, stage_end=ends)

    def _finish(self, reason: str) -> RunSummary:
        rows = read_rows(self.folder.metrics) if self.world.is_first else []
        summary = RunSummary(
            self.folder.path,
            self.progress.step,
            self.task.total_steps,
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
                loss_curve(rows, self.folder.loss_curve)
            values = {**asdict(summary), "folder": str(self.folder.path)}
            replace_file(self.folder.summary, json.dumps(values, indent=2) + "\n")
        self.world.barrier()
        return summary
