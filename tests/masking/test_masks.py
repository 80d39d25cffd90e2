"""Masks: exact counts, the published tokens and probabilities, the same noise on any number of ranks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from smile_synth.errors import ModelError
from smile_synth.masking.grid import TokenGrid, num_masked
from smile_synth.masking.masks import draw_masks, mask_noise, object_tokens, place_motion, sample_masks
from smile_synth.recipe.pretrain import MaskKind, MaskParams

GRID = TokenGrid(8, 14, 14, 2, 16)
SMALL = TokenGrid(4, 7, 7, 2, 16)
KINDS: tuple[MaskKind, ...] = ("random", "tube", "motion", "trajectory", "trajectory_visible_tubelet")
# Boxes and masks of the public SMILE implementation (commit ba5c369): see tests/golden/README.md.
CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden" / "masks.json").read_text())["cases"]


def published_params(name: str) -> MaskParams:
    kind, _, fraction = name.partition("@")
    if kind == "tube+traj_mask":
        return MaskParams(kind="trajectory", ratio=0.8, visible_object_fraction=float(fraction))
    return MaskParams(kind="trajectory_visible_tubelet", ratio=0.8)


def some_boxes(count: int, grid: TokenGrid = SMALL) -> Tensor:
    canvas = grid.canvas
    corners = torch.rand(count, 2, canvas.num_frames, 4, generator=torch.Generator().manual_seed(1)) * canvas.width
    low, high = torch.minimum(corners[..., :2], corners[..., 2:]), torch.maximum(corners[..., :2], corners[..., 2:])
    boxes = torch.cat([low, high], dim=-1)
    boxes[::3, 1] = torch.nan
    return boxes


def some_motion(count: int, grid: TokenGrid = SMALL) -> Tensor:
    shape = (count, grid.canvas.num_frames, 2 * grid.rows, 2 * grid.columns, 2)
    motion = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    motion[:, -1] = torch.nan
    return motion


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_published_object_tokens_are_met_exactly(case: dict[str, Any]) -> None:
    boxes = torch.tensor(case["boxes_xyxy_KT4"], dtype=torch.float32)[None]
    found = object_tokens(boxes, GRID, "published")[0].nonzero()[:, 0].tolist()
    assert found == sorted(case["object_tokens"])


@pytest.mark.parametrize(("case", "name"), [(i, name) for i, case in enumerate(CASES) for name in case if "@" in name])
def test_published_mask_probabilities_are_met(case: int, name: str) -> None:
    boxes = torch.tensor(CASES[case]["boxes_xyxy_KT4"], dtype=torch.float32).expand(600, -1, -1, -1)
    is_masked = sample_masks(published_params(name), GRID, boxes, mask_noise(0, 0, 0, 600, GRID))
    is_object = torch.zeros(GRID.num_tokens, dtype=torch.bool)
    is_object[CASES[case]["object_tokens"]] = True
    expected = CASES[case][name]
    assert set(is_masked.sum(dim=1).tolist()) == {1248} == set(expected["num_masked"])
    assert is_masked[:, is_object].float().mean() == pytest.approx(expected["p_masked_object"], abs=0.01)
    assert is_masked[:, ~is_object].float().mean() == pytest.approx(expected["p_masked_other"], abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
@given(ratio=st.floats(0.03, 0.97), seed=st.integers(0, 2**40), tubelets=st.integers(1, 5), rows=st.integers(2, 9))
@settings(max_examples=25, deadline=None)
def test_every_mask_hides_the_exact_count(kind: MaskKind, ratio: float, seed: int, tubelets: int, rows: int) -> None:
    grid = TokenGrid(tubelets, rows, 6, 2, 16)
    params = MaskParams(kind=kind, ratio=ratio)
    if int(ratio * rows * 6 + 1e-9) == 0:
        with pytest.raises(ModelError, match="at least one must be hidden"):
            num_masked(params, grid)
        return
    noise = mask_noise(seed, 3, 0, 5, grid)
    is_masked = sample_masks(params, grid, some_boxes(5, grid), noise, some_motion(5, grid))
    assert is_masked.sum(dim=1).tolist() == [num_masked(params, grid)] * 5


def test_tube_masks_hide_the_same_places_in_every_tubelet() -> None:
    is_masked = sample_masks(MaskParams(kind="tube"), SMALL, some_boxes(6), mask_noise(0, 0, 0, 6, SMALL))
    by_tubelet = is_masked.view(6, SMALL.tubelets, -1)
    assert (by_tubelet == by_tubelet[:, :1]).all()
    assert len(torch.unique(is_masked, dim=0)) == 6


def test_random_masks_cover_all_tokens_alike() -> None:
    is_masked = sample_masks(MaskParams(kind="random"), SMALL, some_boxes(1).expand(4000, -1, -1, -1),
                             mask_noise(5, 0, 0, 4000, SMALL))  # fmt: skip
    share = is_masked.float().mean(dim=0)
    expected = num_masked(MaskParams(kind="random"), SMALL) / SMALL.num_tokens
    assert (share - expected).abs().max() < 0.03


def test_one_visible_tubelet_shows_the_object_there_and_nowhere_else() -> None:
    boxes = torch.tensor([20.0, 20.0, 40.0, 40.0]).expand(40, 1, 8, 4)
    params = MaskParams(kind="trajectory_visible_tubelet", ratio=0.8, region="tight")
    is_masked = sample_masks(params, SMALL, boxes, mask_noise(0, 0, 0, 40, SMALL))
    shown = ~is_masked.view(40, 4, 7, 7)[:, :, 1:3, 1:3].flatten(2)
    assert (shown.all(dim=2).sum(dim=1) == 1).all()
    assert (shown.any(dim=2).sum(dim=1) == 1).all()
    assert len(shown.all(dim=2).float().argmax(dim=1).unique()) == 4


def test_trajectory_masks_show_the_asked_share_of_objects() -> None:
    boxes = torch.tensor([16.0, 16.0, 64.0, 64.0]).expand(9, 1, 8, 4)
    params = MaskParams(kind="trajectory", ratio=0.8, visible_object_fraction=0.25, region="tight")
    is_masked = sample_masks(params, SMALL, boxes, mask_noise(0, 0, 0, 9, SMALL))
    shown = ~is_masked.view(9, 4, 7, 7)[:, :, 1:4, 1:4].flatten(1)
    assert (shown.sum(dim=1) == 9).all()


def test_tight_regions_are_what_the_box_overlaps() -> None:
    boxes = torch.full((1, 2, 8, 4), torch.nan)
    boxes[0, 0, 0] = torch.tensor([16.0, 32.0, 48.0, 48.0])
    boxes[0, 0, 1] = torch.tensor([17.0, 32.0, 48.5, 48.0])
    tokens = object_tokens(boxes, SMALL, "tight").view(4, 7, 7)
    assert tokens.nonzero().tolist() == [[0, 2, 1], [0, 2, 2], [0, 2, 3]]
    wider = object_tokens(boxes, SMALL, "published").view(4, 7, 7)
    assert wider.nonzero().tolist() == [[0, row, column] for row in (2, 3) for column in (1, 2, 3, 4)]


def test_absent_objects_and_boxes_outside_cover_nothing() -> None:
    boxes = torch.full((1, 2, 8, 4), torch.nan)
    boxes[0, 1] = torch.tensor([150.0, 10.0, 170.0, 20.0])
    assert not object_tokens(boxes, SMALL, "published").any()
    assert not object_tokens(boxes[:, :0], SMALL, "published").any()


@pytest.mark.parametrize("kind", KINDS)
def test_ranks_draw_the_masks_of_the_global_batch(kind: MaskKind) -> None:
    params, boxes, motion = MaskParams(kind=kind, masks_per_clip=2), some_boxes(8), some_motion(8)
    whole = draw_masks(params, SMALL, boxes, seed=7, step=11, motion_BTHW2=motion)
    parts = [
        draw_masks(params, SMALL, boxes[i : i + 2], seed=7, step=11, first=i, motion_BTHW2=motion[i : i + 2])
        for i in range(0, 8, 2)
    ]
    assert torch.equal(whole, torch.cat(parts, dim=1))
    assert not torch.equal(whole[0], whole[1])


@pytest.mark.parametrize("change", [{"seed": 8}, {"step": 12}])
def test_masks_change_with_seed_and_step(change: dict[str, int]) -> None:
    params, boxes = MaskParams(kind="random"), some_boxes(4)
    of = {"seed": 7, "step": 11}
    assert not torch.equal(draw_masks(params, SMALL, boxes, **of), draw_masks(params, SMALL, boxes, **of | change))


def test_permuted_masks_are_the_first_ones_in_another_order() -> None:
    params = MaskParams(kind="random", masks_per_clip=2, further_masks="permuted")
    first, second = draw_masks(params, SMALL, some_boxes(8), seed=0, step=0)
    assert not torch.equal(first, second)
    assert sorted(map(tuple, first.tolist())) == sorted(map(tuple, second.tolist()))


def test_noise_is_uniform() -> None:
    noise = mask_noise(0, 0, 0, 2000, SMALL).tokens_BN.double() / 2**31
    assert noise.min() >= 0
    assert noise.max() < 1
    counts = torch.histc(noise, 64, 0, 1)
    chi_square = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    assert chi_square < 120  # 63 degrees of freedom: passed by all but 0.002 % of uniform samples


def test_boxes_of_another_length_are_refused() -> None:
    with pytest.raises(ModelError, match=r"boxes must be \(B, K, 8, 4\), got \(2, 1, 16, 4\)"):
        object_tokens(torch.zeros(2, 1, 16, 4), SMALL)


@pytest.mark.parametrize(("fraction", "moving"), [(None, 5), (0.0, 0), (0.3, 3), (1.0, 10)])
def test_motion_masks_show_the_asked_share_of_what_moves(fraction: float | None, moving: int) -> None:
    # The upper 25 of 49 places move, as far as the half of them goes.
    motion = torch.zeros(6, 8, 7, 7, 2)
    motion.flatten(2, 3)[:, :, :25, 0] = torch.arange(1, 26).float()
    motion[:, -1] = torch.nan
    params = MaskParams(kind="motion", ratio=0.8, fraction=fraction)
    masks = sample_masks(params, SMALL, some_boxes(6), mask_noise(0, 0, 0, 6, SMALL), motion).view(6, 4, 49)
    assert (masks == masks[:, :1]).all()
    assert (~masks[:, 0, :25]).sum(dim=1).tolist() == [moving] * 6
    assert (~masks[:, 0]).sum(dim=1).tolist() == [10] * 6
    assert len(torch.unique(masks[:, 0], dim=0)) == 6


def test_motion_is_measured_in_cells_that_are_defined() -> None:
    motion = torch.full((1, 8, 14, 14, 2), torch.nan)
    motion[0, :3, 0, :2, 0] = torch.tensor([[3.0, torch.nan], [5.0, 5.0], [torch.nan, torch.nan]])
    motion[0, 0, 0, 0, 1] = 4.0
    motion[0, 1, 0, :2, 1] = 0.0
    moved = place_motion(motion, SMALL).view(7, 7)
    assert float(moved[0, 0]) == 5.0
    assert float(moved.sum()) == 5.0


def test_masks_by_motion_need_motion_that_fits() -> None:
    params, noise = MaskParams(kind="motion"), mask_noise(0, 0, 0, 2, SMALL)
    with pytest.raises(ModelError, match=r"need the clips' motion: load it with Loader"):
        sample_masks(params, SMALL, some_boxes(2), noise)
    with pytest.raises(ModelError, match=r"motion must be \(B, 8, 7 x k, 7 x k, 2\).*got \(2, 8, 10, 10, 2\)"):
        sample_masks(params, SMALL, some_boxes(2), noise, torch.zeros(2, 8, 10, 10, 2))


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_the_same_on_the_gpu(kind: MaskKind) -> None:
    params, boxes, motion = MaskParams(kind=kind), some_boxes(8), some_motion(8)
    on_gpu = draw_masks(params, SMALL, boxes.cuda(), seed=1, step=2, motion_BTHW2=motion.cuda())
    assert torch.equal(draw_masks(params, SMALL, boxes, seed=1, step=2, motion_BTHW2=motion), on_gpu.cpu())
