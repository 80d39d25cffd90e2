"""``gratings``: drifting sinusoids and plaids whose velocity is known exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from smile_synth.generator.base import Generator
from smile_synth.generator.labels import LabelSpec
from smile_synth.machine.compiled import entry_point
from smile_synth.params import Span, StrictParams
from smile_synth.sampling.choices import Weight, choose
from smile_synth.sampling.motion import DIRECTIONS, direction_class
from smile_synth.scene import Scene

Pattern = Literal["grating", "plaid"]
PATTERNS: tuple[Pattern, ...] = ("grating", "plaid")
REFERENCE_SIDE_PX = 224.0
# Steps of a full turn of phase; a turn is 2**32, so that phases wrap round by themselves.
SINE_BITS = 10
TURN = 2**32
# Components of a plaid lean to either side of its direction by these angles.
LEAN_DEG = (25.0, 70.0)
# No wave moves further than this part of its wavelength in a frame: past a half it would seem to run backwards.
LARGEST_STEP = 1 / 3
Pixels = npt.NDArray[np.uint8]


class GratingsParams(StrictParams):
    """What drifts, and how fast."""

    pattern: Pattern | Annotated[dict[Pattern, Weight], Field(min_length=1)] = Field(
        {"grating": 1.0, "plaid": 1.0},
        description="one sinusoid (grating) or the sum of two (plaid), or weights of both",
    )
    wavelength_px: Span[Annotated[float, Field(ge=4, le=512)]] = Field(
        (10.0, 80.0), description="shortest and longest wavelength, px on a 224 px canvas; log-uniform"
    )
    speed_px_per_frame: Span[Annotated[float, Field(ge=0, le=50)]] = Field(
        (0.5, 6.0),
        description="slowest and fastest drift, px/frame on a 224 px canvas; at most a third of the wavelength",
    )
    contrast: Span[Annotated[float, Field(gt=0, le=1)]] = Field(
        (0.4, 1.0), description="weakest and strongest contrast, as a share of the full range"
    )
    colour: float = Field(0.75, ge=0, le=1, description="share of clips in colour, between two random ones")


class Gratings(Generator[GratingsParams]):
    """Drifting sinusoidal gratings and plaids of exactly known direction and speed, over the whole canvas."""

    Params = GratingsParams

    @property
    def max_objects(self) -> int:
        """None: the pattern is the background."""
        return 0

    @property
    def label_specs(self) -> Mapping[str, LabelSpec]:
        """Pattern, drift and wavelength."""
        return {
            "pattern": LabelSpec("what drifts", "class", classes=PATTERNS),
            "drift_direction": LabelSpec("where the pattern drifts", "class", classes=DIRECTIONS),
            "drift_speed": LabelSpec("speed of the pattern", unit="px/frame"),
            "wavelength": LabelSpec("wavelength of a sinusoid, the longer one of a plaid", unit="px"),
        }

    def sample(self, *, rng: np.random.Generator) -> Scene:
        """Sample a pattern, its velocity and its colours."""
        canvas, params = self.context.canvas, self.params
        scale = min(canvas.height, canvas.width) / REFERENCE_SIDE_PX
        pattern = choose(params.pattern, rng=rng)
        direction_rad = rng.uniform(0, 2 * math.pi)
        lean_rad = np.zeros(1) if pattern == "grating" else np.radians(rng.uniform(*LEAN_DEG, 2)) * (1, -1)
        low, high = np.log(params.wavelength_px)
        wavelength_px = np.exp(rng.uniform(low, high, len(lean_rad))) * scale
        speed = rng.uniform(*params.speed_px_per_frame) * scale
        speed = min(speed, float((wavelength_px / np.cos(lean_rad)).min()) * LARGEST_STEP)
        velocity = np.array([math.cos(direction_rad), math.sin(direction_rad)]) * speed
        normal_S2 = np.stack([np.cos(direction_rad + lean_rad), np.sin(direction_rad + lean_rad)], axis=1)
        turns_S2 = normal_S2 / wavelength_px[:, None]
        phase_step_S3 = np.concatenate([-(turns_S2 @ velocity)[:, None], turns_S2[:, ::-1]], axis=1)
        frames_THWC = np.empty((canvas.num_frames, canvas.height, canvas.width, 3), np.uint8)
        steps_S3 = np.rint(phase_step_S3 * TURN).astype(np.int64)
        start_S = rng.integers(0, TURN, len(lean_rad), dtype=np.int64)
        draw_waves(frames_THWC, self._palette(rng), _sine(len(lean_rad)), start_S, steps_S3)
        return Scene(
            canvas=canvas,
            background=frames_THWC,
            labels={
                "pattern": PATTERNS.index(pattern),
                "drift_direction": direction_class(*(velocity * canvas.num_frames).tolist()),
                "drift_speed": speed,
                "wavelength": float(wavelength_px.max()),
            },
        )

    def _palette(self, rng: np.random.Generator) -> Pixels:
        """Return a run of colours from the troughs to the crests."""
        ends = np.array([[0.0] * 3, [255.0] * 3])
        if rng.random() < self.params.colour:
            ends = rng.uniform(0, 255, (2, 3))
            if np.abs(ends[0] - ends[1]).max() < 128:
                ends[1] = (ends[0] + 128) % 256
        middle, contrast = ends.mean(axis=0), rng.uniform(*self.params.contrast)
        ends = middle + contrast * (ends - middle)
        share = np.linspace(0, 1, 1 << SINE_BITS)[:, None]
        palette: Pixels = np.rint(ends[0] + share * (ends[1] - ends[0])).astype(np.uint8)
        return palette


def _sine(num_waves: int) -> npt.NDArray[np.int32]:
    """Return one turn of a sine, so scaled that the sum of the waves runs over the whole palette."""
    turn = np.sin(np.arange(1 << SINE_BITS) * (2 * math.pi / (1 << SINE_BITS)))
    largest = ((1 << SINE_BITS) - 1) / num_waves
    sine: npt.NDArray[np.int32] = np.floor((turn + 1) / 2 * largest).astype(np.int32)
    return sine


@entry_point("void(uint8[:,:,:,::1], uint8[:,::1], int32[::1], int64[::1], int64[:,::1])")
def draw_waves(
    frames_THWC: Pixels,
    palette_NC: Pixels,
    sine_N: npt.NDArray[np.int32],
    start_S: npt.NDArray[np.int64],
    steps_S3: npt.NDArray[np.int64],
) -> None:
    """Draw the sum of plane waves.

    Args:
        frames_THWC: uint8 (T, H, W, 3), written.
        palette_NC: uint8 (1024, 3), colours of the sum.
        sine_N: int32 (1024,), one turn of a wave.
        start_S: int64 (S,), phase of each wave at pixel (0, 0) of frame 0; a turn is 2**32.
        steps_S3: int64 (S, 3), phase from frame to frame, row to row, column to column.
    """
    shift, mask = 32 - SINE_BITS, (1 << SINE_BITS) - 1
    num_frames, height, width, _ = frames_THWC.shape
    for t in range(num_frames):
        for row in range(height):
            first = start_S[0] + t * steps_S3[0, 0] + row * steps_S3[0, 1]
            second = first
            if len(start_S) > 1:
                second = start_S[1] + t * steps_S3[1, 0] + row * steps_S3[1, 1]
            for column in range(width):
                place = sine_N[((first + column * steps_S3[0, 2]) >> shift) & mask]
                if len(start_S) > 1:
                    place += sine_N[((second + column * steps_S3[1, 2]) >> shift) & mask]
                frames_THWC[t, row, column, 0] = palette_NC[place, 0]
                frames_THWC[t, row, column, 1] = palette_NC[place, 1]
                frames_THWC[t, row, column, 2] = palette_NC[place, 2]
