"""``patches``: pieces of photographs under simple outlines that move over a background (tubelets)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field

from smile_synth.generator.base import Generator
from smile_synth.generator.labels import LabelSpec
from smile_synth.params import NoEffect, Span, StrictParams
from smile_synth.sampling.backgrounds import Background, BackgroundParams, sample_background
from smile_synth.sampling.choices import Weight, choose
from smile_synth.sampling.keyframes import KeyFrameParams, sample_values
from smile_synth.sampling.motion import Motion, MotionParams, motion_label_specs, motion_labels, sample_motion
from smile_synth.scene import Layer, Scene

PatchOutline = Literal["rectangle", "ellipse", "rhombus"]
PatchSource = Literal["background", "photograph"]
OUTLINES: tuple[PatchOutline, ...] = get_args(PatchOutline)
SOURCES: tuple[PatchSource, ...] = get_args(PatchSource)
Pixels = npt.NDArray[np.uint8]

# A hard edge is still soft over this many pixels, or it would flicker as it moves.
HARD_EDGE_PX = 1.5
LEAST_SIDE_PX = 8


class PatchesParams(StrictParams):
    """How many patches, what they show, how they move, and over what."""

    NO_EFFECT = (NoEffect(("smooth_width",), when=lambda patches: patches.smooth_edge == 0, why="with smooth_edge 0"),)

    num_objects: Span[Annotated[int, Field(ge=1, le=32)]] = Field(
        (2, 2), description="fewest and most patches per clip, uniform"
    )
    source: PatchSource | Annotated[dict[PatchSource, Weight], Field(min_length=1)] = Field(
        "background", description="what a patch is cut from: the clip's own background, or another photograph"
    )
    outline: PatchOutline | Annotated[dict[PatchOutline, Weight], Field(min_length=1)] = Field(
        {"rectangle": 0.5, "ellipse": 0.35, "rhombus": 0.15}, description="an outline, or weights of several"
    )
    smooth_edge: float = Field(0.5, ge=0, le=1, description="probability that a patch fades out towards its edge")
    smooth_width: Span[Annotated[float, Field(gt=0, le=1)]] = Field(
        (0.2, 0.6), description="part of the way to the middle over which a smooth edge fades, least and most"
    )
    opacity: Span[Annotated[float, Field(gt=0, le=1)]] = Field(
        (0.8, 1.0), description="lowest and highest opacity at a key frame"
    )
    motion: MotionParams = Field(MotionParams(), description="path, size and angle over time")
    background: BackgroundParams = Field(BackgroundParams(), description="what the patches move over")


class Patches(Generator[PatchesParams]):
    """Pieces of the background or of other photographs under rectangles, ellipses and rhombi, on the paths of cutouts.

    Source: the tubelet mode of SMILE (CVPR 2025) for outlines, edges and opacity.
    """

    Params = PatchesParams

    @property
    def max_objects(self) -> int:
        """Most patches of a clip."""
        return self.params.num_objects[1]

    @property
    def label_specs(self) -> Mapping[str, LabelSpec]:
        """Labels of every patch, and the number of patches."""
        return {
            **motion_label_specs(),
            "patch_outline": LabelSpec("Outline of the patch", "class", "object", classes=OUTLINES),
            "patch_source": LabelSpec("What the patch is cut from", "class", "object", classes=SOURCES),
            "num_objects": LabelSpec("Number of objects", "number", "clip"),
        }

    def sample(self, *, rng: np.random.Generator) -> Scene:
        """Sample a background, then patches and their trajectories over it, the largest one first."""
        canvas, params = self.context.canvas, self.params
        background = sample_background(params.background, canvas, self.context.assets, rng=rng)
        count = int(rng.integers(params.num_objects[0], params.num_objects[1] + 1))
        motions = [sample_motion(params.motion, canvas, rng=rng) for _ in range(count)]
        motions.sort(key=lambda motion: -float(motion.size_T2[0].prod()))
        outlines = [choose(params.outline, rng=rng) for _ in motions]
        sources = [choose(params.source, rng=rng) for _ in motions]
        return Scene(
            canvas=canvas,
            background=background.image,
            camera_T33=background.camera_T33,
            background_id=background.asset_id,
            layers=tuple(
                self._draw_layer(motion, outline, source, background, rng)
                for motion, outline, source in zip(motions, outlines, sources, strict=True)
            ),
            labels={
                **motion_labels(motions),
                "patch_outline": np.array([OUTLINES.index(name) for name in outlines], dtype=np.int32),
                "patch_source": np.array([SOURCES.index(name) for name in sources], dtype=np.int32),
                "num_objects": count,
            },
        )

    def _draw_layer(
        self, motion: Motion, outline: PatchOutline, source: PatchSource, behind: Background, rng: np.random.Generator
    ) -> Layer:
        width, height = (max(LEAST_SIDE_PX, math.ceil(side)) for side in motion.size_T2.max(axis=0))
        if source == "photograph":
            drawn = self.context.assets.backgrounds.sample(height, width, rng=rng)
            image, asset_id = drawn.image, drawn.asset_id
        else:
            image, asset_id = _crop(behind.image, height, width, rng), behind.asset_id
        height, width = image.shape[:2]
        softness = rng.uniform(*self.params.smooth_width) if rng.random() < self.params.smooth_edge else 0.0
        return Layer(
            texture=np.dstack([image, draw_patch_alpha(outline, height, width, softness)]),
            pose_T6=motion.pose_T6(height, width),
            opacity_T=_sample_opacity(self.params.opacity, len(motion.angle_T), self.params.motion.key_frames, rng),
            object_id=asset_id,
            class_name=outline,
        )


def draw_patch_alpha(outline: PatchOutline, height: int, width: int, softness: float) -> Pixels:
    """Return the alpha of a patch that fills (height, width).

    Args:
        outline: its form.
        height, width: in pixels.
        softness: part of the way from edge to middle over which it fades; 0 is a hard edge.
    """
    y = (np.abs(2 * np.arange(height) + 1 - height) / height)[:, None]
    x = (np.abs(2 * np.arange(width) + 1 - width) / width)[None, :]
    # 0 in the middle, 1 on the edge.
    if outline == "rectangle":
        outwards = np.maximum(x, y)
    elif outline == "ellipse":
        outwards = np.sqrt(x * x + y * y)
    else:
        outwards = x + y
    fade = max(softness, HARD_EDGE_PX / (min(height, width) / 2))
    alpha: Pixels = np.rint(255 * np.clip((1 - outwards) / fade, 0, 1)).astype(np.uint8)
    return alpha


def _crop(image: Pixels, height: int, width: int, rng: np.random.Generator) -> Pixels:
    height, width = min(height, image.shape[0]), min(width, image.shape[1])
    top, left = int(rng.integers(image.shape[0] - height + 1)), int(rng.integers(image.shape[1] - width + 1))
    return image[top : top + height, left : left + width]


def _sample_opacity(
    bounds: tuple[float, float], num_frames: int, keys: KeyFrameParams, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    opacity_T1 = sample_values(
        rng.uniform(*bounds, 1), lambda here, first, last: rng.uniform(*bounds, 1), num_frames, keys, rng=rng
    )
    return opacity_T1[:, 0].clip(0, 1).astype(np.float32)
