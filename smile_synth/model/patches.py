"""From frames to the patches that tokens are made of."""

from __future__ import annotations

import torch
from torch import Tensor

from smile_synth.errors import ModelError
from smile_synth.masking.grid import TokenGrid

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(frames_BTHWC: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return what the student sees of uint8 frames: ImageNet-normalised pixels, made on the frames' device.

    Args:
        frames_BTHWC: uint8 (B, T, H, W, 3).
        dtype: of the result.

    Returns:
        ``dtype`` (B, 3, T, H, W).

    Raises:
        ModelError: the frames are not uint8 (B, T, H, W, 3).

    Examples:
        >>> ss.normalise(torch.zeros(2, 8, 32, 32, 3, dtype=torch.uint8)).shape
        torch.Size([2, 3, 8, 32, 32])
    """
    check_frames(frames_BTHWC)
    mean = frames_BTHWC.new_tensor(IMAGENET_MEAN, dtype=torch.float32) * 255
    std = frames_BTHWC.new_tensor(IMAGENET_STD, dtype=torch.float32) * 255
    return ((frames_BTHWC - mean) / std).permute(0, 4, 1, 2, 3).to(dtype)


def check_frames(frames_BTHWC: Tensor) -> None:
    """Raise a ModelError unless the frames are uint8 (B, T, H, W, 3)."""
    if frames_BTHWC.dtype != torch.uint8 or frames_BTHWC.ndim != 5 or frames_BTHWC.shape[-1] != 3:
        raise ModelError(f"frames must be uint8 (B, T, H, W, 3), got {frames_BTHWC.dtype} {tuple(frames_BTHWC.shape)}")


def check_video(video_BCTHW: Tensor, grid: TokenGrid) -> None:
    """Raise a ModelError unless the video is (B, 3, T, H, W) of the grid's size."""
    canvas = grid.canvas
    expected = (3, canvas.num_frames, canvas.height, canvas.width)
    if video_BCTHW.ndim != 5 or tuple(video_BCTHW.shape[1:]) != expected:
        raise ModelError(f"video must be (B, {', '.join(map(str, expected))}), got {tuple(video_BCTHW.shape)}")


def patch_view(video_BCTHW: Tensor, grid: TokenGrid) -> Tensor:
    """Return the video as (B, tubelets, rows, columns, C, frames, y, x) without copying it."""
    size = grid.patch_size
    cut = torch.unflatten(video_BCTHW, 4, (grid.columns, size))
    cut = torch.unflatten(cut, 3, (grid.rows, size))
    cut = torch.unflatten(cut, 2, (grid.tubelets, grid.tubelet_size))
    return torch.permute(cut, (0, 2, 4, 6, 1, 3, 5, 7))


def patchify(frames_BTHWC: Tensor, grid: TokenGrid) -> Tensor:
    """Return the pixels of every token, pixel-major and then channel.

    Args:
        frames_BTHWC: (B, T, H, W, 3) of any type.
        grid: the token grid.

    Returns:
        The same type, (B, N, tubelet_size x patch_size x patch_size, 3).

    Examples:
        >>> grid = ss.TokenGrid.of(ss.Canvas(32, 32, 8), tubelet_size=4, patch_size=8)
        >>> ss.patchify(torch.zeros(2, 8, 32, 32, 3, dtype=torch.uint8), grid).shape
        torch.Size([2, 32, 256, 3])
    """
    patches = patch_view(frames_BTHWC.permute(0, 4, 1, 2, 3), grid).permute(0, 1, 2, 3, 5, 6, 7, 4)
    return patches.reshape(len(frames_BTHWC), grid.num_tokens, -1, 3)
