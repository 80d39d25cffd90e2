"""Pictures of a training: what the student sees and where it errs, and the loss over the steps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from smile_synth.masking.grid import TokenGrid
from smile_synth.training.metrics import Row

Image_HWC = npt.NDArray[np.uint8]
Value = TypeVar("Value", bound=np.generic)

HIDDEN_GREY = 128
SMOOTHING_SHARE = 50


def mask_picture(
    frames_THWC: Image_HWC, is_masked_N: npt.NDArray[np.bool_], error_N: npt.NDArray[np.float32], grid: TokenGrid
) -> Image_HWC:
    """Return three rows of pictures, one column a tubelet: the input, what the student sees, where the error is.

    Args:
        frames_THWC: uint8 clip.
        is_masked_N: hidden tokens.
        error_N: error of each hidden token; the others are not looked at.
        grid: the tokens of the clip.

    Returns:
        uint8 (3 H, tubelets x W, 3); dark red is a small error and bright yellow the clip's largest.
    """
    first_frames = frames_THWC[:: grid.tubelet_size]
    hidden = _on_pixels(is_masked_N, grid)[..., None]
    seen = np.where(hidden, np.uint8(HIDDEN_GREY), first_frames)
    largest = float(error_N[is_masked_N].max()) if is_masked_N.any() else 0.0
    heat = _hot(_on_pixels(error_N / max(largest, 1e-12), grid))
    errors = np.where(hidden, heat, first_frames // 4)
    rows = [np.concatenate(list(row), axis=1) for row in (first_frames, seen, errors)]
    return np.ascontiguousarray(np.concatenate(rows, axis=0).astype(np.uint8))


def _on_pixels(values_N: npt.NDArray[Value], grid: TokenGrid) -> npt.NDArray[Value]:
    on_grid = values_N.reshape(grid.tubelets, grid.rows, grid.columns)
    return on_grid.repeat(grid.patch_size, axis=1).repeat(grid.patch_size, axis=2)


def _hot(share_THW: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    share = np.clip(share_THW, 0, 1)[..., None]
    ramp = np.clip(share * 3 - np.array([0, 1, 2], np.float32) + np.array([0.3, 0, 0], np.float32), 0, 1)
    return (255 * ramp).astype(np.uint8)


def save_png(image_HWC: Image_HWC, path: Path) -> None:
    """Write an image; the folder is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image_HWC).save(path)


def loss_curve(rows: Sequence[Row], path: Path) -> None:
    """Draw the loss over the updates, as it was and smoothed, with a line where a stage begins.

    Args:
        rows: rows of the metrics with ``step``, ``loss`` and ``stage``.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    steps, losses = [row["step"] for row in rows], [float(row["loss"]) for row in rows]
    axes.plot(steps, losses, color="#9db4d0", linewidth=0.8, label="loss")
    axes.plot(steps, _smooth(losses), color="#1f4e8c", linewidth=1.8, label="smoothed")
    for before, after in itertools.pairwise(rows):
        if before["stage"] != after["stage"]:
            axes.axvline(before["step"], color="grey", linestyle=":", linewidth=1)
            axes.annotate(after["stage"], (before["step"], max(losses)), fontsize=8, color="grey")
    axes.set(xlabel="update", ylabel="loss", title=f"{len(rows)} points, last smoothed {_smooth(losses)[-1]:.4f}")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def _smooth(values: Sequence[float]) -> list[float]:
    """Return a moving average over about a fiftieth of the values, without delay at the start."""
    decay = 1 - 1 / max(len(values) / SMOOTHING_SHARE, 1)
    smoothed, weight, total = [], 0.0, 0.0
    for value in values:
        total, weight = decay * total + (1 - decay) * value, decay * weight + (1 - decay)
        smoothed.append(total / weight)
    return smoothed
