"""Procedural colour textures: stripes, checks, rings, marble, grain."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from smile_synth.sampling.polygons import circle_points, corners_of, fill_corners

Pixels = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]

TextureKind = Literal["stripes", "checks", "rings", "marble", "grain"]
TEXTURE_KINDS: tuple[TextureKind, ...] = get_args(TextureKind)
SHORTEST_PERIOD_PX = 4.0
LEAST_CONTRAST = 90
NUM_LEAVES = 160
# Radii of a carpet's leaves, in shorter sides of the picture.
SMALLEST_LEAF, LARGEST_LEAF = 0.05, 0.4


def sample_colour(*, rng: np.random.Generator) -> Pixels:
    """Sample a colour, uint8 (3,), uniform in RGB."""
    return rng.integers(0, 256, 3, dtype=np.uint8)


def sample_palette(*, rng: np.random.Generator) -> Pixels:
    """Sample a smooth palette of 256 colours through two or three that differ well, uint8 (256, 3)."""
    stops = rng.integers(0, 256, (int(rng.integers(2, 4)), 3)).astype(np.float64)
    distance = np.abs(stops[0] - stops[1]).max()
    if distance < LEAST_CONTRAST:
        stops[1] = (stops[0] + 128) % 256
    places = np.linspace(0, 255, len(stops))
    return np.stack([np.interp(np.arange(256), places, stops[:, c]) for c in range(3)], axis=-1).astype(np.uint8)


def draw_texture(height: int, width: int, *, rng: np.random.Generator) -> Pixels:
    """Draw a texture of a random kind, scale, direction and palette.

    Args:
        height, width: in pixels.
        rng: where every choice and every pixel comes from.

    Returns:
        uint8 (height, width, 3).
    """
    kind = TEXTURE_KINDS[int(rng.integers(len(TEXTURE_KINDS)))]
    palette = sample_palette(rng=rng)
    if kind == "marble":
        return palette[draw_marble(height, width, rng=rng)]
    if kind == "grain":
        values = 128 + rng.uniform(15, 60) * rng.standard_normal((height, width), dtype=np.float32)
        return palette[_to_bytes(values)]
    return palette[_to_bytes(_pattern(kind, height, width, rng))]


def draw_gradient(height: int, width: int, *, rng: np.random.Generator) -> Pixels:
    """Draw a linear or radial run between two or three colours, uint8 (height, width, 3)."""
    palette = sample_palette(rng=rng)
    x, y = _grid(height, width)
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * math.pi)
        ramp = x * np.float32(math.cos(angle)) + y * np.float32(math.sin(angle))
    else:
        ramp = np.hypot(x - np.float32(rng.uniform(0, width)), y - np.float32(rng.uniform(0, height)))
    low, high = float(ramp.min()), float(ramp.max())
    return palette[_to_bytes((ramp - low) * (255 / max(high - low, 1e-6)))]


def draw_leaves(height: int, width: int, *, rng: np.random.Generator) -> Pixels:
    """Draw a carpet of overlapping discs and polygons, a few large and many small, uint8 (height, width, 3).

    Source: the dead-leaves model of natural images; radii follow a power law with exponent 3.
    """
    side = min(height, width)
    image = np.empty((height, width, 3), np.uint8)
    image[:] = sample_colour(rng=rng)
    colours = rng.integers(0, 256, (NUM_LEAVES, 3)).tolist()
    places_L2 = rng.uniform(0, (width, height), (NUM_LEAVES, 2))
    radii_L = side * rng.uniform(LARGEST_LEAF**-2, SMALLEST_LEAF**-2, NUM_LEAVES) ** -0.5
    # Five corners anywhere on a circle: some fall together, which gives quadrangles and triangles too.
    turns_L5 = 2 * math.pi * np.sort(rng.random((NUM_LEAVES, 5)), axis=1)
    polygons_L52 = np.stack([np.cos(turns_L5), np.sin(turns_L5)], axis=-1)
    is_round_L = rng.random(NUM_LEAVES) < 0.4
    polygons = corners_of(polygons_L52 * radii_L[:, None, None] + places_L2[:, None])
    circles = corners_of(circle_points() * radii_L[:, None, None] + places_L2[:, None])
    for n in range(NUM_LEAVES):
        fill_corners(image, circles[n] if is_round_L[n] else polygons[n], tuple(colours[n]))
    return image


def draw_marble(height: int, width: int, *, rng: np.random.Generator) -> Pixels:
    """Draw smooth random waves of several scales, uint8 (height, width), spread over 0 to 255."""
    values = np.zeros((height, width), np.float32)
    cells = int(rng.integers(2, 5))
    for octave in range(4):
        count = cells * 2**octave + 1
        coarse = rng.standard_normal((min(count, height), min(count, width)), dtype=np.float32)
        values += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    spread = float(values.std())
    return _to_bytes(127.5 + (values - values.mean()) * (64 / max(spread, 1e-6)))


def _pattern(kind: TextureKind, height: int, width: int, rng: np.random.Generator) -> Field:
    """Return a periodic pattern, 0 to 255, with edges from soft to hard."""
    x, y = _grid(height, width)
    longest = max(SHORTEST_PERIOD_PX * 2, max(height, width) / 2)
    frequency = np.float32(2 * math.pi / math.exp(rng.uniform(math.log(SHORTEST_PERIOD_PX), math.log(longest))))
    angle, phase, hardness = rng.uniform(0, math.pi), np.float32(rng.uniform(0, 2 * math.pi)), rng.uniform(0.7, 6)
    cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    if kind == "rings":
        wave = np.sin(
            np.hypot(x - np.float32(rng.uniform(0, width)), y - np.float32(rng.uniform(0, height))) * frequency
        )
    else:
        wave = np.sin((x * cosine + y * sine) * frequency + phase)
    if kind == "checks":
        wave = wave * np.sin((y * cosine - x * sine) * frequency + phase)
    return np.asarray(127.5 + 127.5 * np.clip(wave * np.float32(hardness), -1, 1), np.float32)


def _grid(height: int, width: int) -> tuple[Field, Field]:
    return np.arange(width, dtype=np.float32)[None, :], np.arange(height, dtype=np.float32)[:, None]


def _to_bytes(values: npt.NDArray[np.floating[Any]]) -> Pixels:
    pixels: Pixels = np.clip(values, 0, 255).astype(np.uint8)
    return pixels
