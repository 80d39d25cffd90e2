"""``programs``: random compositions of smooth functions, as images under a camera and as forms that change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from smile_synth.errors import GeneratorError
from smile_synth.generator.base import Generator
from smile_synth.generator.labels import LabelSpec
from smile_synth.machine.compiled import entry_point
from smile_synth.params import NoEffect, Span, StrictParams
from smile_synth.sampling.camera import Camera, CameraMotion, sample_camera, source_size
from smile_synth.sampling.choices import Weight, choose, names_in
from smile_synth.sampling.formulas import (
    BEND,
    BUMP,
    EDGE,
    FOLD,
    LENGTH,
    MIX,
    PRODUCT,
    WAVE,
    Formula,
    X,
    Y,
)
from smile_synth.sampling.motion import DIRECTIONS, direction_class
from smile_synth.sampling.textures import sample_palette
from smile_synth.scene import Label, Scene

Animation = Literal["camera", "form", "both"]
ANIMATIONS: tuple[Animation, ...] = ("camera", "form", "both")
WARPS = ("bend", "turn", "fold", "polar", "invert")
FIELDS = ("stripes", "spots", "rings", "weave", "ramp")
MAX_TRIALS = 100
# A program is tried out on this many rows and columns before it is drawn.
TRIAL_LINES = 12
LEAST_SPREAD = 0.3
# How often the tone runs through its whole range along a line, at least, in the mean.
LEAST_RUNS = 1.5
DARKEST = 0.45
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]


class ProgramsParams(StrictParams):
    """How long programs are, and what moves.

    Source: Shaders21k (NeurIPS 2022) for image programs as training images; the functions, and how they are composed,
    are ours.
    """

    NO_EFFECT = (
        NoEffect(
            ("camera", "strength"),
            when=lambda programs: set(names_in(programs.animation)) == {"form"},
            why="where no camera moves",
        ),
        NoEffect(
            ("turns_per_frame", "swing"),
            when=lambda programs: set(names_in(programs.animation)) == {"camera"},
            why="where no form changes",
        ),
    )

    num_warps: Span[Annotated[int, Field(ge=0, le=8)]] = Field(
        (1, 4), description="fewest and most functions that the coordinates go through, one after the other"
    )
    num_fields: Span[Annotated[int, Field(ge=1, le=8)]] = Field(
        (2, 4), description="fewest and most patterns over the coordinates, joined into one"
    )
    frequency: Span[Annotated[float, Field(gt=0, le=32)]] = Field(
        (0.3, 2.5), description="lowest and highest frequency of a wave, before warping, waves in half a canvas side"
    )
    roughest: float = Field(
        0.08,
        gt=0,
        le=1,
        description="programs whose tone differs by more than this share of its range between neighbouring pixels, in "
        "the mean, are drawn again",
    )
    animation: Animation | Annotated[dict[Animation, Weight], Field(min_length=1)] = Field(
        {"camera": 1.0, "form": 1.0},
        description="a camera moves over one image (exact motion), the constants of the program change (no motion is "
        "defined), or both; or weights of several",
    )
    camera: Annotated[dict[CameraMotion, Weight], Field(min_length=1)] = Field(
        {"slide": 1.0, "zoom": 1.0, "rotate": 1.0, "affine": 1.0, "perspective": 1.0},
        description="weights of the camera's motions",
    )
    strength: float = Field(1.0, gt=0, le=2, description="factor on the largest rates of the camera")
    turns_per_frame: float = Field(
        0.03, ge=0, le=0.5, description="fastest change of a wave's phase, turns per frame; beyond 0.5 it would alias"
    )
    swing: float = Field(
        0.15, ge=0, le=1, description="largest change of a factor, to both sides, as a share of its value"
    )


class Programs(Generator[ProgramsParams]):
    """Images of random programs, composed of smooth functions, under a moving camera or changing their form.

    Source: the idea of Shaders21k (NeurIPS 2022); no shader of it is used.
    """

    Params = ProgramsParams

    @property
    def max_objects(self) -> int:
        """None: the image is the background."""
        return 0

    @property
    def label_specs(self) -> Mapping[str, LabelSpec]:
        """What moves, how long the program is, and the camera's motion where it has one."""
        return {
            "animation": LabelSpec("what moves: the camera, the program's form, or both", "class", classes=ANIMATIONS),
            "num_operations": LabelSpec("instructions of the program"),
            "camera_direction": LabelSpec("where the image moves at the centre", "class", classes=DIRECTIONS),
            "camera_speed": LabelSpec("speed of the image at the centre", unit="px/frame"),
            "camera_zoom": LabelSpec("growth of the image from frame to frame", unit="ratio/frame"),
            "camera_rotation": LabelSpec("turn of the image, clockwise positive", unit="deg/frame"),
        }

    def sample(self, *, rng: np.random.Generator) -> Scene:
        """Sample what moves, a program worth looking at, and its colours."""
        canvas, params = self.context.canvas, self.params
        animation = choose(params.animation, rng=rng)
        camera, height, width = None, canvas.height, canvas.width
        if animation != "form":
            motion = choose(params.camera, rng=rng)
            camera = sample_camera([motion], canvas, strength=params.strength, rng=rng)
            height, width = source_size(canvas)
        num_frames = 1 if animation == "camera" else canvas.num_frames
        # The canvas's shorter side runs from -1 to 1, also where a camera sees more.
        half = min(canvas.height, canvas.width) / 2
        x_W, y_H = _centred(width, half), _centred(height, half)
        program = self._sample_program(num_frames, x_W, y_H, rng)
        frames_THWC = np.empty((num_frames, height, width, 3), np.uint8)
        paint(frames_THWC, program.values(x_W, y_H), sample_palette(rng=rng))
        return Scene(
            canvas=canvas,
            background=frames_THWC[0] if num_frames == 1 and animation == "camera" else frames_THWC,
            camera_T33=None if camera is None else camera.homography_T33,
            labels=_labels(animation, len(program.code_N3), camera, canvas.num_frames),
        )

    def _sample_program(self, num_frames: int, x_W: Floats, y_H: Floats, rng: np.random.Generator) -> Formula:
        """Sample programs until one is neither flat nor rough."""
        for _ in range(MAX_TRIALS):
            program = _Composer(self.params, rng).compose(num_frames)
            if self._is_worth_drawing(program, x_W, y_H):
                return program
        raise GeneratorError(
            f"generator 'programs': {MAX_TRIALS} programs in a row were refused; raise roughest "
            f"({self.params.roughest}), or lower frequency {self.params.frequency}"
        )

    def _is_worth_drawing(self, program: Formula, x_W: Floats, y_H: Floats) -> bool:
        ends = Formula(program.code_N3, program.constants_TN3[[0, -1]], program.outputs_2)
        rows_THW = ends.values(x_W, _thinned(y_H))[0]
        columns_THW = ends.values(_thinned(x_W), y_H)[0]
        if not (np.isfinite(rows_THW).all() and np.isfinite(columns_THW).all()):
            return False
        across, down = _runs(rows_THW, 2), _runs(columns_THW, 1)
        if max(across / len(x_W), down / len(y_H)) > self.params.roughest or across + down < 2 * LEAST_RUNS:
            return False
        return min(float(values_HW.std()) for values_HW in rows_THW) >= LEAST_SPREAD


