"""What a training did, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunSummary:
    """What a training did.

    Args:
        folder: where its files lie.
        steps, total_steps: updates done, and those of the whole recipe.
        reason: why it stopped before the end; empty when it is done.
        last_loss: mean loss of the last line of metrics; None when there is none.
        seconds: of this start of the run.
        clips_per_second: clips trained on, over all processes.
        waiting_share: share of the time spent waiting for data.
        memory_gib: largest memory of the device, or of the process on CPU.
        is_first: whether this process is the one that talks.

    Examples:
        >>> short = ["pretrain.max_steps=2", "pretrain.optimizer.warmup_steps=1", "pretrain.batch_size=16"]
        >>> summary = ss.pretrain("demo", "clips.zarr", "run-a", overrides=short, view=None)
        >>> summary.finished, summary.steps, summary.reason
        (True, 2, '')
    """

    folder: Path
    steps: int
    total_steps: int
    reason: str
    last_loss: float | None
    seconds: float
    clips_per_second: float
    waiting_share: float
    memory_gib: float
    is_first: bool = True

    @property
    def finished(self) -> bool:
        """Whether every stage is done."""
        return self.steps == self.total_steps
