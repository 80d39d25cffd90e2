"""``solids``: rigid 3-D bodies that fall, bounce and tumble on a floor, seen in perspective."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from smile_synth.generator.base import Generator
from smile_synth.generator.labels import LabelSpec
from smile_synth.params import Span, StrictParams
from smile_synth.sampling.backgrounds import ImageParams, sample_image
from smile_synth.sampling.choices import Weight, choose
from smile_synth.sampling.motion import DIRECTIONS, direction_class
from smile_synth.sampling.perspective import NEAREST, Camera3D, pixel_bounds
from smile_synth.sampling.rigid_bodies import Bodies, Flights, simulate
from smile_synth.sampling.solids import (
    PATTERNS,
    RIM_POINTS,
    SOLID_SHAPES,
    Pattern,
    Solid,
    SolidShape,
    cast,
    draw_shadows,
    hide_behind,
    solid,
)  # fmt: skip
from smile_synth.scene import Label, Layer, Scene, Surface

Material = Literal["matte", "shiny"]
Backdrop = Literal["colour", "gradient", "pink-noise", "leaves"]
MATERIALS: tuple[Material, ...] = ("matte", "shiny")
COLOURS: dict[str, tuple[int, int, int]] = {
    "grey": (110, 110, 110), "red": (190, 40, 40), "blue": (45, 80, 200), "green": (35, 130, 45),
    "brown": (130, 78, 30), "purple": (130, 45, 185), "cyan": (45, 195, 195), "yellow": (230, 205, 50),
    "orange": (235, 130, 30), "white": (225, 225, 225),
}  # fmt: skip
COLOUR_NAMES = tuple(COLOURS)
# Where bodies begin: metres to both sides, into the depth, and height above the floor.
REACH_X, REACH_Z = 1.7, 1.3
MAX_TRIALS = 60
MOST_CORNERS = 2 * RIM_POINTS
# The camera looks at this place above the floor's middle.
TARGET_HEIGHT = 0.75
# A floor picture covers this many metres, and is mirrored beyond.
FLOOR_SIDE_M, FLOOR_SIDE_PX = 6.0, 256
HAZE_M = (8.0, 24.0)
SHADOW_DARKNESS = 0.55
Doubles = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]


class SolidsParams(StrictParams):
    """Which bodies, how they are thrown, what they look like, and from where they are seen.

    Source: the world of MOVi (Kubric, CVPR 2022); sizes, speeds and looks are ours.
    """

    num_objects: Span[Annotated[int, Field(ge=1, le=16)]] = Field((2, 4), description="fewest and most bodies per clip")
    shape: SolidShape | Annotated[dict[SolidShape, Weight], Field(min_length=1)] = Field(
        default_factory=lambda: dict.fromkeys(SOLID_SHAPES, 1.0),
        description="one shape, or weights of several, one sampled per body",
    )
    material: Material | Annotated[dict[Material, Weight], Field(min_length=1)] = Field(
        {"matte": 1.0, "shiny": 1.0}, description="matte, or with a highlight; or weights of both"
    )
    pattern: Pattern | Annotated[dict[Pattern, Weight], Field(min_length=1)] = Field(
        {"plain": 1.0, "stripes": 1.0, "checks": 1.0, "spots": 1.0},
        description="one colour, or a second one in stripes, checks or spots; or weights of several",
    )
    radius_m: Span[Annotated[float, Field(gt=0.05, le=2)]] = Field(
        (0.3, 0.65), description="smallest and largest radius of the ball that a body just fits into, m"
    )
    drop_m: Span[Annotated[float, Field(ge=0, le=10)]] = Field(
        (0.1, 2.0), description="least and greatest height above the floor at the beginning, m"
    )
    speed_m_per_s: Span[Annotated[float, Field(ge=0, le=20)]] = Field(
        (0.0, 2.5), description="slowest and fastest horizontal speed at the beginning, m/s"
    )
    spin_deg_per_s: float = Field(360.0, ge=0, le=3600, description="largest angular velocity at the beginning, deg/s")
    restitution: Span[Annotated[float, Field(ge=0, le=1)]] = Field(
        (0.5, 0.85), description="speed after a bounce over speed before, least and greatest; one value per clip"
    )
    friction: float = Field(0.3, ge=0, le=2, description="largest sliding over normal force")
    frames_per_second: float = Field(16.0, ge=1, le=120, description="frames of the clip per second of the world")
    pitch_deg: Span[Annotated[float, Field(ge=5, le=80)]] = Field(
        (12.0, 40.0), description="least and greatest angle at which the camera looks down, deg"
    )
    distance_m: Span[Annotated[float, Field(ge=2, le=50)]] = Field(
        (5.0, 6.5), description="nearest and farthest place of the camera from the middle of the floor, m"
    )
    field_of_view_deg: float = Field(45.0, ge=10, le=100, description="angle of view across the canvas's shorter side")
    floor: ImageParams = Field(
        ImageParams(kind={"texture": 2.0, "photograph": 2.0, "leaves": 1.0, "colour": 1.0}),
        description="what is on the floor",
    )
    backdrop: Backdrop | Annotated[dict[Backdrop, Weight], Field(min_length=1)] = Field(
        {"gradient": 2.0, "colour": 1.0, "pink-noise": 1.0}, description="what stands above the horizon"
    )
    shadows: bool = Field(True, description="darken the floor below the bodies, with soft edges")


@dataclass(frozen=True, eq=False)
class _Look:
    """What a body looks like: its shape in metres, and its colours."""

    shape: SolidShape
    body: Solid
    colour: str
    material: Material
    pattern: Pattern
    numbers_9: Doubles


class Solids(Generator[SolidsParams]):
    """Cubes, balls, cylinders, cones and other bodies that fall, bounce and tumble on a floor under gravity.

    With shading, perspective, shadows and occlusion; everything has exact motion, also where a body turns.

    Source: the world of MOVi (Kubric, CVPR 2022).
    """

    Params = SolidsParams

    @property
    def max_objects(self) -> int:
        """Most bodies of a clip."""
        return self.params.num_objects[1]

    @property
    def label_specs(self) -> Mapping[str, LabelSpec]:
        """What every body is, how it moves on the canvas and in the world."""
        return {
            "direction": LabelSpec("Direction from first to last place", "class", "object", classes=DIRECTIONS),
            "speed": LabelSpec("Mean speed of the centre", "number", "object", unit="px/frame"),
            "shape": LabelSpec("shape of the object", "class", "object", classes=SOLID_SHAPES),
            "colour": LabelSpec("colour of the body", "class", "object", classes=COLOUR_NAMES),
            "material": LabelSpec("surface of the body", "class", "object", classes=MATERIALS),
            "pattern_on_body": LabelSpec("pattern on the body", "class", "object", classes=PATTERNS),
            "bounces": LabelSpec("contacts with the floor after a flight", "number", "object"),
            "collisions": LabelSpec("contacts with other bodies", "number", "object"),
            "spin": LabelSpec("mean turn about any axis", "number", "object", unit="deg/frame"),
            "distance": LabelSpec("mean depth from the camera", "number", "object", unit="m"),
            "num_objects": LabelSpec("Number of objects", "number", "clip"),
        }

    def sample(self, *, rng: np.random.Generator) -> Scene:
        """Sample a camera, bodies and how they are thrown; let them move, and draw them."""
        canvas, params = self.context.canvas, self.params
        camera = self._sample_camera(rng)
        count = int(rng.integers(params.num_objects[0], params.num_objects[1] + 1))
        looks = [self._sample_look(rng) for _ in range(count)]
        flights = simulate(
            self._sample_throw(looks, rng), canvas.num_frames, 1 / params.frames_per_second,
            restitution=float(rng.uniform(*params.restitution)), friction=params.friction,
        )  # fmt: skip
        light_3 = _sample_light(rng)
        depth_TK = camera.depths(flights.position_TK3)
        # The farthest is painted first.
        order = np.argsort(-depth_TK.mean(axis=0), kind="stable").tolist()
        drawn = [self._draw(looks[k], flights, k, camera, light_3) for k in order]
        _hide_what_is_behind(drawn)
        floor_HW2 = camera.floor_places(canvas.height, canvas.width)
        background, asset_id = self._draw_world(camera, floor_HW2, rng)
        if params.shadows:
            self._draw_shadows(
                background, floor_HW2, [looks[k].body for k in order], flights.position_TK3[:, order], camera, light_3
            )
        return Scene(
            canvas=canvas,
            background=background,
            background_id=asset_id,
            background_surface=_still(canvas.height, canvas.width, canvas.num_frames),
            layers=tuple(_layer(looks[k], one, flights, k, camera) for k, one in zip(order, drawn, strict=True)),
            labels=_labels([looks[k] for k in order], flights, order, camera, depth_TK),
        )

    def _sample_camera(self, rng: np.random.Generator) -> Camera3D:
        canvas, params = self.context.canvas, self.params
        pitch, distance = math.radians(rng.uniform(*params.pitch_deg)), rng.uniform(*params.distance_m)
        forward = np.array([0, -math.sin(pitch), math.cos(pitch)])
        axes_33 = np.array([[1, 0, 0], [0, -math.cos(pitch), -math.sin(pitch)], forward])
        focal_px = min(canvas.height, canvas.width) / 2 / math.tan(math.radians(params.field_of_view_deg / 2))
        place_3 = np.array([0, TARGET_HEIGHT, 0]) - distance * forward
        return Camera3D(place_3, axes_33, focal_px, np.array([canvas.width / 2, canvas.height / 2]))

    def _sample_look(self, rng: np.random.Generator) -> _Look:
        params = self.params
        shape, material = choose(params.shape, rng=rng), choose(params.material, rng=rng)
        pattern = choose(params.pattern, rng=rng)
        first, second = rng.permutation(len(COLOURS))[:2].tolist()
        size = rng.uniform(*params.radius_m)
        shine = rng.uniform(0.5, 0.9) if material == "shiny" else 0.0
        # Between two and five periods across a body.
        frequency = rng.uniform(1.0, 2.4) / size
        numbers = [
            *COLOURS[COLOUR_NAMES[first]],
            *COLOURS[COLOUR_NAMES[second]],
            PATTERNS.index(pattern),
            frequency,
            shine,
        ]
        return _Look(
            shape, solid(shape).scaled(size), COLOUR_NAMES[first], material, pattern, np.array(numbers, np.float64)
        )

    def _sample_throw(self, looks: list[_Look], rng: np.random.Generator) -> Bodies:
        """Sample where bodies begin, apart from each other, and how they are thrown, mostly inwards."""
        params, count = self.params, len(looks)
        reach_K, size_K = (np.array([of(look.body) for look in looks]) for of in (_reach, _size))
        position_K3 = np.empty((count, 3))
        for k in range(count):
            for _ in range(MAX_TRIALS):
                x, z = rng.uniform(-REACH_X, REACH_X), rng.uniform(-REACH_Z, REACH_Z)
                position_K3[k] = x, size_K[k] + rng.uniform(*params.drop_m), z
                apart_K = np.linalg.norm(position_K3[:k] - position_K3[k], axis=1)
                if (apart_K > size_K[:k] + size_K[k]).all():
                    break
        heading_K = np.arctan2(-position_K3[:, 2], -position_K3[:, 0]) + rng.normal(0, 0.8, count)
        speed_K = rng.uniform(*params.speed_m_per_s, count)
        velocity_K3 = np.stack(
            [speed_K * np.cos(heading_K), rng.uniform(-0.5, 1, count), speed_K * np.sin(heading_K)], axis=1
        )
        spin_K3 = _directions(count, rng) * rng.uniform(0, math.radians(params.spin_deg_per_s), (count, 1))
        corners_KV3 = np.full((count, MOST_CORNERS, 3), np.nan)
        for corners_V3, look in zip(corners_KV3, looks, strict=True):
            corners_V3[: len(look.body.corners_V3)] = look.body.corners_V3
        roundness_K = np.array([look.body.roundness for look in looks])
        return Bodies(position_K3, velocity_K3, _rotations(count, rng), spin_K3, corners_KV3, roundness_K, reach_K)

    def _draw(self, look: _Look, flights: Flights, k: int, camera: Camera3D, light_3: Doubles) -> _Drawn:
        """Cast one body into a texture for every frame."""
        canvas = self.context.canvas
        position_T3, rotation_T33 = flights.position_TK3[:, k], flights.rotation_TK33[:, k]
        low_T2, high_T2 = _extent(look.body, position_T3, rotation_T33, camera, (canvas.width, canvas.height))
        width, height = np.maximum(high_T2 - low_T2, 1).max(axis=0).tolist()
        shape = (canvas.num_frames, height, width)
        drawn = _Drawn(
            np.zeros((*shape, 4), np.uint8), np.full((*shape, 3), np.nan, np.float32),
            np.full(shape, np.inf, np.float32), low_T2,
        )  # fmt: skip
        back_T33 = rotation_T33.transpose(0, 2, 1)
        vectors_T23 = np.stack([back_T33 @ light_3, back_T33[:, :, 1]], axis=1)
        cast(
            drawn.texture_THW4, drawn.points_THW3, drawn.depth_THW, low_T2, high_T2,
            back_T33 @ camera.rays_33, np.einsum("tij,tj->ti", back_T33, camera.place_3 - position_T3),
            look.body.planes_P4, look.body.quadric_5, np.ascontiguousarray(vectors_T23), look.numbers_9,
        )  # fmt: skip
        return drawn

    def _draw_world(self, camera: Camera3D, floor_HW2: Doubles, rng: np.random.Generator) -> tuple[Pixels, int]:
        """Draw floor and backdrop, uint8 (T, H, W, 3), and return the asset on the floor."""
        canvas, params = self.context.canvas, self.params
        floor = sample_image(params.floor, FLOOR_SIDE_PX, FLOOR_SIDE_PX, self.context.assets, rng=rng)
        # Rows of pixels above the horizon.
        first = int(np.isinf(floor_HW2[:, 0, 1]).sum())
        still = np.empty((canvas.height, canvas.width, 3), np.uint8)
        if first > 0:
            backdrop = ImageParams(kind=choose(params.backdrop, rng=rng))
            still[:first] = sample_image(backdrop, first, canvas.width, self.context.assets, rng=rng).image
        places_HW2 = floor_HW2[first:].astype(np.float32)
        # The picture's upper end lies far away.
        columns_HW = (places_HW2[..., 0] / FLOOR_SIDE_M + 0.5) * FLOOR_SIDE_PX
        rows_HW = (0.5 - places_HW2[..., 1] / FLOOR_SIDE_M) * FLOOR_SIDE_PX
        if len(rows_HW):
            cv2.remap(
                floor.image, columns_HW, rows_HW, cv2.INTER_LINEAR, dst=still[first:], borderMode=cv2.BORDER_REFLECT
            )
        # Far away the floor loses itself in one colour, as its pattern is finer than a pixel there.
        haze_H = np.clip((places_HW2[:, 0, 1] - camera.place_3[2] - HAZE_M[0]) / (HAZE_M[1] - HAZE_M[0]), 0, 1)
        hazy = int((haze_H > 0).sum())
        far = still[first : first + hazy].astype(np.float32)
        far += haze_H[:hazy, None, None] * (floor.image[::8, ::8].mean(axis=(0, 1)) - far)
        still[first : first + hazy] = far
        return np.repeat(still[None], canvas.num_frames, axis=0), floor.asset_id

    def _draw_shadows(
        self,
        frames_THWC: Pixels,
        floor_HW2: Doubles,
        bodies: list[Solid],
        position_TK3: Doubles,
        camera: Camera3D,
        light_3: Doubles,
    ) -> None:
        canvas = self.context.canvas
        size_K = np.array([_size(body) for body in bodies])
        height_TK = position_TK3[..., 1]
        middle_TK2 = (position_TK3 - light_3 * (height_TK / light_3[1])[..., None])[..., [0, 2]]
        # The higher a body, the wider and the fainter its shadow.
        radius_TK = size_K * (1.0 + 0.25 * height_TK)
        darkness_TK = SHADOW_DARKNESS / (1.0 + 0.4 * height_TK)
        around_N2 = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
        corners_TKN2 = middle_TK2[:, :, None] + around_N2 * radius_TK[..., None, None]
        corners_TKN3 = np.insert(corners_TKN2, 1, 0.0, axis=-1)
        low_TK2, high_TK2 = pixel_bounds(camera.project(corners_TKN3), (canvas.width, canvas.height))
        shadows_TK4 = np.concatenate([middle_TK2, radius_TK[..., None], darkness_TK[..., None]], axis=-1)
        extents_TK4 = np.ascontiguousarray(np.concatenate([low_TK2, high_TK2], axis=-1))
        draw_shadows(frames_THWC, floor_HW2, np.ascontiguousarray(shadows_TK4), extents_TK4)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A body as it is seen, in a texture that follows it; see ``cast``."""

    texture_THW4: Pixels
    points_THW3: npt.NDArray[np.float32]
    depth_THW: npt.NDArray[np.float32]
    corner_T2: npt.NDArray[np.int64]


