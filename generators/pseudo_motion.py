"""``pseudo_motion``: one still image made to move by an image transform that is applied again and again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self, cast

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from smile_synth.generator.base import Generator
from smile_synth.generator.labels import LabelSpec
from smile_synth.params import Span, StrictParams
from smile_synth.sampling.backgrounds import ImageParams, sample_image
from smile_synth.sampling.camera import Camera, CameraMotion, sample_camera, source_size
from smile_synth.sampling.choices import Weight, choose
from smile_synth.sampling.motion import DIRECTIONS, direction_class
from smile_synth.scene import Label, Layer, Scene

Transform = Literal["slide", "zoom", "rotate", "affine", "perspective", "fade", "colour", "cut-paste", "shake"]
TRANSFORMS: tuple[Transform, ...] = (
    "slide", "zoom", "rotate", "affine", "perspective", "fade", "colour", "cut-paste", "shake",
)  # fmt: skip
CAMERA_TRANSFORMS = frozenset({"slide", "zoom", "rotate", "affine", "perspective", "shake"})
Pixels = npt.NDArray[np.uint8]

LARGEST_HUE_TURN_DEG = 90.0
LARGEST_GAIN_LOG = 0.5
PATCH_SIDE = (0.25, 0.5)
PATCH_RATE = 0.03


class PseudoMotionParams(StrictParams):
    """Which image, and what happens to it."""

    transforms: Annotated[dict[Transform, Weight], Field(min_length=1)] = Field(
        default_factory=lambda: dict.fromkeys(TRANSFORMS, 1.0),
        description="weights of the transforms; each clip draws its own",
    )
    num_joined: Span[Annotated[int, Field(ge=1, le=9)]] = Field(
        (1, 2),
        description="fewest and most transforms that a clip joins (ours: the paper takes one, or zoom with affine)",
    )
    image: ImageParams = Field(ImageParams(), description="what is moved")
    strength: float = Field(
        1.0,
        gt=0,
        le=2,
        description="factor on the largest rates: slide 2 % of the canvas a frame, zoom 3 %, rotate 3 deg, "
        "affine 2 %, perspective 4 %",
    )

    @model_validator(mode="after")
    def _check_num_joined(self) -> Self:
        if self.num_joined[1] > len(self.transforms):
            raise ValueError(
                f"num_joined may not exceed the number of transforms, {len(self.transforms)}, got {self.num_joined[1]}"
            )
        return self


class PseudoMotion(Generator[PseudoMotionParams]):
    """One still image under sliding, zoom, rotation, affine, perspective, fade, colour drift or cut-and-paste.

    Source: Pseudo Motion Generator, arXiv 2409.06665.
    """

    Params = PseudoMotionParams

    @property
    def max_objects(self) -> int:
        """One, the pasted patch; none where no patch is ever pasted."""
        return int("cut-paste" in self.params.transforms)

    @property
    def label_specs(self) -> Mapping[str, LabelSpec]:
        """The transform, and the camera's motion where it has one."""
        return {
            "transform": LabelSpec("the transform, undefined where a clip joins several", "class", classes=TRANSFORMS),
            "joined_first": LabelSpec("the first of several joined transforms", "class", classes=TRANSFORMS),
            "joined_second": LabelSpec("the second of several joined transforms", "class", classes=TRANSFORMS),
            "camera_direction": LabelSpec("where the image moves at the centre", "class", classes=DIRECTIONS),
            "camera_speed": LabelSpec("speed of the image at the centre", unit="px/frame"),
            "camera_zoom": LabelSpec("growth of the image from frame to frame", unit="ratio/frame"),
            "camera_rotation": LabelSpec("turn of the image, clockwise positive", unit="deg/frame"),
        }

    def sample(self, *, rng: np.random.Generator) -> Scene:
        """Sample an image and what happens to it."""
        canvas, params = self.context.canvas, self.params
        chosen = self._sample_transforms(rng)
        motions = [cast(CameraMotion, name) for name in chosen if name in CAMERA_TRANSFORMS]
        camera = sample_camera(motions, canvas, strength=params.strength, rng=rng) if motions else None
        height, width = source_size(canvas) if camera else (canvas.height, canvas.width)
        drawn = sample_image(params.image, height, width, self.context.assets, rng=rng)
        background: Pixels = drawn.image
        if "colour" in chosen:
            background = _drifting_colours(background, canvas.num_frames, params.strength, rng)
        if "fade" in chosen:
            background = self._fading(background, rng)
        return Scene(
            canvas=canvas,
            background=background,
            camera_T33=None if camera is None else camera.homography_T33,
            layers=(self._pasted_patch(rng),) if "cut-paste" in chosen else (),
            background_id=drawn.asset_id,
            labels=_labels(chosen, camera, canvas.num_frames),
        )

    def _sample_transforms(self, rng: np.random.Generator) -> Sequence[Transform]:
        """Sample transforms by weight, each at most once."""
        left = dict(self.params.transforms)
        fewest, most = self.params.num_joined
        return [_take(left, rng) for _ in range(int(rng.integers(fewest, most + 1)))]

    def _fading(self, background: Pixels, rng: np.random.Generator) -> Pixels:
        """Return the background as it turns into another image, black or white, or comes out of it."""
        still = background if background.ndim == 3 else background[0]
        choice = rng.random()
        if choice < 0.5:
            height, width = still.shape[:2]
            other = sample_image(self.params.image, height, width, self.context.assets, rng=rng).image
        else:
            other = np.full_like(still, 0 if choice < 0.75 else 255)
        num_frames = self.context.canvas.num_frames
        share_T = np.linspace(0, rng.uniform(0.5, 1), num_frames)
        if rng.random() < 0.5:
            share_T = share_T[::-1]
        frames = background if background.ndim == 4 else np.broadcast_to(still, (num_frames, *still.shape))
        faded = np.empty(frames.shape, np.uint8)
        for t, share in enumerate(share_T.tolist()):
            cv2.addWeighted(frames[t], 1 - share, other, share, 0, dst=faded[t])
        return faded

    def _pasted_patch(self, rng: np.random.Generator) -> Layer:
        """Cut a rectangle out of another image and slide it over the canvas at a steady pace."""
        canvas = self.context.canvas
        height, width = (max(2, round(side * rng.uniform(*PATCH_SIDE))) for side in (canvas.height, canvas.width))
        drawn = sample_image(self.params.image, height, width, self.context.assets, rng=rng)
        texture = np.dstack([drawn.image, np.full((height, width), 255, np.uint8)])
        angle = rng.uniform(0, 2 * math.pi)
        speed = rng.uniform(0.25, 1) * PATCH_RATE * self.params.strength * min(canvas.height, canvas.width)
        time_T = np.arange(canvas.num_frames) - (canvas.num_frames - 1) / 2
        pose_T6 = np.zeros((canvas.num_frames, 6), np.float32)
        pose_T6[:, 0] = pose_T6[:, 4] = 1
        pose_T6[:, 2] = rng.uniform(0, canvas.width - width) + speed * math.cos(angle) * time_T
        pose_T6[:, 5] = rng.uniform(0, canvas.height - height) + speed * math.sin(angle) * time_T
        return Layer(texture, pose_T6, np.ones(canvas.num_frames, np.float32), drawn.asset_id, "patch")


