"""Where objects are: on which part of the canvas, how much of it, and over each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smile_synth.report.measure.content import Grid
from smile_synth.report.measure.values import QuantitySpec

Floats = npt.NDArray[np.float32]

GRID_SIDE = 28

LAYOUT_SPECS = (
    QuantitySpec(
        "objects_per_frame",
        "Objects a frame",
        "objects",
        "frame",
        "How many objects have something of them on the canvas.",
    ),
    QuantitySpec(
        "coverage",
        "Coverage",
        "share of the canvas",
        "frame",
        f"Part of the canvas under the boxes of all objects, on a {GRID_SIDE}x{GRID_SIDE} grid.",
    ),
    QuantitySpec(
        "occlusion",
        "Mutual occlusion",
        "share of its box",
        "object and frame",
        "Part of an object's box under the boxes of objects drawn over it; boxes, so an upper bound.",
    ),
)


@dataclass(frozen=True, eq=False)
class LayoutSample:
    """What is measured on some clips.

    Args:
        values: by the names of ``LAYOUT_SPECS``.
        clip_of: likewise, the place in the batch of the clip that each item of ``values`` belongs to.
        heat: (rows, columns), summed over frames: objects over each cell, parts of a cell counting in part.
        frames: how many frames were summed.
        most_covered_B: highest mean occlusion of an object of the clip; NaN without objects.
    """

    values: dict[str, npt.NDArray[np.float64]]
    clip_of: dict[str, npt.NDArray[np.int64]]
    heat: npt.NDArray[np.float64]
    frames: int
    most_covered_B: npt.NDArray[np.float64]


def measure_layout(boxes_BKT4: npt.NDArray[np.float32], *, height: int, width: int) -> LayoutSample:
    """Lay a coarse grid over the canvas and see which boxes cover its cells.

    Args:
        boxes_BKT4: xyxy in canvas pixels, NaN where absent; later slots are drawn over earlier ones.
        height, width: size of the canvas in pixels.
    """
    is_visible = np.isfinite(boxes_BKT4).all(-1)
    across = _cells_covered(boxes_BKT4[..., 0], boxes_BKT4[..., 2], width)
    down = _cells_covered(boxes_BKT4[..., 1], boxes_BKT4[..., 3], height)
    occlusion, free = _occlusion(across, down)
    occlusion = np.where(is_visible, occlusion, np.nan)
    values = {
        "objects_per_frame": is_visible.sum(1).astype(np.float64),
        "coverage": 1 - free.mean((-1, -2), dtype=np.float64),
        "occlusion": occlusion[is_visible],
    }
    clips, slots, frames, _ = boxes_BKT4.shape
    every_clip = np.arange(clips)
    clip_of = {"objects_per_frame": every_clip, "coverage": every_clip, "occlusion": np.nonzero(is_visible)[0]}
    heat = np.tensordot(down.reshape(-1, GRID_SIDE), across.reshape(-1, GRID_SIDE), axes=(0, 0))
    seen = is_visible.sum(2)
    mean_BK = np.where(seen > 0, np.nansum(occlusion, axis=2) / np.maximum(seen, 1), np.nan)
    worst = np.fmax.reduce(mean_BK, axis=1, initial=np.nan) if slots else np.full(clips, np.nan)
    return LayoutSample(values, clip_of, heat.astype(np.float64), clips * frames, worst)


def heat_grid(heat: npt.NDArray[np.float64], frames: int) -> Grid:
    """Return the mean number of objects over each cell of the canvas.

    Args:
        heat: summed over frames, as in ``LayoutSample``.
        frames: how many frames were summed.
    """
    return Grid(
        title="Where objects are",
        unit="objects a frame",
        meaning="Mean number of boxes over each part of the canvas.",
        values=(heat / max(frames, 1)).tolist(),
    )


def _cells_covered(low: Floats, high: Floats, size: int) -> Floats:
    """Return how much of each of the grid's intervals along one axis lies in [low, high), 0 to 1."""
    edges = np.linspace(0, size, GRID_SIDE + 1, dtype=np.float32)
    start = np.maximum(np.nan_to_num(low)[..., None], edges[:-1])
    stop = np.minimum(np.nan_to_num(high)[..., None], edges[1:])
    covered: Floats = np.maximum(stop - start, 0) * np.float32(GRID_SIDE / size)
    return covered


def _occlusion(across: Floats, down: Floats) -> tuple[npt.NDArray[np.float64], Floats]:
    """Return the share of every box under later ones (B, K, T), and the share of every cell left free (B, T, G, G)."""
    clips, slots, frames, side = across.shape
    free = np.ones((clips, frames, side, side), np.float32)
    hidden = np.zeros((clips, slots, frames))
    for slot in reversed(range(slots)):
        cells = down[:, slot, :, :, None] * across[:, slot, :, None, :]
        area = cells.sum((-1, -2), dtype=np.float64)
        seen = (cells * free).sum((-1, -2), dtype=np.float64)
        hidden[:, slot] = np.where(area > 0, 1 - seen / np.maximum(area, 1e-9), 0)
        free *= 1 - cells
    return hidden, free
