"""Motion once more in plain numpy: whole frames of floats, layer by layer, without runs, moments or fixed-point."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from reference_renderer import drawn_alone

from smile_synth.scene import Layer, Scene, Surface

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


def surface_motion(surface: Surface, pose_33: Doubles, now: int, height: int, width: int) -> Doubles:
    """Return how far the point of the texel that every pixel lies in moves to the next frame, (H, W, 2)."""
    points_HW3, parts_HW = (array[min(now, len(array) - 1)] for array in (surface.points_THW3, surface.parts_THW))
    y, x = np.indices((height, width)) + 0.5
    u, v, _ = np.linalg.inv(pose_33) @ np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
    column, row = (
        np.clip(np.floor(p), 0, side - 1).astype(int) for p, side in ((u, parts_HW.shape[1]), (v, len(parts_HW)))
    )
    point_N4 = np.concatenate([points_HW3[row, column].astype(float), np.ones((len(row), 1))], axis=1)
    places = []
    for t in (now, now + 1):
        uvw = np.einsum("nij,nj->ni", surface.projections_PT34[parts_HW[row, column], t].astype(float), point_N4)
        with np.errstate(all="ignore"):
            places.append(uvw[:, :2] / uvw[:, 2:])
    return np.asarray((places[1] - places[0]).reshape(height, width, 2), np.float64)


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
        if scene.background_surface is not None:
            motion_HW2 = surface_motion(scene.background_surface, np.eye(3), t, *size)
            defined_HW1 = np.isfinite(motion_HW2).all(axis=2, keepdims=True).astype(float)
            motion_HW2 = np.nan_to_num(motion_HW2)
        motion_HW2 = motion_HW2 * defined_HW1
        fastest[t] = np.abs(motion_HW2).max()
        for layer, alpha in zip(scene.layers, alphas, strict=True):
            if t not in alpha:
                continue
            share_HW1 = alpha[t][..., 3:] / 255
            pose = pose_matrices(layer)
            own_HW2 = point_motion(pose[t], pose[t + 1], *size)
            is_defined: float | Doubles = float(layer.texture.ndim == 3)
            if layer.surface is not None:
                own_HW2 = surface_motion(layer.surface, pose[t], t, *size)
                is_defined = np.isfinite(own_HW2).all(axis=2, keepdims=True).astype(float)
                own_HW2 = np.nan_to_num(own_HW2)
            fastest[t] = max(fastest[t, 0, 0, 0], np.abs(own_HW2 * (share_HW1 > 0)).max())
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