def _take(left: dict[Transform, float], rng: np.random.Generator) -> Transform:
    name = choose(left, rng=rng)
    del left[name]
    return name


def _drifting_colours(image: Pixels, num_frames: int, strength: float, rng: np.random.Generator) -> Pixels:
    """Return the image while its hue turns and its brightness and saturation change steadily."""
    turn = math.radians(rng.uniform(0.25, 1) * LARGEST_HUE_TURN_DEG * strength) * (1 if rng.random() < 0.5 else -1)
    gain, saturation = rng.uniform(-1, 1, 2) * LARGEST_GAIN_LOG * strength
    frames = np.empty((num_frames, *image.shape), np.uint8)
    for t, share in enumerate(np.linspace(0, 1, num_frames).tolist()):
        cv2.transform(image, _colour_matrix(turn * share, gain * share, saturation * share), dst=frames[t])
    return frames


def _colour_matrix(turn_rad: float, gain_log: float, saturation_log: float) -> npt.NDArray[np.float64]:
    """Return the linear map of RGB that turns hues about the grey axis and scales brightness and saturation."""
    grey = np.full((3, 3), 1 / 3)
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    hue = math.cos(turn_rad) * (np.eye(3) - grey) + math.sin(turn_rad) * across
    matrix: npt.NDArray[np.float64] = math.exp(gain_log) * (grey + math.exp(saturation_log) * hue)
    return matrix


def _labels(chosen: Sequence[Transform], camera: Camera | None, num_frames: int) -> dict[str, Label]:
    numbers = [TRANSFORMS.index(name) for name in chosen]
    shift_x, shift_y = (0.0, 0.0) if camera is None else camera.shift_px_per_frame
    return {
        "transform": numbers[0] if len(chosen) == 1 else -1,
        "joined_first": numbers[0] if len(chosen) > 1 else -1,
        "joined_second": numbers[1] if len(chosen) > 1 else -1,
        "camera_direction": direction_class(shift_x * num_frames, shift_y * num_frames),
        "camera_speed": math.hypot(shift_x, shift_y),
        "camera_zoom": 1.0 if camera is None else camera.zoom_per_frame,
        "camera_rotation": 0.0 if camera is None else camera.rotation_deg_per_frame,
    }
