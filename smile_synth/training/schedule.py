"""The learning rate at every step: a straight warm-up, then half a cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from smile_synth.errors import TrainingError

IndexRule = Literal["exact", "published"]


@dataclass(frozen=True)
class Schedule:
    """Learning rates of one stage.

    Args:
        base, floor: the rate after the warm-up, and the one that the cosine runs towards.
        num_steps: updates of the whole stage, at least 1.
        warmup_steps: updates of the warm-up, fewer than ``num_steps``.
        start: the rate of the very first update.

    Source: VideoMAE's schedule, which SMILE uses; the warm-up's last and the cosine's first value are both ``base``.
    """

    base: float
    floor: float
    num_steps: int
    warmup_steps: int = 0
    start: float = 0.0

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise TrainingError(f"a stage must have at least 1 step, got {self.num_steps}; give more epochs or clips")
        if not 0 <= self.warmup_steps < self.num_steps:
            raise TrainingError(
                f"the warm-up must be shorter than the stage's {self.num_steps} steps, got {self.warmup_steps}; "
                f"lower optimizer.warmup_epochs or warmup_steps, or train longer"
            )

    def rate(self, step: int) -> float:
        """Return the learning rate of update ``step``, 0 to ``num_steps - 1``."""
        if step < self.warmup_steps:
            return self._warmup(step)
        progress = math.pi * (step - self.warmup_steps) / (self.num_steps - self.warmup_steps)
        return self.floor + 0.5 * (self.base - self.floor) * (1 + math.cos(progress))

    def _warmup(self, step: int) -> float:
        if self.warmup_steps == 1:
            return self.start
        return float(np.linspace(self.start, self.base, self.warmup_steps)[step])


def published_step(step: int, steps_per_epoch: int, masks_per_clip: int) -> int:
    """Return the place in the schedule that the released code uses for update ``step`` with several masks a clip.

    It counts the steps of an epoch as though every clip had one mask, so that each epoch starts ``masks_per_clip``
    times too early in the schedule and the schedule is never walked to the end of its own last epochs in order.

    Args:
        step: update within the stage.
        steps_per_epoch: true updates of one epoch.
        masks_per_clip: masks of a clip in one epoch.

    Source: SMILE's released training loop.
    """
    counted = max(steps_per_epoch // masks_per_clip, 1)
    epoch, within = divmod(step, steps_per_epoch)
    return epoch * counted + within
