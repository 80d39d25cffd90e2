"""``dead_leaves``: many plain leaves that cover each other as they glide along curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from smile_synth.generator.base import Generator
from smile_synth.generator.labels import LabelSpec
from smile_synth.params import Span, StrictParams
from smile_synth.sampling.backgrounds import BackgroundParams, sample_background
from smile_synth.sampling.motion import affine_pose, direction_class, motion_label_specs
from smile_synth.sampling.polygons import capsule_points, circle_points, cut, filled_alpha, sample_polygon
from smile_synth.sampling.textures import sample_colour
from smile_synth.scene import Layer, Scene

REFERENCE_SIDE_PX = 256.0
CAPSULE_WIDTH = (0.15, 0.4)
Floats = npt.NDArray[np.float64]


class DeadLeavesParams(StrictParams):
    """How many leaves, of which form and size, over what.

    Source: fractal videos (arXiv 2411.17584) for number, radii, sides and quadratic paths.
    """

    num_leaves: Span[Annotated[int, Field(ge=1, le=128)]] = Field(
        (15, 30), description="fewest and most leaves per clip"
    )
    radius_px: Span[Annotated[float, Field(ge=2, le=256)]] = Field(
        (12.0, 32.0), description="smallest and largest radius, px on a 256 px canvas"
    )
    num_sides: Span[Annotated[int, Field(ge=1, le=8)]] = Field(
        (1, 8), description="fewest and most sides; 1 is a disc, 2 a thick line, 3 and more polygons"
    )
    reach: float = Field(
        0.35, ge=0, le=2, description="largest distance between the points that a path bends through, canvas sides"
    )
    turn_deg_per_frame: float = Field(4.0, ge=0, le=90, description="largest rotation, deg/frame")
    background: BackgroundParams = Field(BackgroundParams(kind="leaves"), description="what the leaves move over")


class DeadLeaves(Generator[DeadLeavesParams]):
    """Discs, lines and polygons of plain colour that cover each other as they glide along curves.

    Source: fractal videos, arXiv 2411.17584; the dead-leaves model of images is older.
    """

    Params = DeadLeavesParams

    @property
    def max_objects(self) -> int:
        """Most leaves of a clip."""
        return self.params.num_leaves[1]

    @property
    def label_specs(self) -> Mapping[str, LabelSpec]:
        """Motion and sides of every leaf, and how many there are."""
        specs = motion_label_specs()
        return {
            **{name: specs[name] for name in ("direction", "speed", "rotation")},
            "num_sides": LabelSpec("sides of the leaf: 1 is a disc, 2 a thick line", "number", "object"),
            "num_objects": LabelSpec("Number of objects", "number", "clip"),
        }

    def sample(self, *, rng: np.random.Generator) -> Scene:
        """Sample a background, leaves in random order of depth, and their trajectories."""
        canvas, params = self.context.canvas, self.params
        background = sample_background(params.background, canvas, self.context.assets, rng=rng)
        count = int(rng.integers(params.num_leaves[0], params.num_leaves[1] + 1))
        num_sides_K = rng.integers(params.num_sides[0], params.num_sides[1] + 1, count)
        centre_KT2 = self._sample_paths(count, rng)
        turn_K = rng.uniform(-1, 1, count) * params.turn_deg_per_frame
        angle_KT = rng.uniform(0, 360, count)[:, None] + turn_K[:, None] * np.arange(canvas.num_frames)
        net_K2 = centre_KT2[:, -1] - centre_KT2[:, 0]
        step_KT = np.linalg.norm(np.diff(centre_KT2, axis=1, append=centre_KT2[:, -1:]), axis=2)
        return Scene(
            canvas=canvas,
            background=background.image,
            camera_T33=background.camera_T33,
            background_id=background.asset_id,
            layers=tuple(self._leaf(int(num_sides_K[k]), centre_KT2[k], angle_KT[k], rng) for k in range(count)),
            labels={
                "direction": np.array([direction_class(*net.tolist()) for net in net_K2], np.int32),
                "speed": (step_KT.sum(axis=1) / max(canvas.num_frames - 1, 1)).astype(np.float32),
                "rotation": (angle_KT[:, -1] - angle_KT[:, 0]).astype(np.float32),
                "num_sides": num_sides_K.astype(np.float32),
                "num_objects": count,
            },
        )

    def _sample_paths(self, count: int, rng: np.random.Generator) -> Floats:
        """Sample quadratic Bezier curves through the canvas, float64 (K, T, 2)."""
        canvas = self.context.canvas
        reach_px = self.params.reach * min(canvas.height, canvas.width)
        middle_K2 = rng.uniform(0, (canvas.width, canvas.height), (count, 2))
        first_K2, last_K2 = (middle_K2 + rng.uniform(-reach_px, reach_px, (count, 2)) for _ in range(2))
        s_T1 = np.linspace(0, 1, canvas.num_frames)[:, None]
        path_KT2: Floats = (
            (1 - s_T1) ** 2 * first_K2[:, None]
            + 2 * s_T1 * (1 - s_T1) * middle_K2[:, None]
            + s_T1**2 * last_K2[:, None]
        )
        return path_KT2

    def _leaf(self, num_sides: int, centre_T2: Floats, angle_T: Floats, rng: np.random.Generator) -> Layer:
        canvas = self.context.canvas
        radius_px = rng.uniform(*self.params.radius_px) * min(canvas.height, canvas.width) / REFERENCE_SIDE_PX
        alpha = filled_alpha(_outline(num_sides, rng), radius_px)
        side, num_frames = len(alpha), canvas.num_frames
        pose_T6 = affine_pose(centre_T2, np.ones((num_frames, 2)), angle_T, side, side)
        texture = cut(sample_colour(rng=rng), alpha)
        return Layer(texture, pose_T6, np.ones(num_frames, np.float32), class_name=_name(num_sides))


def _outline(num_sides: int, rng: np.random.Generator) -> Floats:
    if num_sides == 1:
        return circle_points()
    if num_sides == 2:
        return capsule_points(float(rng.uniform(*CAPSULE_WIDTH)))
    return sample_polygon(num_sides, rng=rng)


def _name(num_sides: int) -> str:
    return {1: "disc", 2: "line"}.get(num_sides, f"{num_sides}-gon")