def _hide_what_is_behind(drawn: list[_Drawn]) -> None:
    """Cut from every body what a body hides that is painted earlier: which one is nearer may change in a clip."""
    for k, one in enumerate(drawn):
        for other in drawn[:k]:
            hide_behind(
                one.texture_THW4, one.depth_THW, one.corner_T2, other.texture_THW4, other.depth_THW, other.corner_T2
            )


def _layer(look: _Look, drawn: _Drawn, flights: Flights, k: int, camera: Camera3D) -> Layer:
    num_frames = len(drawn.corner_T2)
    pose_T6 = np.zeros((num_frames, 6), np.float32)
    pose_T6[:, 0] = pose_T6[:, 4] = 1
    pose_T6[:, [2, 5]] = drawn.corner_T2
    placed_T44 = np.tile(np.eye(4), (num_frames, 1, 1))
    placed_T44[:, :3, :3], placed_T44[:, :3, 3] = flights.rotation_TK33[:, k], flights.position_TK3[:, k]
    surface = Surface(
        drawn.points_THW3,
        np.zeros(drawn.depth_THW.shape, np.uint8),
        (camera.projection_34 @ placed_T44)[None].astype(np.float32),
    )
    opacity_T = np.ones(num_frames, np.float32)
    return Layer(drawn.texture_THW4, pose_T6, opacity_T, class_name=look.shape, surface=surface)