class _Composer:
    """Writes one program, instruction by instruction."""

    def __init__(self, params: ProgramsParams, rng: np.random.Generator) -> None:
        self._params, self._rng = params, rng
        self._code: list[tuple[int, int, int]] = []
        self._constants: list[tuple[float, float, float]] = []

    def compose(self, num_frames: int) -> Formula:
        """Return a program: coordinates through warps, patterns over them, joined into a tone and a shade."""
        places = [(X, Y)]
        for _ in range(self._count(self._params.num_warps)):
            places.append(self._warp(*places[-1]))
        # Patterns mostly over the last coordinates; one over earlier ones crosses the others.
        fields = [self._field(*places[-1])]
        for _ in range(self._count(self._params.num_fields) - 1):
            fields.append(self._field(*places[int(self._rng.integers(len(places)))]))
        joined = fields[0]
        for field in fields[1:]:
            joined = self._join(joined, field)
        tone = self._add(EDGE, joined, joined, self._rng.uniform(1.2, 3.5), 0, self._rng.uniform(-0.3, 0.3))
        shade = self._add(EDGE, fields[-1], fields[-1], self._rng.uniform(0.8, 2), 0, 0.4)
        return Formula(np.array(self._code, np.int64), self._animated(num_frames), np.array([tone, shade], np.int64))

    def _warp(self, u: int, v: int) -> tuple[int, int]:
        """Add instructions that bend the plane; return the registers of the new coordinates."""
        rng, kind = self._rng, WARPS[int(self._rng.integers(len(WARPS)))]
        if kind == "bend":
            frequency = self._frequency() / 2
            reach = rng.uniform(0.1, 0.35) / max(frequency, 0.5)
            bent = self._add(BEND, u, v, reach, frequency, rng.random())
            return bent, self._add(BEND, v, bent, reach, frequency, rng.random())
        if kind == "turn":
            angle, size = rng.uniform(0, 2 * math.pi), rng.uniform(0.7, 1.4)
            cosine, sine = size * math.cos(angle), size * math.sin(angle)
            return self._add(MIX, u, v, cosine, -sine, 0), self._add(MIX, u, v, sine, cosine, 0)
        if kind == "fold":
            return self._add(FOLD, u, u, 0, 0, -rng.uniform(0.2, 0.8)), self._add(
                FOLD, v, v, 0, 0, -rng.uniform(0.2, 0.8)
            )
        if kind == "polar":
            radius = self._add(LENGTH, u, v, *self._pair(-0.6, 0.6), 0)
            return radius, self._add(MIX, u, v, rng.uniform(-1, 1), rng.uniform(-1, 1), 0)
        near = self._add(BUMP, self._add(LENGTH, u, v, *self._pair(-0.5, 0.5), 0), u, rng.uniform(0.8, 2), 0, 0)
        return self._add(PRODUCT, u, near, 0, 0, 0), self._add(PRODUCT, v, near, 0, 0, 0)

    def _field(self, u: int, v: int) -> int:
        """Add a pattern over coordinates; return its register, about -1 to 1."""
        rng, kind = self._rng, FIELDS[int(self._rng.integers(len(FIELDS)))]
        angle, frequency = rng.uniform(0, 2 * math.pi), self._frequency()
        p, q = frequency * math.cos(angle), frequency * math.sin(angle)
        if kind == "stripes":
            return self._add(WAVE, u, v, p, q, rng.random())
        if kind == "rings":
            return self._add(WAVE, self._add(LENGTH, u, v, *self._pair(-0.7, 0.7), 0), u, frequency, 0, rng.random())
        if kind == "weave":
            first, second = self._add(WAVE, u, v, p, q, rng.random()), self._add(WAVE, u, v, -q, p, rng.random())
            return self._add(PRODUCT, first, second, 0, 0, 0)
        if kind == "spots":
            bump = self._add(BUMP, self._add(WAVE, u, v, p, q, rng.random()), u, rng.uniform(1, 3), 0, 0)
            return self._add(MIX, bump, self._add(WAVE, u, v, -q, p, rng.random()), 1.2, 0.6, -0.7)
        return self._add(EDGE, self._add(MIX, u, v, p, q, rng.uniform(-0.5, 0.5)), u, 1, 0, 0)

    def _join(self, first: int, second: int) -> int:
        rng = self._rng
        if rng.random() < 0.3:
            return self._add(PRODUCT, first, second, 0, 0, 0)
        if rng.random() < 0.3:
            # A pattern that another one bends.
            return self._add(WAVE, first, second, rng.uniform(0.15, 0.5), rng.uniform(0.15, 0.5), rng.random())
        return self._add(MIX, first, second, *self._pair(0.4, 1), 0)

    def _animated(self, num_frames: int) -> Floats:
        """Return the constants in every frame: phases run on steadily, factors swing to and fro."""
        rng, params = self._rng, self._params
        base_N3 = np.array(self._constants)
        if num_frames == 1:
            return base_N3[None].astype(np.float32)
        time_T11 = np.arange(num_frames)[:, None, None]
        rate_N3, start_N3 = rng.uniform(0.01, 0.04, base_N3.shape), rng.random(base_N3.shape)
        swing_N3 = rng.uniform(0, params.swing, base_N3.shape)
        constants_TN3 = base_N3 * (1 + swing_N3 * np.sin(2 * math.pi * (start_N3 + rate_N3 * time_T11)))
        has_phase_N = np.isin([operation for operation, _, _ in self._code], (WAVE, BEND))
        run_N = rng.uniform(-1, 1, len(base_N3)) * params.turns_per_frame * has_phase_N
        constants_TN3[:, :, 2] = base_N3[:, 2] + run_N * time_T11[:, :, 0]
        return constants_TN3.astype(np.float32)

    def _add(self, operation: int, a: int, b: int, p: float, q: float, r: float) -> int:
        self._code.append((operation, a, b))
        self._constants.append((p, q, r))
        return len(self._code) + 1

    def _frequency(self) -> float:
        low, high = self._params.frequency
        return math.exp(self._rng.uniform(math.log(low), math.log(high)))

    def _pair(self, low: float, high: float) -> tuple[float, float]:
        return float(self._rng.uniform(low, high)), float(self._rng.uniform(low, high))

    def _count(self, span: tuple[int, int]) -> int:
        return int(self._rng.integers(span[0], span[1] + 1))


