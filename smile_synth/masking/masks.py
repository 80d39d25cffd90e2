"""Masks: which tokens of a clip are hidden from the student.

Every kind of mask is one ranking: each token gets a class, random noise orders the tokens of a class, and the top of
the ranking is hidden. The number of hidden tokens is therefore always exactly the same.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor

from smile_synth.errors import ModelError
from smile_synth.masking.grid import TokenGrid, num_masked
from smile_synth.masking.kernel import FIRST_FACTOR, GOLDEN, INDEX_BITS, SECOND_FACTOR, rank_on_cpu
from smile_synth.recipe.pretrain import MaskParams, RegionRule

# Classes of the ranking; a higher class is hidden before a lower one.
_SHOW, _PLAIN, _TUBE, _HIDE = 0, 1, 2, 3
_PUBLISHED_VISIBLE_FRACTION = 0.1


class MaskNoise(NamedTuple):
    """Random integers that decide a batch of masks, uniform in [0, 2^31).

    Args:
        tokens_BN: int64 (B, N), orders tokens of the same class.
        places_BS: int64 (B, rows x columns), draws the tube.
        clips_B: int64 (B,), draws the visible tubelet.
    """

    tokens_BN: Tensor
    places_BS: Tensor
    clips_B: Tensor


def object_tokens(boxes_BKT4: Tensor, grid: TokenGrid, rule: RegionRule = "published") -> Tensor:
    """Return which tokens the objects of each clip cover.

    A token counts where the union of a box over the tubelet's frames covers it.

    Args:
        boxes_BKT4: float (B, K, T, 4), xyxy in pixels, NaN where an object is absent.
        grid: the token grid.
        rule: ``tight`` takes the tokens that the box overlaps; ``published`` one row and column more on the far side.

    Returns:
        bool (B, N).

    Raises:
        ModelError: the boxes do not fit the grid.

    Source: SMILE, CVPR 2025.
    """
    _check_boxes(boxes_BKT4, grid)
    by_tubelet = torch.unflatten(boxes_BKT4.float(), 2, (grid.tubelets, grid.tubelet_size)) / grid.patch_size
    low = by_tubelet[..., :2].nan_to_num(nan=torch.inf).amin(dim=3).floor()
    high = by_tubelet[..., 2:].nan_to_num(nan=-torch.inf).amax(dim=3).ceil()
    if rule == "published":
        high = high + 1
    columns = torch.arange(grid.columns, device=low.device)
    rows = torch.arange(grid.rows, device=low.device)
    in_column = (columns >= low[..., :1]) & (columns < high[..., :1])
    in_row = (rows >= low[..., 1:]) & (rows < high[..., 1:])
    return torch.any(in_row[..., :, None] & in_column[..., None, :], dim=1).flatten(1)


def place_motion(motion_BTHW2: Tensor, grid: TokenGrid) -> Tensor:
    """Return how far each place of the grid moves a frame, on the mean of the clip.

    Args:
        motion_BTHW2: float (B, T, H / cell, W / cell, 2), pixels from each frame to the next, NaN where undefined.
        grid: the token grid; cells divide its patches.

    Returns:
        float32 (B, rows x columns); 0 where motion is nowhere defined.

    Raises:
        ModelError: the cells do not fit the grid.
    """
    cells = motion_cells(motion_BTHW2, grid)
    length = motion_BTHW2.float().square().sum(dim=4).sqrt()
    by_place = torch.unflatten(torch.unflatten(length, 3, (grid.columns, cells)), 2, (grid.rows, cells))
    return by_place.nanmean(dim=(1, 3, 5)).nan_to_num(nan=0.0).flatten(1)


def motion_cells(motion_BTHW2: Tensor, grid: TokenGrid) -> int:
    """Return how many cells of a motion array lie along a patch.

    Raises:
        ModelError: the cells do not fit the grid.
    """
    canvas = grid.canvas
    shape = tuple(motion_BTHW2.shape)
    cells = shape[2] // grid.rows if len(shape) == 5 else 0
    if cells == 0 or shape[1:] != (canvas.num_frames, cells * grid.rows, cells * grid.columns, 2):
        raise ModelError(
            f"motion must be (B, {canvas.num_frames}, {grid.rows} x k, {grid.columns} x k, 2), whole cells in a patch, "
            f"got {shape}: choose a cell size that divides the patch size of {grid.patch_size} px"
        )
    return cells


def _check_boxes(boxes_BKT4: Tensor, grid: TokenGrid) -> None:
    num_frames = grid.tubelets * grid.tubelet_size
    if boxes_BKT4.ndim != 4 or boxes_BKT4.shape[2:] != (num_frames, 4):
        raise ModelError(f"boxes must be (B, K, {num_frames}, 4), got {tuple(boxes_BKT4.shape)}")


def mask_noise(
    seed: int, step: int, first: int, count: int, grid: TokenGrid, device: torch.device | str = "cpu", mask: int = 0
) -> MaskNoise:
    """Return the noise of some masks of a global batch.

    The numbers depend on nothing but the arguments: any division of the batch over ranks, and any device, gives
    every clip the same noise.

    Args:
        seed: of the run, an integer >= 0.
        step: of the run.
        first: place in the global batch of the first clip.
        count: clips.
        grid: the token grid.
        device: where the noise is made.
        mask: number of the mask, where a clip gets several.

    Returns:
        Uniform noise.

    Source: the mixing function of SplitMix64 (Steele, Lea and Flood, 2014), as a counter-based generator.
    """
    per_clip = grid.num_tokens + grid.tokens_per_tubelet + 1
    counters = torch.arange(first * per_clip, (first + count) * per_clip, device=device).view(count, per_clip)
    noise = _mix(counters.mul_(_signed(GOLDEN)).add_(_signed(_noise_start(seed, step, mask))))
    tokens, places, clips = torch.split(noise, [grid.num_tokens, grid.tokens_per_tubelet, 1], dim=1)
    return MaskNoise(tokens, places, clips[:, 0])


def _noise_start(seed: int, step: int, mask: int) -> int:
    text = f"{seed}/mask/{step}/{mask}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _mix(x: Tensor) -> Tensor:
    """Scramble int64 counters in place and return their top 31 bits."""
    for shift, factor in ((30, FIRST_FACTOR), (27, SECOND_FACTOR)):
        # int64 shifts drag the sign along; the mask makes them logical.
        x ^= (x >> shift) & (2 ** (64 - shift) - 1)
        x *= _signed(factor)
    x ^= (x >> 31) & (2**33 - 1)
    return (x >> 33) & (2**31 - 1)


def sample_masks(
    params: MaskParams,
    grid: TokenGrid,
    boxes_BKT4: Tensor,
    noise: MaskNoise,
    motion_BTHW2: Tensor | None = None,
) -> Tensor:
    """Return one mask for every clip of a batch.

    Args:
        params: kind and ratio of the masks.
        grid: the token grid.
        boxes_BKT4: float (B, K, T, 4), xyxy in pixels, NaN where an object is absent.
        noise: for B clips, on the boxes' device.
        motion_BTHW2: as in ``place_motion``; needed by masks of kind ``motion`` alone.

    Returns:
        bool (B, N), True where the student does not see the token; each row has ``num_masked(params, grid)`` of them.

    Raises:
        ModelError: boxes, motion or ratio do not fit the grid.

    Source: SMILE, CVPR 2025; VideoMAE, NeurIPS 2022; TrackMAE, CVPR 2026.
    """
    hidden = num_masked(params, grid)
    rank_BN = _unique(noise.tokens_BN)
    moves_BS = _moving_places(params, grid, motion_BTHW2, noise.places_BS) if params.uses_motion else None
    class_BN = _classes(params, grid, boxes_BKT4, noise, rank_BN, moves_BS)
    return _top(rank_BN + (class_BN << 60), hidden)


def draw_masks(
    params: MaskParams,
    grid: TokenGrid,
    boxes_BKT4: Tensor,
    *,
    seed: int,
    step: int,
    first: int = 0,
    motion_BTHW2: Tensor | None = None,
) -> Tensor:
    """Return all masks of a part of a global batch.

    Args:
        params: kind, ratio and number of the masks.
        grid: the token grid.
        boxes_BKT4: float (B, K, T, 4) on the device where the masks are wanted; NaN where an object is absent.
        seed, step: of the run.
        first: place in the global batch of the first clip.
        motion_BTHW2: as in ``place_motion``; needed by masks of kind ``motion`` alone.

    Returns:
        bool (masks_per_clip, B, N), True where the student does not see the token.

    Raises:
        ModelError: boxes, motion or ratio do not fit the grid.

    Examples:
        >>> clip = ss.open_store("clips.zarr")[0]
        >>> grid = ss.TokenGrid.of(ss.Canvas(32, 32, 8), tubelet_size=4, patch_size=8)
        >>> boxes_BKT4 = torch.from_numpy(clip.boxes)[None]
        >>> masks = ss.draw_masks(ss.MaskParams(ratio=0.8), grid, boxes_BKT4, seed=0, step=0)
        >>> masks.shape, int(masks.sum())
        (torch.Size([1, 1, 32]), 24)
    """
    count, device = len(boxes_BKT4), boxes_BKT4.device
    fresh = 1 if params.further_masks == "permuted" else params.masks_per_clip
    masks = [_draw_mask(params, grid, boxes_BKT4, motion_BTHW2, seed, step, first, mask) for mask in range(fresh)]
    for mask in range(fresh, params.masks_per_clip):
        order = mask_noise(seed, step, first, count, grid, device, mask).clips_B.argsort()
        masks.append(masks[0][order])
    # One mask, the usual case, needs no copy.
    return masks[0][None] if len(masks) == 1 else torch.stack(masks)


def _draw_mask(
    params: MaskParams,
    grid: TokenGrid,
    boxes_BKT4: Tensor,
    motion_BTHW2: Tensor | None,
    seed: int,
    step: int,
    first: int,
    mask: int,
) -> Tensor:
    count, device = len(boxes_BKT4), boxes_BKT4.device
    if device.type != "cpu":
        noise = mask_noise(seed, step, first, count, grid, device, mask)
        return sample_masks(params, grid, boxes_BKT4, noise, motion_BTHW2)
    _check_boxes(boxes_BKT4, grid)
    moves_BS = torch.zeros(count, 0, dtype=torch.bool)
    if params.uses_motion:
        noise = mask_noise(seed, step, first, count, grid, device, mask)
        moves_BS = _moving_places(params, grid, motion_BTHW2, noise.places_BS)
    ranked = rank_on_cpu(
        params.kind,
        grid,
        boxes_BKT4.float().contiguous().numpy(),
        start=_noise_start(seed, step, mask),
        first=first,
        hidden=num_masked(params, grid),
        visible_fraction=_visible_fraction(params),
        region=params.region or "published",
        moves_BS=moves_BS.contiguous().numpy(),
        hidden_moving=_hidden_moving(params, grid) if params.uses_motion else 0,
    )
    return torch.from_numpy(ranked)


def _moving_places(params: MaskParams, grid: TokenGrid, motion_BTHW2: Tensor | None, places_BS: Tensor) -> Tensor:
    """Return the half of the places that moves most, bool (B, S); noise decides between equals."""
    if motion_BTHW2 is None:
        raise ModelError(f"masks of kind {params.kind!r} need the clips' motion: load it with Loader(..., motion=True)")
    by_noise = _unique(places_BS).argsort(dim=1)
    moved = place_motion(motion_BTHW2, grid).gather(1, by_noise)
    order = by_noise.gather(1, moved.argsort(dim=1, descending=True, stable=True))
    return torch.zeros_like(places_BS, dtype=torch.bool).scatter(1, order[:, : _num_moving(grid)], True)


def _num_moving(grid: TokenGrid) -> int:
    return (grid.tokens_per_tubelet + 1) // 2


def _hidden_moving(params: MaskParams, grid: TokenGrid) -> int:
    """Return how many of the moving places are hidden; where a half is too small, the other one fills up."""
    visible = grid.tokens_per_tubelet - num_masked(params, grid) // grid.tubelets
    moving = _num_moving(grid)
    fraction = 0.5 if params.fraction is None else params.fraction
    shown = min(max(int(fraction * visible + 1e-9), visible - (grid.tokens_per_tubelet - moving)), moving)
    return moving - shown


def _visible_fraction(params: MaskParams) -> float:
    fraction = params.visible_object_fraction
    return _PUBLISHED_VISIBLE_FRACTION if fraction is None else fraction


def _classes(
    params: MaskParams,
    grid: TokenGrid,
    boxes_BKT4: Tensor,
    noise: MaskNoise,
    rank_BN: Tensor,
    moves_BS: Tensor | None,
) -> Tensor:
    if params.kind == "random":
        return torch.full_like(rank_BN, _PLAIN)
    rank_BS, hidden_places = _unique(noise.places_BS), num_masked(params, grid) // grid.tubelets
    if moves_BS is None:
        tube_BS = _top(rank_BS, hidden_places)
    else:
        hidden_moving = _hidden_moving(params, grid)
        tube_BS = _top_among(rank_BS, moves_BS, hidden_moving)
        tube_BS |= _top_among(rank_BS, ~moves_BS, hidden_places - hidden_moving)
    class_BN = torch.where(tube_BS, _TUBE, _PLAIN).repeat(1, grid.tubelets)
    if not params.uses_boxes:
        return class_BN
    object_BN = object_tokens(boxes_BKT4, grid, params.region or "published")
    if params.kind == "trajectory":
        show_BN = _lowest(rank_BN, object_BN, _visible_fraction(params))
    else:
        tubelet_N = torch.arange(grid.num_tokens, device=rank_BN.device) // grid.tokens_per_tubelet
        show_BN = tubelet_N == (noise.clips_B % grid.tubelets)[:, None]
    return torch.where(object_BN, torch.where(show_BN, _SHOW, _HIDE), class_BN)


def _lowest(rank_BN: Tensor, among_BN: Tensor, fraction: float) -> Tensor:
    """Return where the lowest ``fraction`` of the ranks ``among_BN`` lie."""
    count_B1 = (among_BN.sum(dim=1, keepdim=True) * fraction + 1e-9).long()
    last = torch.iinfo(torch.int64).max
    rank_BN = rank_BN.masked_fill(~among_BN, last)
    ordered_BN = rank_BN.sort(dim=1).values
    return rank_BN < ordered_BN.gather(1, count_B1.clamp(max=rank_BN.shape[1] - 1))


def _unique(noise: Tensor) -> Tensor:
    """Return ``noise`` with each column's number below it, so that no two of a row are equal."""
    return (noise << INDEX_BITS) | torch.arange(noise.shape[1], device=noise.device)


def _top(key: Tensor, count: int) -> Tensor:
    """Return where the ``count`` largest of every row lie; a row's keys differ from each other."""
    return key >= key.topk(count, dim=1, sorted=True).values[:, -1:]


def _top_among(key: Tensor, among: Tensor, count: int) -> Tensor:
    """Return where the ``count`` largest of those ``among`` lie in every row, none for a count of 0."""
    if count == 0:
        return torch.zeros_like(among)
    return _top(key.masked_fill(~among, -1), count)
