"""Rendering a scene: from a description to frames and boxes, with no choice of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smile_synth.errors import SceneError
from smile_synth.render.kernel import MAX_SIDE, draw_background, draw_layer
from smile_synth.scene import Scene


@dataclass(frozen=True, eq=False)
class Clip:
    """A rendered scene.

    Args:
        frames_THWC: uint8 (T, H, W, 3), RGB.
        boxes_KT4: float32 (K, T, 4); xyxy edges in canvas pixels, tight around what layer k alone draws in frame t
            (alpha above 0, also where a later layer hides it), clipped to the canvas; NaN where it draws nothing.
    """

    frames_THWC: npt.NDArray[np.uint8]
    boxes_KT4: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        f, b = self.frames_THWC, self.boxes_KT4
        if f.dtype != np.uint8 or f.ndim != 4 or f.shape[3] != 3:
            raise SceneError(f"a clip's frames must be uint8 (T, H, W, 3), got {f.dtype} {f.shape}")
        if b.dtype != np.float32 or b.ndim != 3 or b.shape[1:] != (f.shape[0], 4):
            raise SceneError(f"a clip's boxes must be float32 (K, {f.shape[0]}, 4), got {b.dtype} {b.shape}")


def render(scene: Scene) -> Clip:
    """Draw a scene into a new clip.

    Args:
        scene: what to draw.

    Returns:
        Frames and boxes; the same scene gives the same bytes everywhere.

    Raises:
        SceneError: a picture of the scene is larger than the renderer can address.
    """
    canvas = scene.canvas
    frames_THWC = np.empty((canvas.num_frames, canvas.height, canvas.width, 3), np.uint8)
    return Clip(frames_THWC, render_into(scene, frames_THWC))


def render_into(scene: Scene, frames_THWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Draw a scene into frames that are already there, such as a place in a shard's buffer.

    Args:
        scene: what to draw.
        frames_THWC: uint8 (T, H, W, 3) of the scene's canvas, C-contiguous and writable; every byte is overwritten.

    Returns:
        boxes_KT4 of ``Clip``.

    Raises:
        SceneError: the frames do not fit the scene, or a picture is larger than the renderer can address.
    """
    _check_frames(scene, frames_THWC)
    _check_sides(scene)
    num_frames, height, width, _ = frames_THWC.shape
    frames_THB = frames_THWC.reshape(num_frames, height, 3 * width)
    if scene.camera_T33 is None:
        frames_THWC[...] = scene.background
    else:
        draw_background(frames_THB, _as_moving(scene.background), np.ascontiguousarray(scene.camera_T33))
    boxes_KT4 = np.full((len(scene.layers), num_frames, 4), np.nan, np.float32)
    for layer, boxes_T4 in zip(scene.layers, boxes_KT4, strict=True):
        pose_T6, opacity_T = np.ascontiguousarray(layer.pose_T6), np.ascontiguousarray(layer.opacity_T)
        draw_layer(frames_THB, _as_moving(layer.texture), pose_T6, opacity_T, boxes_T4)
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
