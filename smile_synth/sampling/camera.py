"""Camera motion over a still image, as one homography per frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from smile_synth.params import NoEffect, StrictParams
from smile_synth.sampling.choices import Weight, choose, names_in
from smile_synth.scene import Canvas

CameraMotion = Literal["still", "slide", "zoom", "rotate", "affine", "perspective", "shake"]
Matrix = npt.NDArray[np.float64]

# Largest rates at strength 1, in canvas sides and radians a frame, for clips of up to 16 frames.
SLIDE_RATE = 0.02
ZOOM_RATE = 0.03
ROTATE_RATE = math.radians(3)
AFFINE_RATE = 0.02
PERSPECTIVE_RATE = 0.04
SHAKE_SIDE = 0.012
SHAKE_RAD = math.radians(0.8)
SHAKE_FADING = (0.8, 0.5, 0.3, 0.1)
SLOWEST_SHARE = 0.25
FRAMES_AT_FULL_RATE = 16
# A moving camera looks at an image this much larger than the canvas, so that mirrored borders are rarely seen.
MARGIN = 1.4


class CameraParams(StrictParams):
    """How a camera moves over the background."""

    NO_EFFECT = (
        NoEffect(
            ("strength",),
            when=lambda camera: set(names_in(camera.motion)) == {"still"},
            why="on a camera that stands still",
            instead="leave it out, or set its motion",
        ),
    )

    motion: CameraMotion | Annotated[dict[CameraMotion, Weight], Field(min_length=1)] = Field(
        "still", description="a motion, or weights of several, one sampled per clip"
    )
    strength: float = Field(
        1.0,
        gt=0,
        le=2,
        description="factor on the largest rates: slide 2 % of the canvas a frame, zoom 3 %, rotate 3 deg, "
        "affine 2 %, perspective 4 %; the rate of a clip is uniform between a quarter of that and all of it",
    )


@dataclass(frozen=True, eq=False)
class Camera:
    """A camera's motion through a clip.

    Args:
        homography_T33: float32, background pixel -> canvas pixel.
        shift_px_per_frame: (x, y) velocity of the image at the canvas's centre, right and down positive.
        zoom_per_frame: factor by which the image grows from frame to frame.
        rotation_deg_per_frame: clockwise positive, as y grows downwards.
    """

    homography_T33: npt.NDArray[np.float32]
    shift_px_per_frame: tuple[float, float]
    zoom_per_frame: float
    rotation_deg_per_frame: float


def source_size(canvas: Canvas) -> tuple[int, int]:
    """Return height and width of the image that a moving camera should look at."""
    return math.ceil(canvas.height * MARGIN), math.ceil(canvas.width * MARGIN)


def sample_camera_of(params: CameraParams, canvas: Canvas, *, rng: np.random.Generator) -> Camera | None:
    """Sample the motion that ``params`` describe, over an image of ``source_size``; None where it stands still."""
    motion = choose(params.motion, rng=rng)
    if motion == "still":
        return None
    return sample_camera([motion], canvas, strength=params.strength, rng=rng)


def sample_camera(
    motions: Sequence[CameraMotion], canvas: Canvas, *, strength: float, rng: np.random.Generator
) -> Camera:
    """Sample one steady motion that joins all of ``motions``, applied again and again from frame to frame.

    Args:
        motions: what the camera does at the same time; ``still`` adds nothing.
        canvas: what it is seen on; the image is of ``source_size(canvas)``.
        strength: factor on the largest rates.
        rng: where rates and directions come from.

    Source: one transform and strength per clip, repeated, is pseudo-motion (arXiv 2409.06665).
    """
    num_frames = canvas.num_frames
    # Longer clips spread the same motion over more frames; else they would leave the image.
    scale = strength * min(1.0, FRAMES_AT_FULL_RATE / num_frames)
    rate = sum((_rate(motion, scale, rng) for motion in motions), np.zeros((3, 3)))
    times = np.arange(num_frames) - (num_frames - 1) / 2
    flow_T33 = times[:, None, None] * rate
    if "shake" in motions:
        flow_T33 = flow_T33 + _shake(num_frames, strength, rng)
    side = min(canvas.height, canvas.width)
    source_height, source_width = source_size(canvas)
    from_source = np.array(
        [[1 / side, 0, -source_width / 2 / side], [0, 1 / side, -source_height / 2 / side], [0, 0, 1]]
    )
    to_canvas = np.array([[side, 0, canvas.width / 2], [0, side, canvas.height / 2], [0, 0, 1]])
    homography_T33 = to_canvas @ _exponential(flow_T33) @ from_source
    return Camera(
        homography_T33=homography_T33.astype(np.float32),
        shift_px_per_frame=(float(rate[0, 2] * side), float(rate[1, 2] * side)),
        zoom_per_frame=math.exp((rate[0, 0] + rate[1, 1]) / 2),
        rotation_deg_per_frame=math.degrees((rate[1, 0] - rate[0, 1]) / 2),
    )


def _rate(motion: CameraMotion, scale: float, rng: np.random.Generator) -> Matrix:
    """Return what a motion adds to the homography's logarithm in one frame, in canvas sides about the centre."""
    rate = np.zeros((3, 3))
    if motion == "slide":
        rate[:2, 2] = _vector(SLIDE_RATE * scale, rng)
    elif motion == "zoom":
        rate[0, 0] = rate[1, 1] = _signed(ZOOM_RATE * scale, rng)
    elif motion == "rotate":
        angle = _signed(ROTATE_RATE * scale, rng)
        rate[0, 1], rate[1, 0] = -angle, angle
    elif motion == "affine":
        rate[:2, :2] = rng.uniform(-AFFINE_RATE, AFFINE_RATE, (2, 2)) * scale
        rate[:2, 2] = _vector(AFFINE_RATE / 2 * scale, rng)
    elif motion == "perspective":
        rate[2, :2] = _vector(PERSPECTIVE_RATE * scale, rng)
    return rate


