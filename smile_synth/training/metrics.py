"""Metrics of a run: JSON lines, and trackers on request."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smile_synth.files import replace_file
from smile_synth.training.trackers import Tracked, Tracker

Row = dict[str, Any]


class MetricsLog:
    """Writes metrics; a resumed run continues the same file, without the lines that were never checkpointed.

    Args:
        folder: the run's folder; holds ``metrics.jsonl``.
        after_step: lines of later updates are dropped first; they will be written again.
        trackers: get the numbers, too.
    """

    def __init__(self, folder: Path, *, after_step: int = 0, trackers: Sequence[Tracker] = ()) -> None:
        self.path = folder / "metrics.jsonl"
        keep_rows(self.path, after_step)
        self._file = self.path.open("a", encoding="utf-8")
        self._tracked = Tracked(trackers)

    def write(self, row: Mapping[str, Any]) -> None:
        """Add one row; ``row["step"]`` counts the updates done."""
        self._file.write(json.dumps({key: _plain(value) for key, value in row.items()}) + "\n")
        self._file.flush()
        self._tracked.log(row)

    def picture(self, name: str, image_HWC: npt.NDArray[np.uint8], step: int) -> None:
        """Show an image in the trackers."""
        self._tracked.picture(name, image_HWC, step)

    def close(self) -> None:
        """Write what is held back, and close files and trackers."""
        self._file.close()
        self._tracked.close()


def _plain(value: Any) -> Any:
    """Return a value that JSON can hold: a number that is not finite becomes its name."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a JSON-lines file, without a last line that a crash cut short; empty when there is none."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def keep_rows(path: Path, last_step: int) -> None:
    """Drop from a JSON-lines file every row of an update after ``last_step``."""
    if not path.is_file():
        return
    kept = [row for row in read_rows(path) if row["step"] <= last_step]
    replace_file(path, "".join(json.dumps(row) + "\n" for row in kept))
