"""``shapes``: circles, quads and triangles up a ladder from still discs to accelerating pieces of photographs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from smile_synth.generator.base import Generator
from smile_synth.generator.labels import LabelSpec
from smile_synth.params import NoEffect, Span, StrictParams
from smile_synth.sampling.backgrounds import BackgroundParams, sample_background
from smile_synth.sampling.choices import Weight, choose
from smile_synth.sampling.motion import direction_class, motion_label_specs
from smile_synth.sampling.polygons import circle_points, cut, filled_alpha, sample_polygon
from smile_synth.sampling.textures import draw_texture, sample_colour
from smile_synth.scene import NO_ASSET, Label, Layer, Scene

Level = Literal[
    "static-circles", "moving-circles", "moving-shapes", "transforming", "accelerating", "textured", "photographs"
]
Outline = Literal["circle", "quad", "triangle"]
Fill = Literal["colour", "texture", "photograph"]
OUTLINES: tuple[Outline, ...] = ("circle", "quad", "triangle")
FILLS: tuple[Fill, ...] = ("colour", "texture", "photograph")
LADDER: tuple[Level, ...] = (
    "static-circles", "moving-circles", "moving-shapes", "transforming", "accelerating", "textured", "photographs",
)  # fmt: skip
REFERENCE_SIDE_PX = 256.0
Floats = npt.NDArray[np.float64]


def _begins_at(first: Level, *fields: str) -> NoEffect:
    """Return the rule that fields do nothing at levels below ``first``."""
    return NoEffect(
        fields,
        when=lambda shapes: not shapes.reaches(first),
        why=f"at level {{level!r}}; it begins at {first!r}",
    )


class ShapesParams(StrictParams):
    """How far up the ladder, how many shapes, how large and how fast.

    Source: Learning Video Representations without Natural Videos (arXiv 2410.24213) for ladder and speeds; number
    and mean radius of the shapes are ours.
    """

    NO_EFFECT = (
        _begins_at("moving-circles", "speed_px_per_frame"),
        _begins_at("transforming", "turn_deg_per_frame", "growth_per_frame", "shear_per_frame"),
        _begins_at("accelerating", "acceleration_px"),
    )

    level: Level = Field(
        "photographs",
        description="level of the published ladder; each adds to the one before: circles, motion, quads and triangles, "
        "turning with growth and shear, acceleration, procedural textures, crops of photographs",
    )
    outlines: Annotated[dict[Outline, Weight], Field(min_length=1)] | None = Field(
        None, description="weights of the outlines, instead of the level's"
    )
    fills: Annotated[dict[Fill, Weight], Field(min_length=1)] | None = Field(
        None, description="weights of the fills, instead of the level's"
    )
    num_shapes: Span[Annotated[int, Field(ge=1, le=128)]] = Field(
        (8, 24), description="fewest and most shapes per clip"
    )
    mean_radius_px: float = Field(
        20.0, gt=0, le=256, description="mean of the exponential distribution of radii, px on a 256 px canvas"
    )
    radius_px: Span[Annotated[float, Field(ge=1, le=256)]] = Field(
        (6.0, 72.0),
        description="smallest and largest radius, px on a 256 px canvas; the distribution is truncated there",
    )
    speed_px_per_frame: Span[Annotated[float, Field(ge=0, le=50)]] = Field(
        (1.2, 3.0), description="speed at the middle of the clip, px per video frame on a 256 px canvas"
    )
    acceleration_px: float = Field(
        0.06, ge=0, le=5, description="largest change of speed per video frame, px/frame on a 256 px canvas"
    )
    turn_deg_per_frame: float = Field(1.8, ge=0, le=90, description="largest rotation per video frame, deg")
    growth_per_frame: float = Field(
        0.005, ge=0, le=0.1, description="largest growth per video frame and axis, ratio - 1"
    )
    shear_per_frame: float = Field(0.005, ge=0, le=0.1, description="largest change of shear per video frame")
    frame_stride: int = Field(
        4, ge=1, le=16, description="video frames (25 a second) from one frame of the clip to the next"
    )
    background: BackgroundParams = Field(BackgroundParams(kind="black"), description="what the shapes move over")

    def reaches(self, level: Level) -> bool:
        """Tell whether this level includes what ``level`` brings."""
        return LADDER.index(self.level) >= LADDER.index(level)

    @property
    def outlines_drawn(self) -> Mapping[Outline, float]:
        """Weights of the outlines."""
        if self.outlines is not None:
            return self.outlines
        return dict.fromkeys(OUTLINES, 1.0) if self.reaches("moving-shapes") else {"circle": 1.0}

    @property
    def fills_drawn(self) -> Mapping[Fill, float]:
        """Weights of the fills."""
        if self.fills is not None:
            return self.fills
        fill: Fill = (
            "photograph" if self.reaches("photographs") else "texture" if self.reaches("textured") else "colour"
        )
        return {fill: 1.0}


@dataclass(frozen=True, eq=False)
class _Motions:
    """How K shapes move: linear part and centre of each pose over time.

    Args:
        linear_KT22: shape -> canvas, without the translation.
        centre_KT2: in canvas pixels.
        turn_K: degrees from the first to the last frame.
        growth_K: last over first size.
    """

    linear_KT22: Floats
    centre_KT2: Floats
    turn_K: Floats
    growth_K: Floats


class Shapes(Generator[ShapesParams]):
    """Circles, quads and triangles, from still discs to turning, accelerating pieces of photographs.

    Source: Learning Video Representations without Natural Videos, arXiv 2410.24213.
    """

    Params = ShapesParams

    @property
    def max_objects(self) -> int:
        """Most shapes of a clip."""
        return self.params.num_shapes[1]

    @property
    def label_specs(self) -> Mapping[str, LabelSpec]:
        """Motion, outline and fill of every shape, and how many there are."""
        specs = motion_label_specs()
        return {
            **{name: specs[name] for name in ("direction", "speed", "rotation", "size_change")},
            "outline": LabelSpec("outline of the shape", "class", "object", classes=OUTLINES),
            "fill": LabelSpec("what the shape is filled with", "class", "object", classes=FILLS),
            "num_objects": LabelSpec("Number of objects", "number", "clip"),
        }

    def sample(self, *, rng: np.random.Generator) -> Scene:
        """Sample a background, shapes in random order of depth, and their motion."""
        canvas, params = self.context.canvas, self.params
        background = sample_background(params.background, canvas, self.context.assets, rng=rng)
        count = int(rng.integers(params.num_shapes[0], params.num_shapes[1] + 1))
        motions = self._sample_motions(count, rng)
        outlines = [choose(params.outlines_drawn, rng=rng) for _ in range(count)]
        fills = [choose(params.fills_drawn, rng=rng) for _ in range(count)]
        return Scene(
            canvas=canvas,
            background=background.image,
            camera_T33=background.camera_T33,
            background_id=background.asset_id,
            layers=tuple(self._layer(outlines[k], fills[k], motions, k, rng) for k in range(count)),
            labels=_labels(motions, outlines, fills),
        )

    def _sample_motions(self, count: int, rng: np.random.Generator) -> _Motions:
        canvas, params = self.context.canvas, self.params
        scale = min(canvas.height, canvas.width) / REFERENCE_SIDE_PX
        # The middle of every trajectory lies on the canvas, so that fast shapes do not all start or end outside.
        time_T = params.frame_stride * (np.arange(canvas.num_frames) - (canvas.num_frames - 1) / 2)
        centre_K2 = rng.uniform(0, (canvas.width, canvas.height), (count, 2))
        heading_K = rng.uniform(0, 2 * math.pi, count)
        speed_K = rng.uniform(*params.speed_px_per_frame, count) * scale * params.reaches("moving-circles")
        gain_K = _up_to(params.acceleration_px * scale * params.reaches("accelerating"), count, rng)
        along_KT = speed_K[:, None] * time_T + gain_K[:, None] * time_T**2 / 2
        forward_K2 = np.stack([np.cos(heading_K), np.sin(heading_K)], axis=1)
        transforms = float(params.reaches("transforming"))
        turn_KT = _up_to(math.radians(params.turn_deg_per_frame) * transforms, count, rng)[:, None] * time_T
        shear_KT = _up_to(params.shear_per_frame * transforms, count, rng)[:, None] * time_T
        growth_KT2 = np.exp(
            np.log1p(_up_to(params.growth_per_frame * transforms, 2 * count, rng)).reshape(count, 1, 2)
            * time_T[None, :, None]
        )
        return _Motions(
            linear_KT22=_linear(turn_KT, shear_KT, growth_KT2),
            centre_KT2=centre_K2[:, None] + along_KT[..., None] * forward_K2[:, None],
            turn_K=np.degrees(turn_KT[:, -1] - turn_KT[:, 0]),
            growth_K=np.sqrt(growth_KT2[:, -1].prod(axis=1) / growth_KT2[:, 0].prod(axis=1)),
        )

    def _layer(self, outline: Outline, fill: Fill, motions: _Motions, k: int, rng: np.random.Generator) -> Layer:
        canvas, params = self.context.canvas, self.params
        scale = min(canvas.height, canvas.width) / REFERENCE_SIDE_PX
        radius_px = max(2.0, _exponential(params.mean_radius_px, params.radius_px, rng) * scale)
        corners = {"quad": 4, "triangle": 3}.get(outline)
        alpha = filled_alpha(circle_points() if corners is None else sample_polygon(corners, rng=rng), radius_px)
        side, asset_id = len(alpha), NO_ASSET
        if fill == "photograph":
            drawn = self.context.assets.backgrounds.sample(side, side, rng=rng)
            picture, asset_id = drawn.image, drawn.asset_id
        else:
            picture = draw_texture(side, side, rng=rng) if fill == "texture" else sample_colour(rng=rng)
        linear_T22 = motions.linear_KT22[k]
        corner_T2 = motions.centre_KT2[k] - linear_T22.sum(axis=2) * (side / 2)
        pose_T6 = np.concatenate([linear_T22, corner_T2[:, :, None]], axis=2).reshape(-1, 6).astype(np.float32)
        return Layer(cut(picture, alpha), pose_T6, np.ones(len(pose_T6), np.float32), asset_id, outline)


def _up_to(largest: float, count: int, rng: np.random.Generator) -> Floats:
    """Sample uniformly from -largest to largest."""
    return rng.uniform(-1, 1, count) * largest


def _exponential(mean: float, span: tuple[float, float], rng: np.random.Generator) -> float:
    """Sample the exponential distribution of this mean, truncated to a span."""
    low, high = (1 - math.exp(-end / mean) for end in span)
    share = rng.uniform(low, high)
    return span[1] if share >= 1 else -mean * math.log1p(-share)


def _linear(turn_KT: Floats, shear_KT: Floats, growth_KT2: Floats) -> Floats:
    """Return rotation x shear x growth, float64 (K, T, 2, 2)."""
    cosine, sine = np.cos(turn_KT), np.sin(turn_KT)
    grow_x, grow_y = growth_KT2[..., 0], growth_KT2[..., 1]
    top = np.stack([cosine * grow_x, (cosine * shear_KT - sine) * grow_y], axis=-1)
    bottom = np.stack([sine * grow_x, (sine * shear_KT + cosine) * grow_y], axis=-1)
    return np.stack([top, bottom], axis=-2)


def _labels(motions: _Motions, outlines: list[Outline], fills: list[Fill]) -> dict[str, Label]:
    centre_KT2 = motions.centre_KT2
    step_KT = np.linalg.norm(np.diff(centre_KT2, axis=1), axis=2)
    net_K2 = centre_KT2[:, -1] - centre_KT2[:, 0]
    return {
        "direction": np.array([direction_class(*net.tolist()) for net in net_K2], np.int32),
        "speed": (step_KT.mean(axis=1) if step_KT.shape[1] else np.zeros(len(centre_KT2))).astype(np.float32),
        "rotation": motions.turn_K.astype(np.float32),
        "size_change": motions.growth_K.astype(np.float32),
        "outline": np.array([OUTLINES.index(name) for name in outlines], np.int32),
        "fill": np.array([FILLS.index(name) for name in fills], np.int32),
        "num_objects": len(outlines),
    }
