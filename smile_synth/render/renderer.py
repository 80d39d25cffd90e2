"""Rendering a scene: from a description to frames, boxes and motion, with no choice of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smile_synth.errors import SceneError
from smile_synth.render.coverage import Coverage
from smile_synth.render.kernel import MAX_SIDE, draw_background, draw_layer
from smile_synth.render.motion import motion_shape, write_motion
from smile_synth.scene import Scene


@dataclass(frozen=True, eq=False)
class Clip:
    """A rendered scene.

    Args:
        frames_THWC: uint8 (T, H, W, 3), RGB.
        boxes_KT4: float32 (K, T, 4); xyxy edges in canvas pixels, tight around what layer k alone draws in frame t
            (alpha above 0, also where a later layer hides it), clipped to the canvas; NaN where it draws nothing.
        motion_THW2: None, or float32 (T, H / c, W / c, 2) for cells of c px; mean (dx, dy) in pixels, from frame t to
            t + 1, of what is visible in the cell in frame t, weighted by how much of it shows through the layers above;
            the background moves with its camera. Rounded to 1/256 px. NaN in the last frame, and where more than 1/16
            of the cell shows what has no motion of its own: a layer or background with a picture for every frame and
            no surface.

    Examples:
        >>> ss.render_scene(ss.sample_scene("demo")).frames_THWC.dtype
        dtype('uint8')
    """

    frames_THWC: npt.NDArray[np.uint8]
    boxes_KT4: npt.NDArray[np.float32]
    motion_THW2: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        f, b = self.frames_THWC, self.boxes_KT4
        if f.dtype != np.uint8 or f.ndim != 4 or f.shape[3] != 3:
            raise SceneError(f"a clip's frames must be uint8 (T, H, W, 3), got {f.dtype} {f.shape}")
        if b.dtype != np.float32 or b.ndim != 3 or b.shape[1:] != (f.shape[0], 4):
            raise SceneError(f"a clip's boxes must be float32 (K, {f.shape[0]}, 4), got {b.dtype} {b.shape}")
        m = self.motion_THW2
        if m is not None and (m.dtype != np.float32 or m.ndim != 4 or (m.shape[0], m.shape[3]) != (f.shape[0], 2)):
            raise SceneError(
                f"a clip's motion must be float32 ({f.shape[0]}, H / c, W / c, 2), got {m.dtype} {m.shape}"
            )


def render(scene: Scene, motion_cell_px: int | None = None) -> Clip:
    """Draw a scene into a new clip.

    Args:
        scene: what to draw.
        motion_cell_px: side of the cells whose motion is wanted, in pixels; it divides both sides of the canvas.
            None for no motion.

    Returns:
        Frames, boxes and motion; the same scene gives the same bytes everywhere.

    Raises:
        SceneError: a picture of the scene is larger than the renderer can address, or the cells do not fit the canvas.

    Examples:
        >>> clip = ss.render_scene(ss.sample_scene("demo", clip=7), motion_cell_px=8)
        >>> clip.frames_THWC.shape, clip.motion_THW2.shape
        ((8, 32, 32, 3), (8, 4, 4, 2))
    """
    canvas = scene.canvas
    frames_THWC = np.empty((canvas.num_frames, canvas.height, canvas.width, 3), np.uint8)
    motion_THW2 = None if motion_cell_px is None else np.empty(motion_shape(canvas, motion_cell_px), np.float32)
    return Clip(frames_THWC, render_into(scene, frames_THWC, motion_THW2), motion_THW2)


def render_into(
    scene: Scene, frames_THWC: npt.NDArray[np.uint8], motion_THW2: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """Draw a scene into frames that are already there, such as a place in a shard's buffer.

    Args:
        scene: what to draw.
        frames_THWC: uint8 (T, H, W, 3) of the scene's canvas, C-contiguous and writable; every byte is overwritten.
        motion_THW2: None, or where to write ``Clip.motion_THW2``; its shape says the cells' size.

    Returns:
        boxes_KT4 of ``Clip``.

    Raises:
        SceneError: the arrays do not fit the scene, or a picture is larger than the renderer can address.
    """
    if motion_THW2 is None:
        return draw(scene, frames_THWC, Coverage.none(scene))
    coverage = Coverage.borrowed(scene)
    boxes_KT4 = draw(scene, frames_THWC, coverage)
    write_motion(scene, coverage, motion_THW2)
    return boxes_KT4


def draw(scene: Scene, frames_THWC: npt.NDArray[np.uint8], coverage: Coverage) -> npt.NDArray[np.float32]:
    """Draw a scene as ``render_into`` does, and add to ``coverage`` what each layer draws."""
    _check_frames(scene, frames_THWC)
    _check_sides(scene)
    num_frames, height, width, _ = frames_THWC.shape
    frames_THB = frames_THWC.reshape(num_frames, height, 3 * width)
    if scene.camera_T33 is None:
        frames_THWC[...] = scene.background
    else:
        draw_background(frames_THB, _as_moving(scene.background), np.ascontiguousarray(scene.camera_T33))
    boxes_KT4 = np.full((len(scene.layers), num_frames, 4), np.nan, np.float32)
    c = coverage
    for layer, boxes_T4, starts_T2 in zip(scene.layers, boxes_KT4, c.starts_KT2, strict=True):
        pose_T6, opacity_T = np.ascontiguousarray(layer.pose_T6), np.ascontiguousarray(layer.opacity_T)
        texture_THWC = _as_moving(layer.texture)
        draw_layer(
            frames_THB, texture_THWC, pose_T6, opacity_T, boxes_T4, starts_T2, c.runs_R4, c.alpha_N, c.kept_2, c.keeps
        )
    return boxes_KT4


def _as_moving(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Give a still picture a time axis of one."""
    return np.ascontiguousarray(picture if picture.ndim == 4 else picture[None])


def _check_frames(scene: Scene, frames_THWC: npt.NDArray[np.uint8]) -> None:
    canvas = scene.canvas
    expected = (canvas.num_frames, canvas.height, canvas.width, 3)
    if frames_THWC.dtype != np.uint8 or frames_THWC.shape != expected:
        raise SceneError(f"frames to draw into must be uint8 {expected}, got {frames_THWC.dtype} {frames_THWC.shape}")
    if not (frames_THWC.flags.c_contiguous and frames_THWC.flags.writeable):
        raise SceneError("frames to draw into must be C-contiguous and writable; pass a whole clip of a shard's buffer")


def _check_sides(scene: Scene) -> None:
    sizes = [scene.background.shape[-3:-1], (scene.canvas.height, scene.canvas.width)]
    sizes += [layer.texture.shape[-3:-1] for layer in scene.layers]
    if max(map(max, sizes)) > MAX_SIDE:
        raise SceneError(f"no side of a canvas, background or texture may pass {MAX_SIDE} pixels, got {sizes}")
