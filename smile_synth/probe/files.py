"""The files that a probe leaves: metrics as JSON, the table as text, confusion matrices as pictures."""

from __future__ import annotations

import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from smile_synth.files import replace_file
from smile_synth.probe.pictures import draw_confusions
from smile_synth.probe.results import ProbeResults

RIGHT_FILE = "right.npz"


def write_results(results: ProbeResults, folder: Path) -> list[Path]:
    """Write results.json, table.txt, right.npz and one picture a question and classifier.

    Args:
        results: what to write.
        folder: made if there is none; files of an earlier probe are replaced, its other pictures removed.

    Returns:
        The files, the most telling first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    right = folder / RIGHT_FILE
    # Written last: where it lies, all files are of one probe.
    right.unlink(missing_ok=True)
    table, metrics = folder / "table.txt", folder / "results.json"
    replace_file(table, results.table() + "\n")
    replace_file(metrics, json.dumps(results.to_json(), indent=1) + "\n")
    pictures = []
    for question in results.questions:
        for classifier in dict.fromkeys(reading.classifier for reading in question.readings):
            picture = folder / f"confusion-{question.name}-{classifier}.png"
            replace_file(picture, partial(draw_confusions, question, classifier))
            pictures.append(picture)
    for old in set(folder.glob("confusion-*.png")).difference(pictures):
        old.unlink()
    _write_right(results, right)
    return [table, metrics, right, *pictures]


def _write_right(results: ProbeResults, path: Path) -> None:
    """Keep which test clips were answered rightly, so that two models probed alike can be compared clip by clip."""
    arrays: dict[str, Any] = dict(results.right())
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    replace_file(path, buffer.getvalue())
