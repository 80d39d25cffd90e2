"""The renderer once more in plain numpy, slow and short: tests hold the compiled kernel to its bytes.

It shares with the kernel only the turning of floats into integers; every pixel of the canvas is looked at for every
object, without spans, bounds or stepping.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from smile_synth.render import kernel
from smile_synth.render.renderer import Clip
from smile_synth.scene import Layer, Scene

Integers = npt.NDArray[np.int64]


def render_reference(scene: Scene) -> Clip:
    """Draw a scene as ``render`` does, to the same bytes."""
    canvas = scene.canvas
    frames_THWC = np.empty((canvas.num_frames, canvas.height, canvas.width, 3), np.uint8)
    with np.errstate(all="ignore"):
        frames_THWC[...] = scene.background if scene.camera_T33 is None else _views(scene)
        boxes = [_draw_layer(frames_THWC, layer) for layer in scene.layers]
    return Clip(frames_THWC, np.array(boxes, np.float32).reshape(len(boxes), canvas.num_frames, 4))


def _plain(compiled: Any) -> Any:
    """Return the Python function behind a compiled one, so that the reference runs no compiled code."""
    return compiled.py_func


def _filtered(texture_HWC: npt.NDArray[np.uint8], num_rows: int, num_columns: int) -> Integers:
    """Premultiply, and average over the exact area of each texel."""
    height, width = texture_HWC.shape[:2]
    colour = texture_HWC[..., :3].astype(np.int64)
    alpha = texture_HWC[..., 3:].astype(np.int64) if texture_HWC.shape[2] == 4 else np.full_like(colour[..., :1], 255)
    premultiplied = np.concatenate([colour * alpha, 255 * alpha], axis=2)
    rows = np.tensordot(_overlaps(num_rows, height), premultiplied, axes=(1, 0))
    sums = np.tensordot(rows, _overlaps(num_columns, width), axes=(1, 1)).transpose(0, 2, 1)
    divisor = 255 * height * width
    return np.asarray((sums + divisor // 2) // divisor, np.int64)


def _overlaps(num_texels: int, side: int) -> Integers:
    """Return how much of every pixel (columns) each texel (rows) covers, in units of 1 / num_texels."""
    pixel, texel = np.arange(side) * num_texels, np.arange(num_texels)[:, None] * side
    covered = np.minimum(pixel + num_texels, texel + side) - np.maximum(pixel, texel)
    return np.asarray(np.maximum(covered, 0), np.int64)


def _lerp(first: Integers, second: Integers, weight: Integers) -> Integers:
    return np.asarray((first * (256 - weight) + second * weight + 128) >> 8, np.int64)


def _bilinear(texels_HWC: Integers, rows: tuple[Integers, Integers], columns: tuple[Integers, Integers]) -> Any:
    """Return a function of the two weights that mixes the four texels at the given rows and columns."""
    (north, south), (west, east) = rows, columns

    def mix(east_weight: Integers, south_weight: Integers) -> Integers:
        upper = _lerp(texels_HWC[north, west], texels_HWC[north, east], east_weight[..., None])
        lower = _lerp(texels_HWC[south, west], texels_HWC[south, east], east_weight[..., None])
        return _lerp(upper, lower, south_weight[..., None])

    return mix


def _draw_layer(frames_THWC: npt.NDArray[np.uint8], layer: Layer) -> list[list[float]]:
    boxes = [[np.nan] * 4 for _ in frames_THWC]
    for t, drawn_HWC in drawn_alone(layer, frames_THWC.shape[1:3]):
        alpha, under = drawn_HWC[..., 3:], frames_THWC[t].astype(np.int64)
        frames_THWC[t] = drawn_HWC[..., :3] + (2 * under * (255 - alpha) + 255) // 510
        boxes[t] = _tight_box(alpha[..., 0] > 0)
    return boxes


def drawn_alone(layer: Layer, canvas_hw: tuple[int, ...]) -> Iterator[tuple[int, Integers]]:
    """Yield the frames in which a layer is drawn, and its premultiplied colours (H, W, 4) there."""
    num_frames = len(layer.pose_T6)
    height, width = layer.texture.shape[-3:-1]
    weight_T = [_plain(kernel.opacity_weight)(o) for o in layer.opacity_T]
    seen = [t for t in range(num_frames) if weight_T[t] > 0]
    sides = {t: _plain(kernel.drawn_sides)(layer.pose_T6[t], height, width) for t in seen}
    octave_of = _octaves(sides)
    for t in seen:
        alike = [sides[s] for s in seen if octave_of[s] == octave_of[t]]
        num_rows = _plain(kernel.reduced_side)(height, max(side[0] for side in alike))
        num_columns = _plain(kernel.reduced_side)(width, max(side[1] for side in alike))
        texture = layer.texture if layer.texture.ndim == 3 else layer.texture[t]
        texels_HWC = np.pad(_filtered(texture, num_rows, num_columns), ((1, 1), (1, 1), (0, 0)))
        step = _plain(kernel.texture_step)(layer.pose_T6[t], height / num_rows, width / num_columns)
        if step[0]:
            yield t, _drawn_texels(canvas_hw, texels_HWC, step, weight_T[t])


def _octaves(sides: dict[int, tuple[float, float]]) -> dict[int, int]:
    longest = [max(side[axis] for side in sides.values()) for axis in (0, 1)] if sides else [0.0, 0.0]
    octave = _plain(kernel.octave)
    return {t: max(octave(longest[0], side[0]), octave(longest[1], side[1])) for t, side in sides.items()}


def _drawn_texels(canvas_hw: tuple[int, ...], texels_HWC: Integers, step: Any, weight: int) -> Integers:
    _, u0, ux, uy, v0, vx, vy = step
    row, column = np.indices(canvas_hw)
    u, v = u0 + column * ux + row * uy, v0 + column * vx + row * vy
    height, width = texels_HWC.shape[:2]
    inside = (u >= 0) & (u < (width - 1) * kernel.ONE) & (v >= 0) & (v < (height - 1) * kernel.ONE)
    u, v = np.where(inside, u, 0), np.where(inside, v, 0)
    x, y = u >> kernel.FRACTION_BITS, v >> kernel.FRACTION_BITS
    mixed = _bilinear(texels_HWC, (y, y + 1), (x, x + 1))(u >> 24 & 255, v >> 24 & 255)
    return np.asarray(np.where(inside[..., None], (mixed * weight + 128) >> 8, 0), np.int64)


def _tight_box(is_drawn: npt.NDArray[np.bool_]) -> list[float]:
    if not is_drawn.any():
        return [np.nan] * 4
    rows, columns = np.flatnonzero(is_drawn.any(axis=1)), np.flatnonzero(is_drawn.any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def _views(scene: Scene) -> npt.NDArray[np.uint8]:
    """Return the background of every frame as the scene's camera sees it."""
    camera_T33 = scene.camera_T33
    assert camera_T33 is not None
    canvas, (height, width) = scene.canvas, scene.background.shape[-3:-1]
    sides = [_plain(kernel.camera_sides)(camera, height, width, canvas.height, canvas.width) for camera in camera_T33]
    num_rows = _plain(kernel.reduced_side)(height, max(side[0] for side in sides))
    num_columns = _plain(kernel.reduced_side)(width, max(side[1] for side in sides))
    frames = []
    for t, camera in enumerate(camera_T33):
        background = scene.background if scene.background.ndim == 3 else scene.background[t]
        texels_HWC = _filtered(background, num_rows, num_columns)
        u, v = _camera_positions(camera, height / num_rows, width / num_columns, canvas.height, canvas.width)
        rows = [_mirrored((v >> 8) + i, num_rows) for i in (0, 1)]
        columns = [_mirrored((u >> 8) + i, num_columns) for i in (0, 1)]
        frames.append(_bilinear(texels_HWC, (rows[0], rows[1]), (columns[0], columns[1]))(u & 255, v & 255)[..., :3])
    return np.array(frames, np.uint8)


