"""The folder of a training run: which file lies where."""

from __future__ import annotations

import fcntl
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from smile_synth.errors import TrainingError
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
        """One JSON line per logged step."""
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

    def fingerprint(self) -> list[int]:
        """Return what changes whenever the latest checkpoint is written; empty where there is none."""
        try:
            status = self.checkpoints().latest.stat()
        except FileNotFoundError:
            return []
        return [status.st_ino, status.st_size, status.st_mtime_ns]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder where there is none, and keep all other processes from training in it.

        The lock is flock's on the file ``.lock``: it ends with the process, however that ends, and holds over NFS
        where the server and the mount support flock (Linux since 2.6.12).

        Raises:
            TrainingError: another process trains here; it is named.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TrainingError(
                    f"{self.path} is in use by {_owner(self.path / '.lock')}; wait until it ends, stop it, or choose "
                    f"another --out"
                ) from None
            file.truncate(0)
            since = datetime.now(UTC).isoformat(" ", "seconds")
            json.dump({"host": platform.node(), "pid": os.getpid(), "since": since}, file)
            file.flush()
            yield


def _owner(lock: Path) -> str:
    try:
        owner = json.loads(lock.read_text(encoding="utf-8"))
        return f"process {int(owner['pid'])} on {owner['host']!s} since {owner['since']!s}"
    except (ValueError, LookupError, TypeError):  # it has the lock, and has not yet said who it is
        return "another process"
