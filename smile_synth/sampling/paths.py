"""Trajectories across the canvas: smooth random ones, straight ones, curves, and bouncing off the borders."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Annotated, Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field

from smile_synth.params import Span, StrictParams
from smile_synth.sampling.keyframes import KeyFrameParams, sample_values
from smile_synth.scene import Canvas

PathKind = Literal["gaussian", "linear", "curved", "bouncing"]
PATH_KINDS: tuple[PathKind, ...] = get_args(PathKind)
Array = npt.NDArray[np.float64]

# Lengths in parameters are those of the published work, on a canvas of this many pixels a side.
REFERENCE_SIDE_PX = 224
LEAST_ROOM = 0.35


def scale_of(canvas: Canvas) -> float:
    """Return by what lengths that are given for a canvas of 224 px are multiplied."""
    return min(canvas.height, canvas.width) / REFERENCE_SIDE_PX


Speeds = Span[Annotated[float, Field(gt=0, le=REFERENCE_SIDE_PX)]]


class GaussianParams(StrictParams):
    """Smooth random motion: Gaussian-smoothed random points.

    Source: SMILE, CVPR 2025.
    """

    points_per_frame: int = Field(3, ge=1, le=64, description="random points for each frame of the clip")
    sigma: float = Field(8.0, gt=0, le=1000, description="width of the smoothing, in points; larger is smoother")
    extent_px: Span[Annotated[int, Field(ge=1, le=REFERENCE_SIDE_PX)]] = Field(
        (40, 179), description="shortest and longest extent of the path along x and y, px at 224 px"
    )
    steps: Literal["published", "even"] = Field(
        "published", description="'published' rounds frames to points, which makes two steps of a clip a third longer"
    )


class LinearParams(StrictParams):
    """Straight motion from key frame to key frame, inside the canvas.

    Source: SMILE, CVPR 2025.
    """

    max_speed_px: float = Field(12.0, gt=0, le=224, description="highest speed along x and y, px/frame at 224 px")


class CurvedParams(StrictParams):
    """A smooth curve through random points, followed at a constant speed."""

    points: int = Field(4, ge=3, le=16, description="points that the curve passes through")
    speed_px: Speeds = Field((3.0, 14.0), description="lowest and highest speed, px/frame at 224 px")


class BouncingParams(StrictParams):
    """Straight motion at a constant speed that is thrown back wherever the object touches a border."""

    speed_px: Speeds = Field((6.0, 20.0), description="lowest and highest speed, px/frame at 224 px")


def sample_gaussian_path(params: GaussianParams, canvas: Canvas, *, rng: np.random.Generator) -> Array:
    """Sample a smooth random path; every point of it lies on the canvas.

    Args:
        params: number of points, smoothing, extent.
        canvas: where it lies.
        rng: decides points, extent and place.

    Returns:
        float64 (T, 2), x and y in canvas pixels.

    Source: SMILE, CVPR 2025.
    """
    # One frame alone still needs two points to stretch.
    points = max(2, params.points_per_frame * canvas.num_frames)
    smooth = _smoothing(points, params.sigma) @ rng.random((points, 2))
    smooth -= smooth.min(axis=0)
    smooth /= smooth.max(axis=0)
    size = np.array([canvas.width, canvas.height], dtype=np.float64)
    shortest, longest = params.extent_px
    extent = rng.integers(shortest, longest + 1) * size / REFERENCE_SIDE_PX
    path: Array = smooth * extent + rng.random(2) * (size - extent)
    if params.steps == "published":
        return path.take(_nearest_points(points, canvas.num_frames), axis=0)
    places = np.linspace(0, points - 1, canvas.num_frames)
    return np.stack([np.interp(places, np.arange(points), path[:, axis]) for axis in (0, 1)], axis=1)


def sample_linear_path(
    params: LinearParams, keys: KeyFrameParams, size_T2: Array, canvas: Canvas, *, rng: np.random.Generator
) -> Array:
    """Sample a path that runs straight between key frames; at those the object lies inside the canvas.

    Args:
        params: greatest speed.
        keys: how many key frames and how it runs between them.
        size_T2: width and height of the object, in pixels.
        canvas: where the path lies.
        rng: decides key frames and places.

    Returns:
        float64 (T, 2), x and y of the object's centre in canvas pixels.

    Source: SMILE, CVPR 2025.
    """
    full = np.array([canvas.width, canvas.height], dtype=np.float64)
    low_T2 = np.minimum(size_T2, full) / 2
    high_T2 = full - low_T2
    reach = params.max_speed_px * scale_of(canvas)

    def target(here: Array, first: int, last: int) -> Array:
        far = reach * (last - first)
        low = np.clip(here - far, low_T2[last], high_T2[last])
        high = np.clip(here + far, low_T2[last], high_T2[last])
        return low + rng.random(2) * (high - low)

    start = low_T2[0] + rng.random(2) * (high_T2[0] - low_T2[0])
    return sample_values(start, target, canvas.num_frames, keys, rng=rng)


def sample_curved_path(params: CurvedParams, canvas: Canvas, *, rng: np.random.Generator) -> Array:
    """Sample a path along a Catmull-Rom curve through random points of the canvas, at a constant speed.

    Args:
        params: number of points and speed.
        canvas: where the points lie.
        rng: decides points and speed.

    Returns:
        float64 (T, 2), x and y in canvas pixels. A curve shorter than the speed asks for is followed more slowly.
    """
    points = rng.random((params.points, 2)) * (canvas.width, canvas.height)
    curve = _catmull_rom(points, samples=32)
    travelled = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
    speed = rng.uniform(*params.speed_px) * scale_of(canvas)
    length = min(speed * (canvas.num_frames - 1), travelled[-1])
    start = rng.random() * (travelled[-1] - length)
    places = start + np.linspace(0, length, canvas.num_frames)
    return np.stack([np.interp(places, travelled, curve[:, axis]) for axis in (0, 1)], axis=1)


def sample_bouncing_path(
    params: BouncingParams, half_size_2: Array, canvas: Canvas, *, rng: np.random.Generator
) -> Array:
    """Sample a straight path that is mirrored at the canvas's borders.

    Args:
        params: speed.
        half_size_2: how far from a vertical and a horizontal border the object's centre turns back, in pixels.
        canvas: what the path stays inside.
        rng: decides start, direction and speed.

    Returns:
        float64 (T, 2), x and y of the object's centre in canvas pixels.
    """
    full = np.array([canvas.width, canvas.height], dtype=np.float64)
    # An object that fills the canvas still moves, and hangs over the border at its turning points.
    low = np.minimum(half_size_2, LEAST_ROOM * full)
    room = full - 2 * low
    speed, angle = rng.uniform(*params.speed_px) * scale_of(canvas), rng.uniform(0, 2 * math.pi)
    step = speed * np.array([math.cos(angle), math.sin(angle)])
    free = rng.random(2) * room + np.arange(canvas.num_frames)[:, None] * step
    # Unfolded, the bouncing path is straight; folding it back at multiples of the free space gives the bounces.
    folded = np.mod(free, 2 * room)
    path: Array = low + np.where(folded > room, 2 * room - folded, folded)
    return path


@lru_cache(maxsize=16)
def _nearest_points(points: int, num_frames: int) -> npt.NDArray[np.intp]:
    return np.rint(np.linspace(0, points - 1, num_frames)).astype(np.intp)


@lru_cache(maxsize=16)
def _smoothing(points: int, sigma: float) -> Array:
    """Return the (points, points) matrix that smooths with a Gaussian cut at 4 sigma, mirroring at the ends."""
    radius = int(4.0 * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    sources = np.mod(np.arange(points)[:, None] + offsets, 2 * points)
    sources = np.where(sources < points, sources, 2 * points - 1 - sources)
    matrix = np.zeros((points, points))
    np.add.at(matrix, (np.arange(points)[:, None], sources), weights)
    return matrix


def _catmull_rom(points: Array, samples: int) -> Array:
    """Return ``samples`` points of each piece of the curve through all points, and the last point."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = (np.arange(samples) / samples)[None, :, None]
    p0, p1, p2, p3 = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    pieces = p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))
    return np.concatenate([pieces.reshape(-1, 2), points[-1:]])