def _camera_positions(
    camera_33: npt.NDArray[np.float32], zoom_y: float, zoom_x: float, num_rows: int, num_columns: int
) -> tuple[Integers, Integers]:
    """Return where in the background, in 1/256 texel, every pixel of the canvas looks."""
    row, column = np.indices((num_rows, num_columns))
    is_stepped, u0, ux, uy, v0, vx, vy = _plain(kernel.camera_step)(camera_33, zoom_y, zoom_x)
    if is_stepped:
        return (u0 + column * ux + row * uy) >> 24, (v0 + column * vx + row * vy) >> 24
    h = _plain(kernel.camera_inverse)(camera_33, zoom_y, zoom_x)
    x, y = column + 0.5, row + 0.5
    nearness = 1.0 / (h[6] * x + h[7] * y + h[8])
    u = _positions((h[0] * x + h[1] * y + h[2]) * nearness - 0.5)
    return u, _positions((h[3] * x + h[4] * y + h[5]) * nearness - 0.5)


def _positions(value: npt.NDArray[np.float64]) -> Integers:
    near = np.where(np.abs(value) < kernel.MAX_POSITION, value, 0.0)
    return np.floor(near * 256.0 + 0.5).astype(np.int64)


def _mirrored(index: Integers, size: int) -> Integers:
    index = index % (2 * size)
    return np.where(index < size, index, 2 * size - 1 - index)
