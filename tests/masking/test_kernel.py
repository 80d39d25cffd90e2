"""The compiled ranking: the same masks as tensor operations give."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from smile_synth.masking.grid import TokenGrid
from smile_synth.masking.masks import draw_masks, mask_noise, sample_masks
from smile_synth.recipe.pretrain import MaskKind, MaskParams, RegionRule

SMALL = TokenGrid(4, 7, 7, 2, 16)
KINDS: tuple[MaskKind, ...] = ("random", "tube", "motion", "trajectory", "trajectory_visible_tubelet")


def some_boxes(count: int, grid: TokenGrid = SMALL) -> Tensor:
    canvas = grid.canvas
    corners = torch.rand(count, 2, canvas.num_frames, 4, generator=torch.Generator().manual_seed(1)) * canvas.width
    low, high = torch.minimum(corners[..., :2], corners[..., 2:]), torch.maximum(corners[..., :2], corners[..., 2:])
    boxes = torch.cat([low, high], dim=-1)
    boxes[::3, 1] = torch.nan
    return boxes


@pytest.mark.parametrize("kind", KINDS)
@given(
    seed=st.integers(0, 2**40), first=st.integers(0, 10**6), ratio=st.floats(0.1, 0.95), fraction=st.floats(0, 1),
    region=st.sampled_from(["published", "tight"]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_the_compiled_loop_and_tensor_operations_give_the_same_masks(
    kind: MaskKind, seed: int, first: int, ratio: float, fraction: float, region: RegionRule
) -> None:
    params = MaskParams(
        kind=kind,
        ratio=ratio,
        visible_object_fraction=fraction if kind == "trajectory" else None,
        region=region if kind.startswith("trajectory") else None,
        fraction=fraction if kind == "motion" else None,
    )
    # Whole pixels, so that many places move alike and noise must decide.
    motion = torch.randint(-1, 2, (7, 8, 14, 14, 2), generator=torch.Generator().manual_seed(seed)).float()
    motion[:, :, :2] = torch.nan
    motion[0] = 0
    boxes = some_boxes(7) * 1.4 - 20
    by_tensors = sample_masks(params, SMALL, boxes, mask_noise(seed, 5, first, 7, SMALL), motion)
    compiled = draw_masks(params, SMALL, boxes, seed=seed, step=5, first=first, motion_BTHW2=motion)[0]
    assert torch.equal(compiled, by_tensors)
