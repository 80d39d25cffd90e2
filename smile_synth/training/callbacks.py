"""Code of the user's that a training calls: after a step, an epoch, a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from smile_synth.training.stop import StopRequest
from smile_synth.training.trainable import Outcome, Trainable


@dataclass(frozen=True, eq=False)
class TrainingEvent:
    """Where a training stands when it calls a callback.

    Args:
        step, total_steps: updates done in all, and those of the whole recipe.
        stage: name of the stage.
        epoch: epochs done in the stage; a fraction inside an epoch.
        folder: of the run.
        metrics: the latest line of metrics; empty before the first, which comes after ``watch.every_steps`` updates.

    Examples:
        >>> class Talk(ss.Callback):
        ...     def on_epoch(self, event):
        ...         print(f"{event.stage}, epoch {event.epoch:g}: step {event.step} of {event.total_steps}")
        >>> short = ["pretrain.max_steps=8", "pretrain.optimizer.warmup_steps=1", "pretrain.batch_size=16"]
        >>> summary = ss.pretrain("demo", "clips.zarr", "run-8", overrides=short, callbacks=[Talk()], view=None)
        train, epoch 1: step 4 of 8
        train, epoch 2: step 8 of 8
    """

    step: int
    total_steps: int
    stage: str
    epoch: float
    folder: Path
    metrics: Mapping[str, Any]
    _trained: Trainable[Any, Any]
    _outcome: Outcome
    _stop: StopRequest

    @property
    def model(self) -> nn.Module:
        """What is trained; its weights may be sharded over the processes."""
        return self._trained.model

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes files and talks."""
        return self._trained.world.is_first

    @property
    def loss(self) -> float:
        """Loss of the step on this process; on a GPU, asking for it waits until the step is done."""
        return float(self._outcome.loss)

    @property
    def gradient_norm(self) -> float:
        """Norm of the gradient of the step over all processes, before clipping; waits as ``loss`` does."""
        return float(self._outcome.gradient_norm)

    def weights(self) -> dict[str, Tensor]:
        """Return the moving average of the weights where there is one, else the weights, whole and on the CPU.

        Every process must call it; empty on all but the first.
        """
        state = self._trained.weights()
        weights: dict[str, Tensor] = state["ema"] or state["model"]
        return weights

    def stop(self, reason: str) -> None:
        """End the training after this step, with a checkpoint, as a signal would.

        Args:
            reason: for people; ``RunSummary.reason`` holds it.
        """
        self._stop.ask(reason)


class Callback:
    """Base of callbacks: override what is of use.

    Every process of a training calls them; ``event.is_first`` tells the one that writes files. What a callback raises
    ends the training, with the latest checkpoint as it was.

    Examples:
        >>> class StopEarly(ss.Callback):
        ...     def on_step(self, event):
        ...         if event.step == 2:
        ...             event.stop("two steps are enough")
        >>> short = ["pretrain.max_steps=9", "pretrain.optimizer.warmup_steps=1", "pretrain.batch_size=16"]
        >>> ss.pretrain("demo", "clips.zarr", "run-2", overrides=short, callbacks=[StopEarly()], view=None).reason
        'two steps are enough'
    """

    def on_step(self, event: TrainingEvent) -> None:
        """Called after every update."""

    def on_epoch(self, event: TrainingEvent) -> None:
        """Called after the last update of every epoch of a stage, and at the stage's end."""

    def on_checkpoint(self, event: TrainingEvent, path: Path) -> None:
        """Called once a checkpoint is written.

        Args:
            event: where the training stands.
            path: of the latest state, which the next checkpoint replaces; other processes than the first may not see
                it yet.
        """
