"""Exact motion as a target: displacements of a store, averaged over tokens and divided by one standard deviation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from smile_synth.errors import ModelError, TrainingError
from smile_synth.loader.loader import Loader
from smile_synth.masking.grid import TokenGrid
from smile_synth.masking.masks import motion_cells
from smile_synth.recipe.pretrain import MotionTargetParams
from smile_synth.store import Store
from smile_synth.store.stream import epoch_clips

# Enough for three digits of the standard deviation; fewer where the stores hold fewer.
CLIPS_TO_MEASURE = 1024
CLIPS_AT_ONCE = 64
MOTION = "motion"
LARGEST_CELL_PX = 8


def check_motion(stores: Sequence[Store], grid: TokenGrid, params: MotionTargetParams | None, recipe: str) -> None:
    """Refuse stores without motion, or with cells that do not fit the tokens.

    Args:
        stores: what is trained on.
        grid: the token grid.
        params: of the motion target; None where masks alone need motion.
        recipe: how to name the recipe in the command that renders motion.

    Raises:
        TrainingError: a store's motion is absent, or too coarse.
    """
    parts = 2 if params is not None and params.cells == 4 else 1
    fits = math.gcd(grid.patch_size // parts if grid.patch_size % parts == 0 else 1, LARGEST_CELL_PX)
    for store in stores:
        shapes = [spec.item_shape for spec in store.layout.arrays if spec.name == MOTION]
        problem = "holds no motion" if not shapes else ""
        if shapes:
            cell_px = store.canvas.height // shapes[0][1]
            if (grid.patch_size // parts) % cell_px or grid.patch_size % parts:
                what = "patches" if parts == 1 else "quarters of patches"
                problem = f"holds motion in cells of {cell_px} px, which do not divide {what} of {grid.patch_size} px"
        if problem:
            raise TrainingError(
                f"the recipe trains on motion, but {store.path} {problem}; render it again: "
                f"smile-synth render {recipe} --out NEW.zarr --set dataset.store.motion.cell_px={fits}"
            )


def motion_of_tokens(motion_BTHW2: Tensor, grid: TokenGrid, cells: int) -> Tensor:
    """Return how far every token moves within its tubelet, in pixels a frame.

    Args:
        motion_BTHW2: float (B, T, H / cell, W / cell, 2), displacements to the next frame, NaN where undefined.
        grid: the token grid.
        cells: displacements a token: 1, or 4 for its quarters.

    Returns:
        float32 (B, N, 2 x cells), x before y, quarters row by row; the mean over the steps inside the tubelet, and over
        those of its cells that are defined. NaN where none is. A tubelet of one frame moves as it does to the next.

    Raises:
        ModelError: the motion's cells do not fit tokens or quarters.

    Source: TrackMAE, CVPR 2026, which estimates the displacements with a tracker.
    """
    along, parts = motion_cells(motion_BTHW2, grid), 2 if cells == 4 else 1
    if along % parts:
        raise ModelError(
            f"quarters of a patch of {grid.patch_size} px need motion in cells of at most {grid.patch_size // 2} px, "
            f"got cells of {grid.patch_size // along} px: render with a smaller cell, or set target.motion.cells to 1"
        )
    motion = motion_BTHW2.float()
    for dim, tokens in ((3, grid.columns), (2, grid.rows)):
        motion = torch.unflatten(motion, dim, (tokens, parts, along // parts))
    motion = torch.unflatten(motion, 1, (grid.tubelets, grid.tubelet_size))
    steps = motion[:, :, : max(1, grid.tubelet_size - 1)]
    # (B, tubelets, steps, rows, parts, cells, columns, parts, cells, 2)
    moved = steps.nanmean(dim=(2, 5, 8)).permute(0, 1, 2, 4, 3, 5, 6)
    return moved.reshape(len(motion_BTHW2), grid.num_tokens, -1)


def measure_motion(
    stores: Sequence[Store], grid: TokenGrid, params: MotionTargetParams, weights: Sequence[float] | None = None
) -> float:
    """Return the standard deviation of what tokens move, over the stores and both axes, in pixels a frame.

    It is taken about zero, so that what stands still stays zero, over the same clips whenever it is asked; 1 where
    nothing moves at all.

    Args:
        stores: with motion.
        grid: the token grid.
        params: which displacements are predicted.
        weights: of the stores, as in training.

    Raises:
        SmileSynthError: a store cannot be read.
        ModelError: the motion's cells do not fit the tokens.
    """
    num_clips = min(CLIPS_TO_MEASURE, epoch_clips(stores) or CLIPS_TO_MEASURE)
    batch_size = min(CLIPS_AT_ONCE, num_clips)
    squares, count = 0.0, 0
    with Loader(stores, batch_size=batch_size, seed=0, weights=weights, motion=True) as loader:
        batches = iter(loader)
        for _ in range(num_clips // batch_size):
            motion_BTHW2 = next(batches).motion_BTHW2
            assert motion_BTHW2 is not None
            moved = motion_of_tokens(motion_BTHW2, grid, params.cells).double()
            squares += float(moved.square().nansum())
            count += int(moved.isfinite().sum())
    if not count:
        raise TrainingError("motion is nowhere defined in these stores: it cannot be a target")
    return (squares / count) ** 0.5 or 1.0
