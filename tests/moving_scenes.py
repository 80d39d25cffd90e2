"""Layers that move as a test says, smooth pictures, and warping a frame back by its motion."""

from __future__ import annotations

from typing import Any

import numpy as np

from smile_synth.scene import Layer


def moving(
    x: Any,
    y: Any,
    *,
    frames: int = 3,
    size_px: Any = 1.0,
    angle_rad: Any = 0.0,
    texture: np.ndarray,
    opacity: Any = 1.0,
) -> Layer:
    """Return a layer whose middle lies at (x, y), turned and scaled about it."""
    height, width = texture.shape[-3:-1]
    t = np.zeros(frames)
    a, b = np.cos(angle_rad) * size_px + t, -np.sin(angle_rad) * size_px + t
    c, f = x - (a * width + b * height) / 2, y - (-b * width + a * height) / 2
    pose_T6 = np.stack([a, b, c, -b, a, f], axis=1).astype(np.float32)
    return Layer(texture, pose_T6, np.broadcast_to(np.float32(opacity), frames).copy())


def paint(height: int, width: int, *, alpha: int | None = 255, frames: int | None = None) -> np.ndarray:
    rng = np.random.default_rng(height * 100 + width)
    texture = rng.integers(0, 256, (*(() if frames is None else (frames,)), height, width, 4), np.uint8)
    if alpha is not None:
        texture[..., 3] = alpha
    return texture


def waves(height: int, width: int) -> np.ndarray:
    """Return a picture so smooth that sampling it twice blurs nothing."""
    y, x = np.indices((height, width)) + 0.5
    channels = [127 + 60 * np.sin(x / 9 + k) + 60 * np.sin(y / 11 - k) for k in range(3)]
    return np.stack(channels, axis=2).round().astype(np.uint8)


def warp_back(frame_HWC: np.ndarray, motion_HW2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Look the next frame up where every pixel has gone, bilinearly; and say where that lies inside it."""
    height, width = motion_HW2.shape[:2]
    y, x = np.indices((height, width)) + motion_HW2[..., ::-1].transpose(2, 0, 1)
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    x, y = np.clip(x, 0, width - 1.001), np.clip(y, 0, height - 1.001)
    j, i = x.astype(int), y.astype(int)
    u, v = (x - j)[..., None], (y - i)[..., None]
    f = frame_HWC.astype(float)
    upper, lower = f[i, j] * (1 - u) + f[i, j + 1] * u, f[i + 1, j] * (1 - u) + f[i + 1, j + 1] * u
    return upper * (1 - v) + lower * v, inside