def _shake(num_frames: int, strength: float, rng: np.random.Generator) -> Matrix:
    """Return a hand's jitter: an independent push in every frame, which fades over the next few."""
    pushes_T3 = rng.standard_normal((num_frames + len(SHAKE_FADING) - 1, 3))
    jitter_T3, oldest = np.zeros((num_frames, 3)), len(SHAKE_FADING) - 1
    for lag, share in enumerate(SHAKE_FADING):
        jitter_T3 += share * pushes_T3[oldest - lag : num_frames + oldest - lag]
    flow_T33 = np.zeros((num_frames, 3, 3))
    flow_T33[:, :2, 2] = jitter_T3[:, :2] * (SHAKE_SIDE * strength)
    angle_T = jitter_T3[:, 2] * (SHAKE_RAD * strength)
    flow_T33[:, 0, 1], flow_T33[:, 1, 0] = -angle_T, angle_T
    return flow_T33


def _signed(largest: float, rng: np.random.Generator) -> float:
    return float(rng.uniform(SLOWEST_SHARE, 1) * largest * (1 if rng.random() < 0.5 else -1))


def _vector(largest: float, rng: np.random.Generator) -> tuple[float, float]:
    length, angle = rng.uniform(SLOWEST_SHARE, 1) * largest, rng.uniform(0, 2 * math.pi)
    return length * math.cos(angle), length * math.sin(angle)


def _exponential(flow_T33: Matrix) -> Matrix:
    """Return the matrix exponentials: the flow followed for one unit of time (a few squarings and a short series)."""
    small = flow_T33 / 16
    result = term = np.broadcast_to(np.eye(3), flow_T33.shape)
    for power in range(1, 9):
        term = term @ small / power
        result = result + term
    for _ in range(4):
        result = result @ result
    return result
