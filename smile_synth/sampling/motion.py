"""How objects move: path, size and angle over time, and their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from smile_synth.generator.labels import UNDEFINED_CLASS, LabelSpec
from smile_synth.params import NoEffect, StrictParams
from smile_synth.sampling.choices import Weight, choose, names_in
from smile_synth.sampling.keyframes import KeyFrameParams, sample_values
from smile_synth.sampling.paths import (
    PATH_KINDS,
    Array,
    BouncingParams,
    CurvedParams,
    GaussianParams,
    LinearParams,
    PathKind,
    sample_bouncing_path,
    sample_curved_path,
    sample_gaussian_path,
    sample_linear_path,
    scale_of,
)
from smile_synth.scene import Canvas

DIRECTIONS = ("right", "down-right", "down", "down-left", "left", "up-left", "up", "up-right")
# Below this net displacement a direction would be an accident.
STANDSTILL_PX = 0.5


class SizeParams(StrictParams):
    """Width and height of an object, and how they change.

    Source: SMILE, CVPR 2025, for the defaults.
    """

    NO_EFFECT = (
        NoEffect(
            ("aspects",), when=lambda size: size.keep_aspect, why="with keep_aspect", instead="leave one of them out"
        ),
    )

    scales_px: tuple[Annotated[float, Field(gt=0, le=2240)], ...] = Field(
        (32, 48, 56, 64, 96, 128),
        min_length=1,
        description="sizes to choose from: root of width times height, px at 224 px",
    )
    aspects: tuple[Annotated[float, Field(gt=0.01, lt=100)], ...] = Field(
        (0.5, 0.67, 0.75, 1.0, 1.33, 1.5, 2.0), min_length=1, description="width over height, to choose from"
    )
    keep_aspect: bool = Field(False, description="keep the object's own width over height instead of choosing one")
    jitter: float = Field(0.18, ge=0, le=2, description="each side is multiplied by exp of up to plus or minus this")
    growth_per_frame: float = Field(
        0.025, ge=0, le=0.5, description="each side grows by exp of up to plus or minus this per frame"
    )


def _only_on_its_path(kind: PathKind) -> NoEffect:
    return NoEffect(
        (kind,),
        when=lambda motion: kind not in names_in(motion.path),
        why=f"where no path is {kind!r}",
        instead="add it to 'path', or leave it out",
    )


class MotionParams(StrictParams):
    """Path, size and angle of an object over time.

    Source: SMILE, CVPR 2025, for the defaults.
    """

    NO_EFFECT = tuple(map(_only_on_its_path, PATH_KINDS))

    path: PathKind | Annotated[dict[PathKind, Weight], Field(min_length=1)] = Field(
        "gaussian", description="a kind of path, or weights of several, one sampled per object"
    )
    size: SizeParams = Field(SizeParams(), description="width and height")
    rotation_deg_per_frame: float = Field(
        6.0, ge=0, le=180, description="largest rotation in either direction, deg/frame"
    )
    key_frames: KeyFrameParams = Field(KeyFrameParams(), description="key frames of size, angle and of the linear path")
    gaussian: GaussianParams = Field(GaussianParams(), description="smooth random paths")
    linear: LinearParams = Field(LinearParams(), description="straight paths between key frames")
    curved: CurvedParams = Field(CurvedParams(), description="curves at a constant speed")
    bouncing: BouncingParams = Field(BouncingParams(), description="straight paths mirrored at the borders")


@dataclass(frozen=True, eq=False)
class Motion:
    """An object's trajectory, size and angle through a clip.

    Args:
        kind: kind of path.
        centre_T2: float64, x and y of the centre, in canvas pixels.
        size_T2: float64, width and height before turning, in canvas pixels.
        angle_T: float64, degrees since the first frame, clockwise positive, as y grows downwards.
    """

    kind: PathKind
    centre_T2: Array
    size_T2: Array
    angle_T: Array

    @property
    def displacement(self) -> tuple[float, float]:
        """x and y from the first to the last frame, in pixels."""
        dx, dy = self.centre_T2[-1] - self.centre_T2[0]
        return float(dx), float(dy)

    @property
    def direction(self) -> int:
        """Class of the net displacement in ``DIRECTIONS``; -1 where the object ends where it began."""
        return direction_class(*self.displacement)

    @property
    def speed(self) -> float:
        """Mean distance from frame to frame, in pixels."""
        steps = np.diff(self.centre_T2, axis=0)
        return float(np.hypot(steps[:, 0], steps[:, 1]).mean()) if len(steps) else 0.0

    @property
    def rotation(self) -> float:
        """Degrees from the first to the last frame, clockwise positive."""
        return float(self.angle_T[-1] - self.angle_T[0])

    @property
    def size_change(self) -> float:
        """Last over first size, a size being the root of width times height."""
        return float(np.sqrt(self.size_T2[-1].prod() / self.size_T2[0].prod()))

    def pose_T6(self, height: int, width: int) -> npt.NDArray[np.float32]:
        """Return the poses that stretch a texture of this size over the object (see ``Layer``)."""
        return affine_pose(self.centre_T2, self.size_T2 / (width, height), self.angle_T, height, width)


def sample_motion(params: MotionParams, canvas: Canvas, *, rng: np.random.Generator, aspect: float = 1.0) -> Motion:
    """Sample how one object moves.

    Args:
        params: which paths, sizes and angles.
        canvas: where it moves; lengths scale with its shorter side.
        rng: decides everything.
        aspect: the object's own width over height, for ``keep_aspect``.
    """
    kind = choose(params.path, rng=rng)
    size_T2 = _sample_sizes(params, canvas, aspect, rng)
    angle_T = _sample_angles(params, canvas.num_frames, rng)
    return Motion(kind, _sample_path(kind, params, size_T2, angle_T, canvas, rng), size_T2, angle_T)


def affine_pose(centre_T2: Array, scale_T2: Array, angle_T: Array, height: int, width: int) -> npt.NDArray[np.float32]:
    """Return the poses of a texture that is scaled, then turned about its middle, then moved.

    Args:
        centre_T2: canvas point of the texture's middle, in pixels.
        scale_T2: canvas pixels per texture pixel, along the texture's x and y.
        angle_T: degrees, clockwise positive.
        height, width: of the texture, in pixels.

    Returns:
        float32 (T, 6), as ``Layer.pose_T6``.
    """
    radians_T = np.deg2rad(angle_T)
    cosine_T, sine_T = np.cos(radians_T), np.sin(radians_T)
    a, b = scale_T2[:, 0] * cosine_T, -scale_T2[:, 1] * sine_T
    d, e = scale_T2[:, 0] * sine_T, scale_T2[:, 1] * cosine_T
    c = centre_T2[:, 0] - a * (width / 2) - b * (height / 2)
    f = centre_T2[:, 1] - d * (width / 2) - e * (height / 2)
    return np.stack([a, b, c, d, e, f], axis=1).astype(np.float32)


def direction_class(dx: float, dy: float) -> int:
    """Return the class in ``DIRECTIONS`` of a displacement in pixels, y downwards; -1 for half a pixel and less."""
    if np.hypot(dx, dy) <= STANDSTILL_PX:
        return UNDEFINED_CLASS
    return round(float(np.arctan2(dy, dx)) / (2 * np.pi / 8)) % 8


def motion_label_specs() -> dict[str, LabelSpec]:
    """Return what ``motion_labels`` says of every object."""
    return {
        "direction": LabelSpec("Direction from first to last place", "class", "object", classes=DIRECTIONS),
        "speed": LabelSpec("Mean speed of the centre", "number", "object", unit="px/frame"),
        "rotation": LabelSpec("Angle from first to last frame, clockwise positive", "number", "object", unit="deg"),
        "size_change": LabelSpec("Last over first size (root of width times height)", "number", "object"),
        "motion": LabelSpec("Kind of path", "class", "object", classes=PATH_KINDS),
    }


def motion_labels(motions: Sequence[Motion]) -> dict[str, npt.NDArray[Any]]:
    """Return the labels of a clip's objects, in painter's order, as ``motion_label_specs`` declares them."""
    return {
        "direction": np.array([motion.direction for motion in motions], dtype=np.int32),
        "speed": np.array([motion.speed for motion in motions], dtype=np.float32),
        "rotation": np.array([motion.rotation for motion in motions], dtype=np.float32),
        "size_change": np.array([motion.size_change for motion in motions], dtype=np.float32),
        "motion": np.array([PATH_KINDS.index(motion.kind) for motion in motions], dtype=np.int32),
    }


def _sample_sizes(params: MotionParams, canvas: Canvas, own_aspect: float, rng: np.random.Generator) -> Array:
    size = params.size
    scale = size.scales_px[int(rng.integers(len(size.scales_px)))] * scale_of(canvas)
    aspect = own_aspect if size.keep_aspect else size.aspects[int(rng.integers(len(size.aspects)))]
    # Where the aspect is to be kept, both sides change alike.
    sides = 1 if size.keep_aspect else 2
    first = scale * np.array([np.sqrt(aspect), 1 / np.sqrt(aspect)]) * np.exp(_spread(size.jitter, sides, rng))
    growth = sample_values(
        np.zeros(sides),
        lambda here, first, last: here + _spread(size.growth_per_frame * (last - first), sides, rng),
        canvas.num_frames,
        params.key_frames,
        rng=rng,
    )
    return first * np.exp(growth)


def _sample_angles(params: MotionParams, num_frames: int, rng: np.random.Generator) -> Array:
    fastest = params.rotation_deg_per_frame
    angles_T1 = sample_values(
        np.zeros(1),
        lambda here, first, last: here + _spread(fastest * (last - first), 1, rng),
        num_frames,
        params.key_frames,
        rng=rng,
    )
    return angles_T1[:, 0]


def _sample_path(
    kind: PathKind, params: MotionParams, size_T2: Array, angle_T: Array, canvas: Canvas, rng: np.random.Generator
) -> Array:
    if kind == "gaussian":
        return sample_gaussian_path(params.gaussian, canvas, rng=rng)
    if kind == "linear":
        return sample_linear_path(params.linear, params.key_frames, size_T2, canvas, rng=rng)
    if kind == "curved":
        return sample_curved_path(params.curved, canvas, rng=rng)
    return sample_bouncing_path(params.bouncing, _half_reach(size_T2, angle_T), canvas, rng=rng)


def _half_reach(size_T2: Array, angle_T: Array) -> Array:
    """Return how far the turned object reaches from its centre along x and y, at most, in pixels."""
    cosine, sine = np.abs(np.cos(np.deg2rad(angle_T))), np.abs(np.sin(np.deg2rad(angle_T)))
    wide = cosine * size_T2[:, 0] + sine * size_T2[:, 1]
    high = sine * size_T2[:, 0] + cosine * size_T2[:, 1]
    return np.array([wide.max(), high.max()]) / 2


def _spread(most: float, count: int, rng: np.random.Generator) -> Array:
    return rng.uniform(-most, most, count)
