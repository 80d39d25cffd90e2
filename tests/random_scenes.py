"""Scenes of every kind at random: tiny and large, soft and animated, at sane and at wild poses, under any camera."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from smile_synth.scene import Canvas, Layer, Scene

# Half of them small, where borders meet; left to itself, hypothesis would draw little but ones.
SIDES = st.one_of(st.integers(1, 6), st.integers(8, 40))


def placed(
    width_px: Any, height_px: Any, angle_rad: Any, x_px: Any, y_px: Any, *, texture_hw: tuple[int, int]
) -> np.ndarray:
    """Return poses that draw a texture at a size, turned about its middle, with its middle at (x, y)."""
    height, width = texture_hw
    sx, sy = np.asarray(width_px) / width, np.asarray(height_px) / height
    a, b = np.cos(angle_rad) * sx, -np.sin(angle_rad) * sy
    d, e = np.sin(angle_rad) * sx, np.cos(angle_rad) * sy
    c, f = x_px - (a * width + b * height) / 2, y_px - (d * width + e * height) / 2
    return np.stack(np.broadcast_arrays(a, b, c, d, e, f), axis=-1).astype(np.float32)


@st.composite
def layers(draw: st.DrawFn, canvas: Canvas) -> Layer:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    frames, height, width = canvas.num_frames, draw(SIDES), draw(SIDES)
    time_axis = (frames,) if draw(st.booleans()) else ()
    texture = rng.integers(0, 256, (*time_axis, height, width, 4), np.uint8)
    texture[..., 3] *= rng.random(texture.shape[:-1]) < draw(st.sampled_from([0.2, 1.0]))
    largest = 2.0 * max(canvas.height, canvas.width)
    size = np.exp(rng.uniform(0, np.log(largest), (2, frames)))
    if draw(st.booleans()):
        size[:] = np.exp(rng.uniform(0, np.log(largest), (2, 1)))
    angle = rng.uniform(-7, 7, frames) if draw(st.booleans()) else draw(st.sampled_from([0.0, np.pi / 2, np.pi]))
    reach = draw(st.sampled_from([0.0, 0.3, 1.0]))
    x, y = (rng.uniform(-reach * side, (1 + reach) * side, frames) for side in (canvas.width, canvas.height))
    pose = placed(size[0], size[1], angle, x, y, texture_hw=(height, width))
    if draw(st.booleans()):
        pose = np.round(pose)
    opacity = rng.choice([0.0, 0.003, 0.5, 1.0, 1.0, rng.random()], frames).astype(np.float32)
    return Layer(texture, pose, opacity)


@st.composite
def cameras(draw: st.DrawFn, canvas: Canvas) -> np.ndarray:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (1 if draw(st.booleans()) else canvas.num_frames, 3, 3)
    strength = draw(st.sampled_from([0.0, 0.1, 1.0]))
    camera = np.eye(3) * np.exp(rng.uniform(-2, 2)) + strength * rng.normal(0, 1, shape)
    camera[:, :2, 2] = rng.uniform(-60, 60, (shape[0], 2)) * strength
    camera[:, 2, :2] = rng.normal(0, 0.01, (shape[0], 2)) * strength * draw(st.sampled_from([0, 1]))
    camera[:, 2, 2] = 1
    camera[np.abs(np.linalg.det(camera)) < 1e-3] = np.eye(3)
    return np.broadcast_to(camera, (canvas.num_frames, 3, 3)).astype(np.float32)


@st.composite
def scenes(draw: st.DrawFn, *, with_camera: bool = False) -> Scene:
    canvas = Canvas(draw(SIDES), draw(SIDES), draw(st.integers(1, 3)))
    size = (draw(SIDES), draw(SIDES)) if with_camera else (canvas.height, canvas.width)
    time_axis = (canvas.num_frames,) if draw(st.booleans()) else ()
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    background = rng.integers(0, 256, (*time_axis, *size, 3), np.uint8)
    camera = draw(cameras(canvas)) if with_camera else None
    return Scene(canvas, background, camera, tuple(draw(st.lists(layers(canvas), max_size=3))))
