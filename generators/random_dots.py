"""``random_dots``: noise on noise, in which only movement shows an object."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from smile_synth.generator.base import Generator
from smile_synth.generator.labels import LabelSpec
from smile_synth.params import Span, StrictParams
from smile_synth.sampling.choices import Weight, choose
from smile_synth.sampling.motion import DIRECTIONS, direction_class
from smile_synth.sampling.polygons import capsule_points, circle_points, cut, filled_alpha
from smile_synth.scene import Label, Layer, Scene, Surface

Shape = Literal["disc", "square", "triangle", "star", "cross", "bar", "ring"]
Ground = Literal["still", "opposite", "independent"]
Carrier = Literal["object", "window"]
Palette = Literal["binary", "grey", "colour"]
CARRIERS: tuple[Carrier, ...] = ("object", "window")
SHAPES: tuple[Shape, ...] = ("disc", "square", "triangle", "star", "cross", "bar", "ring")
REFERENCE_SIDE_PX = 224.0
STAR_RADIUS = 0.45
CROSS_WIDTH = 0.3
BAR_WIDTH = 0.3
RING_RADIUS = 0.55
Cells = npt.NDArray[np.int64]
Points = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]


class RandomDotsParams(StrictParams):
    """How many objects of noise, of which shape and grain, and how they and the noise behind them move.

    Source: SpookyBench (CVPR 2026) for noise that moves differently inside and outside an object; the rest is ours.
    """

    num_objects: Span[Annotated[int, Field(ge=1, le=8)]] = Field((1, 1), description="fewest and most objects per clip")
    shape: Shape | Annotated[dict[Shape, Weight], Field(min_length=1)] = Field(
        default_factory=lambda: dict.fromkeys(SHAPES, 1.0),
        description="one shape, or weights of several, one sampled per object",
    )
    size_px: Span[Annotated[float, Field(ge=8, le=1024)]] = Field(
        (72.0, 128.0), description="smallest and largest diameter of an object, px on a 224 px canvas"
    )
    turned: bool = Field(True, description="turn every shape by a random angle; False leaves all upright")
    grain_px: Span[Annotated[int, Field(ge=1, le=32)]] = Field(
        (1, 4), description="smallest and largest side of a dot, in whole pixels of the clip"
    )
    speed_dots_per_frame: Span[Annotated[float, Field(ge=0.5, le=16)]] = Field(
        (1.0, 3.0), description="slowest and fastest motion of an object or of the noise behind it, dots/frame"
    )
    carrier: Carrier | Annotated[dict[Carrier, Weight], Field(min_length=1)] = Field(
        {"object": 3.0, "window": 1.0},
        description="what moves: an object together with its noise, or only the noise, seen through a window of the "
        "object's shape that stands still; or weights of both",
    )
    ground: Ground | Annotated[dict[Ground, Weight], Field(min_length=1)] = Field(
        {"still": 1.0, "opposite": 1.0, "independent": 1.0},
        description="noise behind the objects: it stands still, moves against the first object at its speed, or in a "
        "direction and at a speed of its own; or weights of several",
    )
    palette: Palette | Annotated[dict[Palette, Weight], Field(min_length=1)] = Field(
        {"binary": 1.0, "grey": 1.0, "colour": 1.0},
        description="values of a dot: black or white, any grey, any colour; or weights of several",
    )


class RandomDots(Generator[RandomDotsParams]):
    """Objects of noise over noise, which no single frame shows: only their movement does.

    All dots of a clip are independent and of one distribution, and everything moves by whole dots, so that every frame
    is pure noise.

    Source: SpookyBench (CVPR 2026); random-dot kinematograms are older.
    """

    Params = RandomDotsParams

    @property
    def max_objects(self) -> int:
        """Most objects of a clip."""
        return self.params.num_objects[1]

    @property
    def label_specs(self) -> Mapping[str, LabelSpec]:
        """Shape and motion of every object, and the drift of the noise behind them."""
        return {
            "direction": LabelSpec(
                "Direction of the object, or of the noise in it", "class", "object", classes=DIRECTIONS
            ),
            "speed": LabelSpec("Mean speed of the object, or of the noise in it", "number", "object", unit="px/frame"),
            "shape": LabelSpec("shape of the object", "class", "object", classes=SHAPES),
            "carrier": LabelSpec("what moves: the object, or noise in a window", "class", "object", classes=CARRIERS),
            "num_objects": LabelSpec("Number of objects", "number", "clip"),
            "grain": LabelSpec("side of a dot", unit="px"),
            "drift_direction": LabelSpec("where the pattern drifts", "class", classes=DIRECTIONS),
            "drift_speed": LabelSpec("speed of the pattern", unit="px/frame"),
        }

    def sample(self, *, rng: np.random.Generator) -> Scene:
        """Sample a grain and a palette, objects and their paths, and the noise behind them."""
        canvas, params = self.context.canvas, self.params
        grain, palette = int(rng.integers(params.grain_px[0], params.grain_px[1] + 1)), choose(params.palette, rng=rng)
        count = int(rng.integers(params.num_objects[0], params.num_objects[1] + 1))
        shapes = [choose(params.shape, rng=rng) for _ in range(count)]
        velocity_K2 = np.stack([self._sample_velocity(rng) for _ in range(count)])
        carriers = [choose(params.carrier, rng=rng) for _ in range(count)]
        layers, steps_KT2 = [], []
        for shape, carrier, velocity_2 in zip(shapes, carriers, velocity_K2, strict=True):
            alpha = self._sample_outline(shape, grain, rng)
            corner_T2 = self._sample_path(velocity_2, alpha, grain, rng)
            moved_T2 = corner_T2 - corner_T2[0]
            if carrier == "object":
                texture = cut(_noise(alpha.shape[0], alpha.shape[1], palette, rng), alpha)
                layers.append(_layer(_enlarged(texture, grain), corner_T2 * grain, shape))
            else:
                middle_2 = corner_T2[canvas.num_frames // 2]
                layers.append(_window(alpha, middle_2 * grain, moved_T2, grain, palette, shape, rng))
            steps_KT2.append(moved_T2 * grain)
        ground_T2 = self._sample_ground(velocity_K2[0], rng)
        background, camera_T33 = self._background(ground_T2, grain, palette, rng)
        return Scene(
            canvas=canvas,
            background=background,
            camera_T33=camera_T33,
            layers=tuple(layers),
            labels={
                **_labels(np.stack(steps_KT2), shapes, ground_T2 * grain, grain),
                "carrier": np.array([CARRIERS.index(carrier) for carrier in carriers], np.int32),
            },
        )

    def _sample_velocity(self, rng: np.random.Generator) -> Points:
        """Sample a direction and a speed, in dots a frame."""
        angle_rad, speed = rng.uniform(0, 2 * math.pi), rng.uniform(*self.params.speed_dots_per_frame)
        return np.array([math.cos(angle_rad), math.sin(angle_rad)]) * speed

    def _sample_outline(self, shape: Shape, grain: int, rng: np.random.Generator) -> Pixels:
        """Return which dots belong to an object, uint8 (rows, columns) of 0 and 255."""
        canvas, params = self.context.canvas, self.params
        scale = min(canvas.height, canvas.width) / REFERENCE_SIDE_PX
        radius = max(2.0, rng.uniform(*params.size_px) * scale / grain / 2)
        angle_rad = rng.uniform(0, 2 * math.pi) if params.turned else 0.0
        # Dots are whole: an edge through a dot would show in a single frame.
        alpha = (filled_alpha(_turned(_outline(shape), angle_rad), radius) >= 128) * np.uint8(255)
        if shape == "ring":
            alpha[_hole(len(alpha), radius * RING_RADIUS)] = 0
        return np.asarray(alpha, np.uint8)

    def _sample_path(self, velocity_2: Points, alpha: Pixels, grain: int, rng: np.random.Generator) -> Cells:
        """Sample where the upper left dot of an object lies in every frame, in dots, int64 (T, 2)."""
        canvas = self.context.canvas
        room_2 = np.array([canvas.width, canvas.height]) / grain - alpha.shape[::-1]
        # In the middle frame it lies on the canvas, as far as it fits.
        middle_2 = np.where(room_2 > 0, rng.random(2) * room_2, room_2 / 2)
        return _steps(velocity_2, canvas.num_frames, middle_2)

    def _sample_ground(self, velocity_2: Points, rng: np.random.Generator) -> Cells:
        """Sample how far the noise behind the objects has moved in every frame, in dots, int64 (T, 2)."""
        ground = choose(self.params.ground, rng=rng)
        own_2 = {"still": np.zeros(2), "opposite": -velocity_2}.get(ground)
        drift_2 = self._sample_velocity(rng) if own_2 is None else own_2
        moved_T2 = _steps(drift_2, self.context.canvas.num_frames, np.zeros(2))
        return np.asarray(moved_T2 - moved_T2[0], np.int64)

    def _background(
        self, moved_T2: Cells, grain: int, palette: Palette, rng: np.random.Generator
    ) -> tuple[Pixels, npt.NDArray[np.float32] | None]:
        """Draw noise large enough for all that the camera sees of it, and the camera."""
        canvas = self.context.canvas
        height, width = canvas.height, canvas.width
        before_2, after_2 = moved_T2.max(axis=0), -moved_T2.min(axis=0)
        columns, rows = (-(-np.array([width, height]) // grain) + before_2 + after_2).tolist()
        noise = _enlarged(_noise(rows, columns, palette, rng), grain)
        if not moved_T2.any():
            return np.ascontiguousarray(noise[:height, :width]), None
        camera_T33 = np.tile(np.eye(3, dtype=np.float32), (canvas.num_frames, 1, 1))
        camera_T33[:, :2, 2] = (moved_T2 - before_2) * grain
        return noise, camera_T33


def _outline(shape: Shape) -> Points:
    """Return the corners of a shape within the unit circle, float64 (P, 2)."""
    if shape in ("disc", "ring"):
        return circle_points()
    if shape == "bar":
        return capsule_points(BAR_WIDTH)
    if shape == "cross":
        w, reach = CROSS_WIDTH, math.sqrt(1 - CROSS_WIDTH**2)
        arm = np.array([[w, -w], [reach, -w], [reach, w]])
        return np.concatenate([_turned(arm, quarter * math.pi / 2) for quarter in range(4)])
    if shape == "star":
        turn_P = 2 * math.pi * np.arange(10) / 10
        radius_P = np.where(np.arange(10) % 2, STAR_RADIUS, 1.0)
        return np.stack([np.cos(turn_P), np.sin(turn_P)], axis=1) * radius_P[:, None]
    corners = 4 if shape == "square" else 3
    turn_P = 2 * math.pi * np.arange(corners) / corners
    return np.stack([np.cos(turn_P), np.sin(turn_P)], axis=1)


def _turned(points_P2: Points, angle_rad: float) -> Points:
    cosine, sine = math.cos(angle_rad), math.sin(angle_rad)
    return np.asarray(points_P2 @ np.array([[cosine, sine], [-sine, cosine]]), np.float64)


def _hole(side: int, radius: float) -> npt.NDArray[np.bool_]:
    place_N = np.arange(side) + 0.5 - side / 2
    return np.asarray(np.hypot(place_N[:, None], place_N[None, :]) < radius, np.bool_)


def _steps(velocity_2: Points, num_frames: int, middle_2: Points) -> Cells:
    """Return a straight path at a steady speed in whole dots, where the middle frame is given; int64 (T, 2)."""
    time_T1 = (np.arange(num_frames) - num_frames // 2)[:, None]
    return np.floor(middle_2 + time_T1 * velocity_2 + 0.5).astype(np.int64)


def _noise(rows: int, columns: int, palette: Palette, rng: np.random.Generator) -> Pixels:
    """Draw independent dots, uint8 (rows, columns, 3)."""
    if palette == "colour":
        return rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    grey = rng.integers(0, 256, (rows, columns, 1), dtype=np.uint8)
    if palette == "binary":
        grey = np.where(grey < 128, np.uint8(0), np.uint8(255))
    return np.repeat(grey, 3, axis=2)


def _enlarged(picture: Pixels, grain: int) -> Pixels:
    """Draw every dot as a square of ``grain`` pixels."""
    return picture if grain == 1 else picture.repeat(grain, axis=0).repeat(grain, axis=1)


def _layer(texture: Pixels, corner_T2: Cells, shape: Shape) -> Layer:
    pose_T6 = np.zeros((len(corner_T2), 6), np.float32)
    pose_T6[:, 0] = pose_T6[:, 4] = 1
    pose_T6[:, [2, 5]] = corner_T2
    return Layer(texture, pose_T6, np.ones(len(corner_T2), np.float32), class_name=shape)


def _window(
    alpha: Pixels,
    corner_2: Cells,
    moved_T2: Cells,
    grain: int,
    palette: Palette,
    shape: Shape,
    rng: np.random.Generator,
) -> Layer:
    """Return a layer that stands still while noise moves through it, with the surface that knows its motion."""
    rows, columns = alpha.shape
    first_2 = moved_T2.max(axis=0)
    reach_2 = first_2 - moved_T2.min(axis=0)
    noise = _noise(rows + int(reach_2[1]), columns + int(reach_2[0]), palette, rng)
    shown = [cut(noise[y : y + rows, x : x + columns], alpha) for x, y in (first_2 - moved_T2).tolist()]
    texture = np.stack([_enlarged(picture, grain) for picture in shown])
    num_frames, height, width = texture.shape[:3]
    # A dot's own place, which it had if it had never moved.
    points_THW3 = np.zeros((num_frames, height, width, 3), np.float32)
    points_THW3[..., 0] = np.arange(width) + 0.5 - grain * moved_T2[:, None, None, 0]
    points_THW3[..., 1] = np.arange(height)[:, None] + 0.5 - grain * moved_T2[:, None, None, 1]
    projections_PT34 = np.zeros((1, num_frames, 3, 4), np.float32)
    projections_PT34[..., 0, 0] = projections_PT34[..., 1, 1] = projections_PT34[..., 2, 3] = 1
    projections_PT34[..., :2, 3] = corner_2 + grain * moved_T2
    surface = Surface(points_THW3, np.zeros(points_THW3.shape[:3], np.uint8), projections_PT34)
    pose_T6 = np.tile(np.array([1, 0, corner_2[0], 0, 1, corner_2[1]], np.float32), (num_frames, 1))
    return Layer(texture, pose_T6, np.ones(num_frames, np.float32), class_name=shape, surface=surface)


def _labels(moved_KT2: Cells, shapes: list[Shape], ground_T2: Cells, grain: int) -> dict[str, Label]:
    lasting = max(1, moved_KT2.shape[1] - 1)
    net_K2 = moved_KT2[:, -1]
    drift = ground_T2[-1].tolist()
    return {
        "direction": np.array([direction_class(*net.tolist()) for net in net_K2], np.int32),
        "speed": (np.linalg.norm(net_K2, axis=1) / lasting).astype(np.float32),
        "shape": np.array([SHAPES.index(shape) for shape in shapes], np.int32),
        "num_objects": len(shapes),
        "grain": grain,
        "drift_direction": direction_class(*drift),
        "drift_speed": math.hypot(*drift) / lasting,
    }
