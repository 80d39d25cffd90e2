"""The folder of a training run: which file lies where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smile_synth.training.checkpoint import Checkpoints


@dataclass(frozen=True)
class RunFolder:
    """Names of the files of a run.

    Args:
        path: the folder; made by ``make``.
    """

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def metrics(self) -> Path:
        """One JSON line a look."""
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """Plain lines for people."""
        return self.path / "log.txt"

    @property
    def pictures(self) -> Path:
        """Pictures of input, mask and error."""
        return self.path / "pictures"

    @property
    def loss_curve(self) -> Path:
        """The loss over the updates."""
        return self.path / "loss.png"

    @property
    def summary(self) -> Path:
        """What came out, as JSON."""
        return self.path / "summary.json"

    def checkpoints(self, keep_milestones: int = 5) -> Checkpoints:
        """Return the run's checkpoints."""
        return Checkpoints(self.path / "checkpoints", keep_milestones)

    @property
    def has_run(self) -> bool:
        """Whether a training has left something here."""
        checkpoints = self.checkpoints()
        return self.recipe.is_file() or checkpoints.latest.is_file() or bool(checkpoints.kept())

    def make(self) -> None:
        """Make the folder where there is none."""
        self.path.mkdir(parents=True, exist_ok=True)
