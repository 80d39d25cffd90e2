"""Masks a second in a batch of 256: ours against the numpy sampler that one would write first.

Both draw the published setting: 8x14x14 tokens, ratio 0.8, two objects a clip, a tenth of their tokens visible. The
numpy sampler works on a clip at a time, as a dataset's worker does; for scale, the published SMILE code (CVPR 2025)
was measured at 1,775 masks/s on one core of the machine that this was written on. Tensor operations are what other
devices run; on CUDA they are timed too.

    python benchmarks/masks.py
    python benchmarks/masks.py --batch 64 --seconds 5
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from smile_synth.masking.grid import TokenGrid, num_masked
from smile_synth.masking.masks import draw_masks, mask_noise, sample_masks
from smile_synth.recipe.pretrain import MaskKind, MaskParams

GRID = TokenGrid(tubelets=8, rows=14, columns=14, tubelet_size=2, patch_size=16)
KINDS: tuple[MaskKind, ...] = ("random", "tube", "trajectory", "trajectory_visible_tubelet")
PUBLISHED_MASKS_PER_SECOND = 1775


def numpy_mask(boxes_KT4: npt.NDArray[np.float32], rng: np.random.Generator, params: MaskParams) -> npt.NDArray[Any]:
    """Draw one trajectory mask step by step: tube, objects, their visible tenth, and back to the exact count."""
    hidden_places = num_masked(params, GRID) // GRID.tubelets
    tube = np.zeros(GRID.tokens_per_tubelet, bool)
    tube[rng.permutation(GRID.tokens_per_tubelet)[:hidden_places]] = True
    is_masked = np.tile(tube, GRID.tubelets)
    is_object = object_tokens(boxes_KT4).ravel()
    members = np.flatnonzero(is_object)
    shown = rng.choice(members, int(0.1 * len(members)), replace=False)
    is_masked[members] = True
    is_masked[shown] = False
    excess = int(is_masked.sum()) - hidden_places * GRID.tubelets
    # Tokens outside the objects give way first, whichever way the count is off.
    pool = np.flatnonzero((is_masked == (excess > 0)) & ~is_object)
    changed = rng.permutation(pool)[: abs(excess)]
    if len(changed) < abs(excess):
        more = np.flatnonzero((is_masked == (excess > 0)) & is_object)
        changed = np.concatenate([changed, rng.permutation(more)[: abs(excess) - len(changed)]])
    is_masked[changed] = excess < 0
    return is_masked


def object_tokens(boxes_KT4: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Mark the tokens that every box covers in every tubelet, by the published rule."""
    grid = np.zeros((GRID.tubelets, GRID.rows, GRID.columns), bool)
    for boxes_T4 in boxes_KT4:
        for t in range(GRID.tubelets):
            pair = boxes_T4[t * GRID.tubelet_size : (t + 1) * GRID.tubelet_size] / GRID.patch_size
            left, top = np.maximum(np.floor(pair[:, :2].min(axis=0)), 0).astype(int)
            right, bottom = np.maximum(np.ceil(pair[:, 2:].max(axis=0)) + 1, 0).astype(int)
            grid[t, top:bottom, left:right] = True
    return grid


def moving_boxes(clips: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return boxes of two objects that cross the canvas, of the published sizes."""
    size = rng.uniform(30, 130, (clips, 2, 1, 2))
    begin, end = rng.uniform(0, 180, (2, clips, 2, 1, 2))
    corner = begin + (end - begin) * np.linspace(0, 1, 16)[:, None]
    return np.concatenate([corner, np.minimum(corner + size, 224)], axis=-1).astype(np.float32)


def masks_per_second(draw: Callable[[int], int], seconds: float) -> float:
    """Return the best rate of ``draw``, which is given a step and returns how many masks it drew."""
    draw(0)
    best, began, step = math.inf, time.perf_counter(), 1
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        count = draw(step)
        best = min(best, (time.perf_counter() - start) / count)
        step += 1
    return 1 / best


def main() -> None:
    """Measure and print one line a sampler."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each line")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    boxes = moving_boxes(options.batch, rng)
    trajectory = MaskParams(kind="trajectory", ratio=0.8)

    def by_numpy(step: int) -> int:
        del step
        return len([numpy_mask(boxes_KT4, rng, trajectory) for boxes_KT4 in boxes])

    base = masks_per_second(by_numpy, options.seconds)
    print(f"batch of {options.batch}, {GRID.num_tokens} tokens; ratios to the numpy sampler and to the published one")
    print_line("numpy, one clip at a time, trajectory", base, base)
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for kind in KINDS:
        params, on_cpu = MaskParams(kind=kind, ratio=0.8), torch.from_numpy(boxes)
        print_line(f"ours, {kind}", masks_per_second(ours(params, on_cpu), options.seconds), base)
        for device in devices:
            rate = masks_per_second(by_tensors(params, on_cpu.to(device)), options.seconds)
            print_line(f"tensor operations on {device}, {kind}", rate, base)


def ours(params: MaskParams, boxes_BKT4: torch.Tensor) -> Callable[[int], int]:
    """Draw as the trainer does."""
    return lambda step: draw_masks(params, GRID, boxes_BKT4, seed=0, step=step).shape[1]


def by_tensors(params: MaskParams, boxes_BKT4: torch.Tensor) -> Callable[[int], int]:
    """Draw by tensor operations, waiting for the device."""

    def draw(step: int) -> int:
        noise = mask_noise(0, step, 0, len(boxes_BKT4), GRID, boxes_BKT4.device)
        masks = sample_masks(params, GRID, boxes_BKT4, noise)
        if boxes_BKT4.is_cuda:
            torch.cuda.synchronize()
        return len(masks)

    return draw


def print_line(name: str, rate: float, base: float) -> None:
    """Print a rate and its ratios."""
    published = rate / PUBLISHED_MASKS_PER_SECOND
    print(f"{name:52} {rate:12,.0f} masks/s   {rate / base:7.1f}x   {published:7.1f}x published")


if __name__ == "__main__":
    main()