def _centred(side: int, half: float) -> Floats:
    return ((np.arange(side) + 0.5 - side / 2) / half).astype(np.float32)


def _thinned(places_N: Floats) -> Floats:
    return places_N[:: -(-len(places_N) // TRIAL_LINES)].copy()


def _runs(values_THW: Floats, axis: int) -> float:
    """Return how often values run through their range, from -1 to 1, along a line, in the mean."""
    return float(np.abs(np.diff(values_THW, axis=axis)).sum(axis=axis).mean()) / 2


def _labels(animation: Animation, num_operations: int, camera: Camera | None, num_frames: int) -> dict[str, Label]:
    shift_x, shift_y = (0.0, 0.0) if camera is None else camera.shift_px_per_frame
    return {
        "animation": ANIMATIONS.index(animation),
        "num_operations": num_operations,
        "camera_direction": direction_class(shift_x * num_frames, shift_y * num_frames),
        "camera_speed": math.hypot(shift_x, shift_y),
        "camera_zoom": 1.0 if camera is None else camera.zoom_per_frame,
        "camera_rotation": 0.0 if camera is None else camera.rotation_deg_per_frame,
    }


@entry_point("void(uint8[:,:,:,::1], float32[:,:,:,::1], uint8[:,::1])")
def paint(frames_THWC: Pixels, values_2THW: Floats, palette_NC: Pixels) -> None:
    """Give every pixel the palette's colour of its tone, darkened by its shade."""
    num_frames, height, width, _ = frames_THWC.shape
    middle, dark, half_rest = np.float32(127.5), np.float32(DARKEST), np.float32((1 - DARKEST) / 2)
    for t in range(num_frames):
        for row in range(height):
            for column in range(width):
                place = np.uint64(middle + middle * values_2THW[0, t, row, column] + np.float32(0.5)) & np.uint64(255)
                light = dark + half_rest * (np.float32(1) + values_2THW[1, t, row, column])
                for channel in range(3):
                    frames_THWC[t, row, column, channel] = np.uint8(light * np.float32(palette_NC[place, channel]))