def _still(height: int, width: int, num_frames: int) -> Surface:
    """Return the surface of a background in which nothing moves but shadows."""
    points_THW3 = np.zeros((1, height, width, 3), np.float32)
    points_THW3[..., 0], points_THW3[..., 1] = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    flat_34 = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]], np.float32)
    return Surface(points_THW3, np.zeros((1, height, width), np.uint8), np.tile(flat_34, (1, num_frames, 1, 1)))


def _extent(
    body: Solid, position_T3: Doubles, rotation_T33: Doubles, camera: Camera3D, canvas_2: tuple[int, int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first and the last pixel + 1, x and y, that a body may touch on the canvas in every frame."""
    if body.roundness:
        # A cube around the ball reaches a little farther than the ball.
        corners_TN3 = position_T3[:, None] + body.roundness * np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1).T
    else:
        corners_TN3 = position_T3[:, None] + np.einsum("tij,nj->tni", rotation_T33, body.corners_V3)
    return pixel_bounds(camera.project(corners_TN3), canvas_2)


def _size(body: Solid) -> float:
    """Return the radius of the ball that a body just fits into."""
    return float(body.roundness or np.linalg.norm(body.corners_V3, axis=1).max())


def _reach(body: Solid) -> float:
    """Return the radius of a ball between the one inside a body and the one around it."""
    size = _size(body)
    inside = [size, *body.planes_P4[:, 3].tolist()]
    if body.quadric_5[1] == 0 and body.quadric_5[4] > 0:
        inside.append(math.sqrt(body.quadric_5[4]))
    return float(size + min(inside)) / 2


def _sample_light(rng: np.random.Generator) -> Doubles:
    """Sample where the light comes from: above, from the camera's side."""
    turn, height = rng.uniform(0, 2 * math.pi), math.radians(rng.uniform(40, 75))
    direction = np.array([math.cos(height) * math.cos(turn), math.sin(height), -abs(math.cos(height) * math.sin(turn))])
    return np.asarray(direction / np.linalg.norm(direction), np.float64)


def _directions(count: int, rng: np.random.Generator) -> Doubles:
    """Sample directions in space, evenly."""
    vectors = rng.standard_normal((count, 3))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float64)


def _rotations(count: int, rng: np.random.Generator) -> Doubles:
    """Sample rotations, evenly: those of random unit quaternions."""
    quaternion = rng.standard_normal((4, count))
    w, x, y, z = quaternion / np.linalg.norm(quaternion, axis=0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.ascontiguousarray(np.array(rows).transpose(2, 0, 1))


def _labels(
    looks: list[_Look], flights: Flights, order: list[int], camera: Camera3D, depth_TK: Doubles
) -> dict[str, Label]:
    position_TK3, rotation_TK33 = flights.position_TK3[:, order], flights.rotation_TK33[:, order]
    uvw_TK3 = camera.project(position_TK3)
    place_TK2 = uvw_TK3[..., :2] / np.maximum(uvw_TK3[..., 2:], NEAREST)
    steps_TK = np.linalg.norm(np.diff(place_TK2, axis=0), axis=-1)
    turned_TK33 = rotation_TK33[1:] @ rotation_TK33[:-1].transpose(0, 1, 3, 2)
    cosine_TK = (np.trace(turned_TK33, axis1=-2, axis2=-1) - 1) / 2
    spin_TK = np.degrees(np.arccos(np.clip(cosine_TK, -1, 1)))
    none_K = np.zeros(len(looks))
    return {
        "direction": np.array([direction_class(*net.tolist()) for net in place_TK2[-1] - place_TK2[0]], np.int32),
        "speed": (steps_TK.mean(axis=0) if len(steps_TK) else none_K).astype(np.float32),
        "shape": np.array([SOLID_SHAPES.index(look.shape) for look in looks], np.int32),
        "colour": np.array([COLOUR_NAMES.index(look.colour) for look in looks], np.int32),
        "material": np.array([MATERIALS.index(look.material) for look in looks], np.int32),
        "pattern_on_body": np.array([PATTERNS.index(look.pattern) for look in looks], np.int32),
        "bounces": flights.bounces_K[order].astype(np.float32),
        "collisions": flights.collisions_K[order].astype(np.float32),
        "spin": (spin_TK.mean(axis=0) if len(spin_TK) else none_K).astype(np.float32),
        "distance": depth_TK[:, order].mean(axis=0).astype(np.float32),
        "num_objects": len(looks),
    }
