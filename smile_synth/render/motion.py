"""How far what is visible moves from frame to frame, in cells of a few pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from smile_synth.errors import SceneError
from smile_synth.render.coverage import Coverage
from smile_synth.render.motion_kernel import cell_motion
from smile_synth.scene import Canvas, Scene

# The kernel adds up 255 x rows x columns of a cell in 16 bits.
MAX_CELL_PX = 16


def motion_shape(canvas: Canvas, cell_px: int) -> tuple[int, int, int, int]:
    """Return (T, H / cell_px, W / cell_px, 2).

    Raises:
        SceneError: cells of that size do not tile the canvas.
    """
    if not 1 <= cell_px <= MAX_CELL_PX or canvas.height % cell_px or canvas.width % cell_px:
        raise SceneError(
            f"a motion cell must be 1 to {MAX_CELL_PX} px and divide the canvas's sides "
            f"{canvas.height} x {canvas.width}, got {cell_px}"
        )
    return canvas.num_frames, canvas.height // cell_px, canvas.width // cell_px, 2


def write_motion(scene: Scene, coverage: Coverage, motion_THW2: npt.NDArray[np.float32]) -> None:
    """Write the mean motion of what is visible in each cell.

    Args:
        scene: what was rendered.
        coverage: what its layers drew.
        motion_THW2: float32, of ``motion_shape``, C-contiguous; overwritten.

    Raises:
        SceneError: the array does not fit the scene.
    """
    cell_px = _check_motion(scene.canvas, motion_THW2)
    layers, num_frames = scene.layers, scene.canvas.num_frames
    pose_KT6 = np.zeros((len(layers), num_frames, 6), np.float32)
    for pose_T6, layer in zip(pose_KT6, layers, strict=True):
        pose_T6[...] = layer.pose_T6
    camera_T33 = np.zeros((0, 3, 3), np.float32) if scene.camera_T33 is None else scene.camera_T33
    cell_motion(
        motion_THW2,
        coverage.starts_KT2,
        coverage.runs_R4,
        coverage.alpha_N,
        pose_KT6,
        np.array([layer.texture.ndim == 3 for layer in layers], np.bool_),
        np.ascontiguousarray(camera_T33),
        scene.background.ndim == 3,
        cell_px,
        *_surfaces(scene),
    )


def _surfaces(scene: Scene) -> tuple[npt.NDArray[Any], ...]:
    """Return points, parts and projections of all surfaces, and where each of them begins, as ``cell_motion`` takes."""
    surfaces = [*(layer.surface for layer in scene.layers), scene.background_surface]
    places_K5 = np.full((len(surfaces), 5), -1, np.int64)
    first_point = first_projection = 0
    for place_5, surface in zip(places_K5, surfaces, strict=True):
        if surface is not None:
            place_5[:] = first_point, *surface.parts_THW.shape, first_projection
            first_point += surface.parts_THW.size
            first_projection += surface.projections_PT34.shape[0] * surface.projections_PT34.shape[1]
    there = [surface for surface in surfaces if surface is not None]
    return (
        _joined([surface.points_THW3.reshape(-1, 3) for surface in there], np.empty((0, 3), np.float32)),
        _joined([surface.parts_THW.reshape(-1) for surface in there], np.empty(0, np.uint8)),
        _joined([surface.projections_PT34.reshape(-1, 3, 4) for surface in there], np.empty((0, 3, 4), np.float32)),
        places_K5,
    )


def _joined(arrays: list[npt.NDArray[Any]], nothing: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return arrays one after the other; a single one is not copied."""
    return np.ascontiguousarray(arrays[0] if len(arrays) == 1 else np.concatenate([nothing, *arrays]))


def _check_motion(canvas: Canvas, motion_THW2: npt.NDArray[np.float32]) -> int:
    shape = motion_THW2.shape
    cell_px = canvas.height // max(1, shape[1]) if motion_THW2.ndim == 4 else 0
    if motion_THW2.dtype != np.float32 or not motion_THW2.flags.c_contiguous or not motion_THW2.flags.writeable:
        raise SceneError(f"motion to write must be C-contiguous, writable float32, got {motion_THW2.dtype} {shape}")
    if cell_px < 1 or shape != (expected := motion_shape(canvas, cell_px)):
        wanted = f"(T, H/c, W/c, 2) for a canvas of {canvas}" if cell_px < 1 else str(expected)
        raise SceneError(f"motion to write must have the shape {wanted}, got {shape}")
    return cell_px
