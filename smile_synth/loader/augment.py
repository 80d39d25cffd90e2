"""Horizontal flips and random resized crops of whole batches on the device, boxes following exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - the usual name

from smile_synth.randomness import stream
from smile_synth.recipe.loading import AugmentParams

CROP_TRIES = 10
CLIPS_AT_A_TIME = 16


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
    crops_B4 = np.tile(np.asarray([0, 0, width, height], np.float32), (count, 1))
    is_flipped_B = np.zeros(count, np.bool_)
    for row in range(count):
        rng = stream(seed, "augment", step, first + row)
        is_flipped_B[row] = rng.random() < params.flip_probability
        if params.crop_area is not None:
            crops_B4[row] = _sample_crop(params, height, width, rng)
    return Views(torch.from_numpy(crops_B4), torch.from_numpy(is_flipped_B))


def _sample_crop(params: AugmentParams, height: int, width: int, rng: np.random.Generator) -> tuple[float, ...]:
    """Draw whole-pixel edges of a crop, by area and aspect as image classifiers do."""
    assert params.crop_area is not None
    low, high = (math.log(value) for value in params.crop_aspect)
    for _ in range(CROP_TRIES):
        area = float(rng.uniform(*params.crop_area)) * height * width
        aspect = math.exp(float(rng.uniform(low, high)))
        crop_width, crop_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            break
    else:
        # No such rectangle fits a canvas that is far from square: keep the largest area, in its own aspect.
        side = math.sqrt(params.crop_area[1])
        crop_width, crop_height = max(1, round(side * width)), max(1, round(side * height))
    x1 = int(rng.integers(width - crop_width + 1))
    y1 = int(rng.integers(height - crop_height + 1))
    return (x1, y1, x1 + crop_width, y1 + crop_height)


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


def _view_frames(frames_BTHWC: torch.Tensor, views: Views) -> torch.Tensor:
    _, _, height, width, _ = frames_BTHWC.shape
    grid_BHW2 = _sampling_grid(views, height, width)
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


def _sampling_grid(views: Views, height: int, width: int) -> torch.Tensor:
    """Return where each output pixel's middle lies, in [-1, 1] from edge to edge of the canvas."""
    device = views.crops_B4.device
    x1, y1, x2, y2 = (views.crops_B4[:, edge, None] for edge in range(4))
    along_x = (torch.arange(width, device=device) + 0.5) / width
    along_y = (torch.arange(height, device=device) + 0.5) / height
    along_BW = torch.where(views.is_flipped_B[:, None], 1 - along_x, along_x.expand(len(views.crops_B4), -1))
    x_BW = 2 * (x1 + along_BW * (x2 - x1)) / width - 1
    y_BH = 2 * (y1 + along_y * (y2 - y1)) / height - 1
    grid_x = x_BW[:, None, :].expand(-1, height, -1)
    grid_y = y_BH[:, :, None].expand(-1, -1, width)
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
