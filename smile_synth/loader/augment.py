"""Horizontal flips and random resized crops of whole batches on the device; boxes and motion follow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F  # noqa: N812 - the usual name

from smile_synth.randomness import stream
from smile_synth.recipe.loading import AugmentParams

CROP_TRIES = 10
NUMBERS_A_CROP = 2 * CROP_TRIES + 2
# Whether to flip, area and aspect of every try, and the place; one more makes it a whole number of Philox counters.
NUMBERS_A_CLIP, NUMBERS_A_COUNTER = 24, 4
CLIPS_AT_A_TIME = 16
# As when motion is rendered: more than this share of a cell without motion, and it has none.
UNDEFINED_SHARE = 1 / 16


@dataclass(frozen=True, eq=False)
class Views:
    """What is kept of each clip of a batch: a rectangle, shown at full size, mirrored or not.

    Args:
        crops_B4: float32 (B, 4), xyxy edges in canvas pixels.
        is_flipped_B: bool (B,).
    """

    crops_B4: torch.Tensor
    is_flipped_B: torch.Tensor

    def to(self, device: torch.device) -> Views:
        """Return the same views on another device."""
        return Views(self.crops_B4.to(device), self.is_flipped_B.to(device))


def sample_views(
    params: AugmentParams, *, height: int, width: int, seed: int, step: int, first: int, count: int
) -> Views:
    """Draw views for one rank's part of a global batch.

    Args:
        params: what to draw.
        height, width: of the canvas, in pixels.
        seed: of the training.
        step: number of the batch.
        first: place of the first clip in the global batch.
        count: clips of this part.

    Returns:
        Views on the CPU; a clip's depends on its place in the global batch, not on the number of ranks.
    """
    numbers_BD = _uniform_numbers(seed, step, first, count)
    crops_B4 = np.tile(np.asarray([0, 0, width, height], np.float32), (count, 1))
    if params.crop_area is not None:
        crops_B4 = sample_crops(params.crop_area, params.crop_aspect, height, width, numbers_BD[:, 1:])
    return Views(torch.from_numpy(crops_B4), torch.from_numpy(numbers_BD[:, 0] < params.flip_probability))


def _uniform_numbers(seed: int, step: int, first: int, count: int) -> npt.NDArray[np.float64]:
    """Return numbers in [0, 1), (count, NUMBERS_A_CLIP): one stream a step, of which each clip has its own piece."""
    rng = stream(seed, "augment", step)
    rng.bit_generator.advance(first * NUMBERS_A_CLIP // NUMBERS_A_COUNTER)  # type: ignore[attr-defined]
    return rng.random((count, NUMBERS_A_CLIP))


def sample_crops(
    area: tuple[float, float],
    aspect: tuple[float, float],
    height: int,
    width: int,
    numbers_BD: npt.NDArray[np.float64],
) -> npt.NDArray[np.float32]:
    """Return whole-pixel edges of crops, (B, 4), by area and aspect as image classifiers draw them.

    Args:
        area: smallest and largest part of the canvas's area.
        aspect: smallest and largest width over height.
        height, width: of the canvas, in pixels.
        numbers_BD: in [0, 1), (B, NUMBERS_A_CROP): area and aspect of every try, then the crop's place along x and y.
    """
    smallest, largest = area
    low, high = (math.log(value) for value in aspect)
    areas = (smallest + (largest - smallest) * numbers_BD[:, :CROP_TRIES]) * height * width
    aspects = np.exp(low + (high - low) * numbers_BD[:, CROP_TRIES : 2 * CROP_TRIES])
    # Where no try fits, on a canvas that is far from square: the largest area in the canvas's own aspect, put last.
    side = math.sqrt(largest)
    widths = _with_last(np.rint(np.sqrt(areas * aspects)), max(1, round(side * width)))
    heights = _with_last(np.rint(np.sqrt(areas / aspects)), max(1, round(side * height)))
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    chosen = (np.arange(len(fits)), fits.argmax(axis=1))
    crop_width, crop_height = widths[chosen], heights[chosen]
    x1 = np.floor(numbers_BD[:, 2 * CROP_TRIES] * (width - crop_width + 1))
    y1 = np.floor(numbers_BD[:, 2 * CROP_TRIES + 1] * (height - crop_height + 1))
    return np.stack([x1, y1, x1 + crop_width, y1 + crop_height], axis=1).astype(np.float32)


def _with_last(values: npt.NDArray[np.float64], last: float) -> npt.NDArray[np.float64]:
    return np.pad(values, ((0, 0), (0, 1)), constant_values=last)


def augment(frames_BTHWC: torch.Tensor, boxes_BKT4: torch.Tensor, views: Views) -> tuple[torch.Tensor, torch.Tensor]:
    """Show each clip through its view.

    Args:
        frames_BTHWC: uint8 (B, T, H, W, 3), on any device.
        boxes_BKT4: float32 (B, K, T, 4), xyxy in canvas pixels, NaN = absent; on the same device.
        views: from ``sample_views``, on the same device.

    Returns:
        Frames and boxes of the same shapes and types. A box that lies outside the view is absent afterwards; one that
        lies partly inside is clipped.
    """
    _, _, height, width, _ = frames_BTHWC.shape
    return _view_frames(frames_BTHWC, views), _view_boxes(boxes_BKT4, views, height, width)


def augment_motion(motion_BTHW2: torch.Tensor, views: Views, *, height: int, width: int) -> torch.Tensor:
    """Return the motion of each clip as it is seen through its view.

    A flip mirrors the cells and turns dx around. A crop takes each cell from where its middle lies, between the four
    nearest, and scales the displacements as it scales the frames.

    Args:
        motion_BTHW2: float32 (B, T, H / cell, W / cell, 2), (dx, dy) in pixels, NaN where undefined; on any device.
        views: the same that the frames are seen through, on the same device.
        height, width: of the canvas, in pixels.

    Returns:
        Motion of the same shape. A cell is NaN where more than 1/16 of what it is taken from is.
    """
    b, t, rows, columns, _ = motion_BTHW2.shape
    is_defined = torch.isfinite(motion_BTHW2).all(dim=-1, keepdim=True)
    fields = torch.cat([motion_BTHW2.masked_fill(~is_defined, 0.0), is_defined.float()], dim=-1)
    pictures = fields.permute(0, 1, 4, 2, 3).reshape(b, t * 3, rows, columns)
    grid_BHW2 = _sampling_grid(views, height, width, rows, columns)
    shown = F.grid_sample(pictures, grid_BHW2, mode="bilinear", padding_mode="border", align_corners=False)
    shown = shown.reshape(b, t, 3, rows, columns).permute(0, 1, 3, 4, 2)
    x1, y1, x2, y2 = views.crops_B4.unbind(dim=1)
    direction = 1 - 2 * views.is_flipped_B.float()
    scale = torch.stack([direction * width / (x2 - x1), height / (y2 - y1)], dim=-1)[:, None, None, None]
    defined = shown[..., 2:]
    return (shown[..., :2] / defined * scale).masked_fill(1 - defined > UNDEFINED_SHARE, float("nan"))


def _view_frames(frames_BTHWC: torch.Tensor, views: Views) -> torch.Tensor:
    _, _, height, width, _ = frames_BTHWC.shape
    grid_BHW2 = _sampling_grid(views, height, width, height, width)
    shown_BTHWC = torch.empty_like(frames_BTHWC)
    # A few clips at a time: sampling needs them in float32, four times their size.
    for start in range(0, len(frames_BTHWC), CLIPS_AT_A_TIME):
        part = slice(start, start + CLIPS_AT_A_TIME)
        shown_BTHWC[part] = _view_some(frames_BTHWC[part], grid_BHW2[part])
    return shown_BTHWC


def _view_some(frames_BTHWC: torch.Tensor, grid_BHW2: torch.Tensor) -> torch.Tensor:
    b, t, height, width, c = frames_BTHWC.shape
    # All frames of a clip share one view: they become the channels of one picture.
    pictures = frames_BTHWC.permute(0, 1, 4, 2, 3).reshape(b, t * c, height, width).float()
    shown = F.grid_sample(pictures, grid_BHW2, mode="bilinear", padding_mode="border", align_corners=False)
    shown = shown.round_().clamp_(0, 255).to(torch.uint8)
    return shown.reshape(b, t, c, height, width).permute(0, 1, 3, 4, 2)


def _sampling_grid(views: Views, height: int, width: int, rows: int, columns: int) -> torch.Tensor:
    """Return where the middle of each of ``rows`` x ``columns`` lies, in [-1, 1] from edge to edge of the canvas."""
    device = views.crops_B4.device
    x1, y1, x2, y2 = (views.crops_B4[:, edge, None] for edge in range(4))
    along_x = (torch.arange(columns, device=device) + 0.5) / columns
    along_y = (torch.arange(rows, device=device) + 0.5) / rows
    along_BW = torch.where(views.is_flipped_B[:, None], 1 - along_x, along_x.expand(len(views.crops_B4), -1))
    x_BW = 2 * (x1 + along_BW * (x2 - x1)) / width - 1
    y_BH = 2 * (y1 + along_y * (y2 - y1)) / height - 1
    grid_x = x_BW[:, None, :].expand(-1, rows, -1)
    grid_y = y_BH[:, :, None].expand(-1, -1, columns)
    return torch.stack([grid_x, grid_y], dim=-1)


def _view_boxes(boxes_BKT4: torch.Tensor, views: Views, height: int, width: int) -> torch.Tensor:
    x1, y1, x2, y2 = (views.crops_B4[:, edge, None, None] for edge in range(4))
    left = (boxes_BKT4[..., 0] - x1) * (width / (x2 - x1))
    right = (boxes_BKT4[..., 2] - x1) * (width / (x2 - x1))
    top = (boxes_BKT4[..., 1] - y1) * (height / (y2 - y1))
    bottom = (boxes_BKT4[..., 3] - y1) * (height / (y2 - y1))
    is_flipped = views.is_flipped_B[:, None, None]
    left, right = torch.where(is_flipped, width - right, left), torch.where(is_flipped, width - left, right)
    boxes = torch.stack(
        [left.clamp(0, width), top.clamp(0, height), right.clamp(0, width), bottom.clamp(0, height)], dim=-1
    )
    is_outside = (boxes[..., 0] >= boxes[..., 2]) | (boxes[..., 1] >= boxes[..., 3])
    return boxes.masked_fill(is_outside[..., None], float("nan"))
