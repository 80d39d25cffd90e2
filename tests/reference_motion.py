"""Motion once more in plain numpy: whole frames of floats, layer by layer, without runs, moments or fixed-point."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from reference_renderer import drawn_alone

from smile_synth.scene import Layer, Scene

Doubles = npt.NDArray[np.float64]
UNDEFINED_SHARE = 1 / 16


def point_motion(now_33: Doubles, then_33: Doubles, height: int, width: int) -> Doubles:
    """Return how far every pixel's middle moves, (H, W, 2), when what it shows is drawn by another homography."""
    y, x = np.indices((height, width)) + 0.5
    moved = np.stack([x, y, np.ones_like(x)], axis=-1) @ (then_33 @ np.linalg.inv(now_33)).T
    with np.errstate(all="ignore"):
        motion = moved[..., :2] / moved[..., 2:] - np.stack([x, y], axis=-1)
    return np.asarray(motion, np.float64)


def pose_matrices(layer: Layer) -> Doubles:
    """Return a layer's poses as (T, 3, 3)."""
    matrices = np.tile(np.eye(3), (len(layer.pose_T6), 1, 1))
    matrices[:, :2] = layer.pose_T6.astype(np.float64).reshape(-1, 2, 3)
    return matrices


def reference_motion(scene: Scene, cell_px: int) -> tuple[Doubles, Doubles, Doubles]:
    """Return the motion of every cell, painted over like the colours, then averaged.

    With it come what share of a cell has none (all, in the last frame), and how fast the fastest drawn point is: shapes
    (T, H / c, W / c, 2), (T, H / c, W / c, 1) and (T, 1, 1, 1).
    """
    canvas = scene.canvas
    size = (canvas.height, canvas.width)
    camera = np.tile(np.eye(3), (canvas.num_frames, 1, 1)) if scene.camera_T33 is None else scene.camera_T33
    alphas = [dict(drawn_alone(layer, size)) for layer in scene.layers]
    cells = np.full((canvas.num_frames, canvas.height // cell_px, canvas.width // cell_px, 2), np.nan)
    undefined, fastest = np.ones((*cells.shape[:3], 1)), np.zeros((len(cells), 1, 1, 1))
    for t in range(canvas.num_frames - 1):
        motion_HW2 = point_motion(camera[t].astype(np.float64), camera[t + 1].astype(np.float64), *size)
        defined_HW1 = np.full((*size, 1), float(scene.background.ndim == 3))
        motion_HW2 = motion_HW2 * defined_HW1
        fastest[t] = np.abs(motion_HW2).max()
        for layer, alpha in zip(scene.layers, alphas, strict=True):
            if t not in alpha:
                continue
            share_HW1 = alpha[t][..., 3:] / 255
            pose = pose_matrices(layer)
            own_HW2 = point_motion(pose[t], pose[t + 1], *size)
            fastest[t] = max(fastest[t, 0, 0, 0], np.abs(own_HW2 * (share_HW1 > 0)).max())
            is_defined = float(layer.texture.ndim == 3)
            motion_HW2 = motion_HW2 * (1 - share_HW1) + own_HW2 * share_HW1 * is_defined
            defined_HW1 = defined_HW1 * (1 - share_HW1) + share_HW1 * is_defined
        weight = _cell_means(defined_HW1, cell_px)
        undefined[t] = 1 - weight
        with np.errstate(all="ignore"):
            cells[t] = np.where(1 - weight > UNDEFINED_SHARE, np.nan, _cell_means(motion_HW2, cell_px) / weight)
    return cells, undefined, fastest


def _cell_means(picture_HWC: Doubles, cell_px: int) -> Doubles:
    height, width, channels = picture_HWC.shape
    tiles = picture_HWC.reshape(height // cell_px, cell_px, width // cell_px, cell_px, channels)
    return np.asarray(tiles.mean(axis=(1, 3)), np.float64)
