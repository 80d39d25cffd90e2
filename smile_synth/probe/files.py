"""The files that a probe leaves: figures as JSON, the table as text, confusion matrices as pictures."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from smile_synth.probe.pictures import draw_confusions
from smile_synth.probe.results import ProbeResults

RIGHT_FILE = "right.npz"


def write_results(results: ProbeResults, folder: Path) -> list[Path]:
    """Write results.json, table.txt, right.npz and one picture a question and classifier.

    Args:
        results: what to write.
        folder: made if there is none; files of an earlier probe are replaced.

    Returns:
        The files, the most telling first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    right = folder / RIGHT_FILE
    # Written last: where it lies, all files are of one probe.
    right.unlink(missing_ok=True)
    table, figures = folder / "table.txt", folder / "results.json"
    _replace(table, results.table() + "\n")
    _replace(figures, json.dumps(results.to_json(), indent=1) + "\n")
    pictures = []
    for question in results.questions:
        for classifier in dict.fromkeys(reading.classifier for reading in question.readings):
            picture = folder / f"confusion-{question.name}-{classifier}.png"
            draw_confusions(question, classifier, picture)
            pictures.append(picture)
    _write_right(results, right)
    return [table, figures, right, *pictures]


def _write_right(results: ProbeResults, path: Path) -> None:
    """Keep which test clips were answered rightly, so that two models probed alike can be compared clip by clip."""
    partial = path.with_name(f".{path.name}.partial")
    arrays: dict[str, Any] = dict(results.right())
    with partial.open("wb") as file:
        np.savez_compressed(file, **arrays)
    os.replace(partial, path)


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
