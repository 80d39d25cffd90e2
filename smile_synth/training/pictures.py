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
    frames_THWC: Image_HWC,
    is_masked_N: npt.NDArray[np.bool_],
    error_N: npt.NDArray[np.float32],
    grid: TokenGrid,
    motions_N2: Sequence[npt.NDArray[np.float32]] = (),
) -> Image_HWC:
    """Return rows of pictures, one column a tubelet: the input, what the student sees, where the error is, motion.

    Args:
        frames_THWC: uint8 clip.
        is_masked_N: hidden tokens.
        error_N: error of each hidden token; the others are not looked at.
        grid: the tokens of the clip.
        motions_N2: motion of every token, x before y, NaN where there is none; the first sets the scale.

    Returns:
        uint8 (rows x H, tubelets x W, 3); dark red is a small error and bright yellow the clip's largest. Motion has
        the colours of ``motion_colours``.
    """
    first_frames = frames_THWC[:: grid.tubelet_size]
    hidden = _on_pixels(is_masked_N, grid)[..., None]
    seen = np.where(hidden, np.uint8(HIDDEN_GREY), first_frames)
    largest = float(error_N[is_masked_N].max()) if is_masked_N.any() else 0.0
    heat = _hot(_on_pixels(error_N / max(largest, 1e-12), grid))
    errors = np.where(hidden, heat, first_frames // 4)
    pictures = [first_frames, seen, errors]
    if motions_N2:
        fastest = float(np.nan_to_num(np.hypot(*motions_N2[0].T)).max())
        pictures += [_on_pixels(motion_colours(motion_N2, fastest), grid) for motion_N2 in motions_N2]
    rows = [np.concatenate(list(row), axis=1) for row in pictures]
    return np.ascontiguousarray(np.concatenate(rows, axis=0).astype(np.uint8))


def motion_colours(motion_N2: npt.NDArray[np.float32], fastest: float) -> Image_HWC:
    """Return the colours (N, 3) of motions (N, 2): the hue is the direction, red to the right and lime downwards.

    Brightness is the length, up to ``fastest``; what is not defined (NaN) is grey.
    """
    x_N, y_N = motion_N2.T
    turn_N1 = np.arctan2(y_N, x_N)[:, None] / (2 * np.pi)
    wheel_N3 = np.clip(np.abs((turn_N1 - np.array([0, 1 / 3, 2 / 3]) + 0.5) % 1 - 0.5) * -6 + 2, 0, 1)
    bright_N1 = np.minimum(np.hypot(x_N, y_N) / max(fastest, 1e-12), 1)[:, None]
    colours_N3 = np.where(np.isnan(bright_N1), HIDDEN_GREY, np.nan_to_num(255 * wheel_N3 * bright_N1))
    return np.rint(colours_N3).astype(np.uint8)


def _on_pixels(values_N: npt.NDArray[Value], grid: TokenGrid) -> npt.NDArray[Value]:
    on_grid = values_N.reshape(grid.tubelets, grid.rows, grid.columns, *values_N.shape[1:])
    return on_grid.repeat(grid.patch_size, axis=1).repeat(grid.patch_size, axis=2)


def _hot(share_THW: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    share = np.clip(share_THW, 0, 1)[..., None]
    ramp = np.clip(share * 3 - np.array([0, 1, 2], np.float32) + np.array([0.3, 0, 0], np.float32), 0, 1)
    return (255 * ramp).astype(np.uint8)


def enlarged(image_HWC: Image_HWC, factor: int) -> Image_HWC:
    """Return a picture with every pixel repeated ``factor`` times along both sides; as it is for a factor below 2."""
    return image_HWC.repeat(factor, axis=0).repeat(factor, axis=1) if factor > 1 else image_HWC


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
