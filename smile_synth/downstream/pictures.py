"""The confusion matrix of a classifier as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

MAX_NAMED_CLASSES = 60
MAX_WRITTEN_CLASSES = 20


def draw_confusion(counts: npt.NDArray[np.int64], classes: Sequence[str], title: str, path: Path) -> None:
    """Write a confusion matrix as a PNG: rows are true classes, columns answers, shares of a row in %.

    Args:
        counts: (classes, classes), videos by true class and answer.
        classes: their names.
        title: what stands above.
        path: of the picture.
    """
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(14.0, 3.0 + 0.3 * len(classes))
    figure = Figure(figsize=(side + 1.5, side), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(share, vmin=0, vmax=100, cmap="Blues")
    figure.colorbar(image, ax=axis, label="% of the true class", shrink=0.7)
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("answer")
    axis.set_ylabel("truth")
    places = range(len(classes))
    if len(classes) <= MAX_NAMED_CLASSES:
        axis.set_xticks(places, classes, rotation=90, fontsize=7)
        axis.set_yticks(places, classes, fontsize=7)
    if len(classes) <= MAX_WRITTEN_CLASSES:
        for row in places:
            for column in places:
                if counts[row, column]:
                    colour = "white" if share[row, column] > 55 else "black"
                    text = f"{share[row, column]:.0f}"
                    axis.text(column, row, text, ha="center", va="center", fontsize=6, color=colour)
    figure.savefig(path, dpi=110, format="png")
