"""Confusion matrices as pictures: which answers were taken for which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from smile_synth.probe.results import QuestionResult, Reading

MAX_WRITTEN_CLASSES = 16
INCHES_PER_CLASS = 0.45


def draw_confusions(question: QuestionResult, classifier: str, path: Path) -> None:
    """Write the confusion matrices of every kind of features side by side, as one PNG.

    Args:
        question: its readings hold the matrices.
        classifier: whose answers are drawn.
        path: the PNG file.
    """
    readings = [reading for reading in question.readings if reading.classifier == classifier]
    side = max(2.6, INCHES_PER_CLASS * min(len(question.classes), 24))
    figure = Figure(figsize=(1.4 + (side + 0.7) * len(readings), side + 3.0), layout="constrained")
    axes = figure.subplots(1, len(readings), squeeze=False, sharey=True)[0]
    for place, (axis, reading) in enumerate(zip(axes, readings, strict=True)):
        _draw(axis, question, reading, is_first=place == 0)
    figure.suptitle(f"{question.name} ({classifier}): share of the test clips of each true class, in %")
    figure.savefig(path, dpi=110, bbox_inches="tight")


def _draw(axis: Axes, question: QuestionResult, reading: Reading, *, is_first: bool) -> None:
    counts = reading.score.confusion
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.imshow(share, vmin=0, vmax=100, cmap="Blues")
    accuracy = reading.score.accuracy
    axis.set_title(
        f"{reading.title}\n{100 * accuracy.value:.1f} % [{100 * accuracy.low:.1f}, {100 * accuracy.high:.1f}]",
        fontsize=9,
    )
    axis.set_xlabel("answer")
    if is_first:
        axis.set_ylabel("truth")
    if len(question.classes) > MAX_WRITTEN_CLASSES:
        return
    places = range(len(question.classes))
    axis.set_xticks(places, question.classes, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    axis.set_yticks(places, question.classes, fontsize=8)
    for row in places:
        for column in places:
            if counts[row, column]:
                colour = "white" if share[row, column] > 55 else "black"
                axis.text(column, row, f"{share[row, column]:.0f}", ha="center", va="center", fontsize=7, color=colour)
