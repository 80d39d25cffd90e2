"""``figures``: articulated figures that walk, run, jump, wave and more, in clothes of their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from smile_synth.generator.base import Generator
from smile_synth.generator.labels import LabelSpec
from smile_synth.params import Span, StrictParams
from smile_synth.sampling.backgrounds import BackgroundParams, sample_background
from smile_synth.sampling.choices import Weight, choose
from smile_synth.sampling.limbs import Limbs
from smile_synth.sampling.motion import DIRECTIONS, direction_class
from smile_synth.sampling.textures import draw_texture, sample_colour
from smile_synth.scene import Label, Scene

Action = Literal["walk", "run", "jump", "wave", "squat", "kick", "bow", "jumping-jack"]
ACTIONS: tuple[Action, ...] = ("walk", "run", "jump", "wave", "squat", "kick", "bow", "jumping-jack")
FACINGS = ("right", "left", "front", "back")
# Seen from the front, mostly; the others from the side.
FRONTAL = frozenset({"wave", "jumping-jack"})
# How long a cycle of these takes, of that of the others.
CYCLE_FACTORS: dict[Action, float] = {"run": 0.7, "wave": 0.5}
REFERENCE_SIDE_PX = 224.0
# Lengths and radii of the body, in its height.
TORSO, NECK, HEAD, UPPER_ARM, FOREARM, THIGH, SHIN, FOOT = 0.30, 0.05, 0.085, 0.17, 0.17, 0.245, 0.235, 0.085
SHOULDER_SIDE, HIP_SIDE = 0.105, 0.055
# Of a limb's texture, in body heights.
TEXTURE_LENGTH, TEXTURE_WIDTH = 0.28, 0.1
Doubles = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]
Pair = tuple[Doubles | float, Doubles | float]


class FiguresParams(StrictParams):
    """How many figures, what they do, and how large and how fast they are. Gaits and proportions are ours."""

    num_figures: Span[Annotated[int, Field(ge=1, le=16)]] = Field(
        (1, 3), description="fewest and most figures per clip"
    )
    action: Action | Annotated[dict[Action, Weight], Field(min_length=1)] = Field(
        default_factory=lambda: dict.fromkeys(ACTIONS, 1.0),
        description="what a figure does; one action, or weights of several, one sampled per figure",
    )
    height_px: Span[Annotated[float, Field(ge=16, le=1024)]] = Field(
        (90.0, 150.0), description="smallest and tallest figure, px on a 224 px canvas"
    )
    cycle_frames: Span[Annotated[float, Field(ge=4, le=400)]] = Field(
        (10.0, 20.0),
        description="frames of one cycle, such as two steps, fastest and slowest; running takes 0.7 of it, waving 0.5",
    )
    turn_deg: float = Field(
        35.0, ge=0, le=90, description="largest turn to either side away from the view from the side, or from the front"
    )
    vigour: Span[Annotated[float, Field(gt=0.2, le=1.5)]] = Field(
        (0.75, 1.15), description="smallest and largest factor on the angles of an action"
    )
    background: BackgroundParams = Field(BackgroundParams(), description="what the figures stand before")


@dataclass(frozen=True, eq=False)
class _Posture:
    """Angles of a figure in every frame, in degrees; pairs are (left, right); arrays (T,) or one number for all frames.

    Args:
        hip, shoulder: forwards from hanging down.
        knee: backwards from the thigh's direction.
        elbow: forwards from the upper arm's direction.
        spread, raised: legs and arms sideways.
        waved: forearms sideways, on top of ``raised``.
        lean, nod: torso and head forwards.
        lift: height above the floor, in body heights.
    """

    hip: Pair = (0.0, 0.0)
    knee: Pair = (4.0, 4.0)
    shoulder: Pair = (0.0, 0.0)
    elbow: Pair = (12.0, 12.0)
    spread: Pair = (4.0, 4.0)
    raised: Pair = (8.0, 8.0)
    waved: Pair = (0.0, 0.0)
    lean: Doubles | float = 2.0
    nod: Doubles | float = 0.0
    lift: Doubles | float = 0.0


def _half_wave(phase_T: Doubles) -> Doubles:
    """Return 0 at phase 0, 1 half a cycle later, smoothly to and fro."""
    return np.asarray(0.5 - 0.5 * np.cos(phase_T), np.float64)


def _flight(phase_T: Doubles) -> Doubles:
    """Return the height of a body in free flight during the half cycle around half of a cycle, at most 1."""
    return np.maximum(0.0, 1 - ((phase_T % (2 * math.pi) - math.pi) / (math.pi / 2)) ** 2)


def _walk(phase_T: Doubles, v: float) -> _Posture:
    swing, bend = np.sin(phase_T), _half_wave(phase_T + math.pi + 0.4) ** 2
    other = _half_wave(phase_T + 0.4) ** 2
    return _Posture(
        hip=(4 + 26 * v * swing, 4 - 26 * v * swing),
        knee=(6 + 48 * v * bend, 6 + 48 * v * other),
        shoulder=(-24 * v * swing, 24 * v * swing),
        elbow=(18 - 8 * swing, 18 + 8 * swing),
    )


def _run(phase_T: Doubles, v: float) -> _Posture:
    swing, bend = np.sin(phase_T), _half_wave(phase_T + math.pi + 0.5) ** 1.5
    other = _half_wave(phase_T + 0.5) ** 1.5
    return _Posture(
        hip=(16 + 42 * v * swing, 16 - 42 * v * swing),
        knee=(18 + 88 * v * bend, 18 + 88 * v * other),
        shoulder=(-42 * v * swing, 42 * v * swing),
        elbow=(85.0, 85.0),
        lean=12.0,
        lift=0.05 * v * _half_wave(2 * phase_T),
    )


def _jump(phase_T: Doubles, v: float) -> _Posture:
    crouch, flight = (1 - _half_wave(phase_T)) ** 2, _flight(phase_T)
    hip, knee = 62 * v * crouch, 8 + 100 * v * crouch + 20 * flight
    shoulder = -45 * crouch + 150 * v * flight
    return _Posture(
        hip=(hip, hip),
        knee=(knee, knee),
        shoulder=(shoulder, shoulder),
        lean=4 + 34 * v * crouch,
        lift=0.3 * v * flight,
    )


def _wave(phase_T: Doubles, v: float) -> _Posture:
    return _Posture(raised=(10.0, 125.0), waved=(0.0, 25 + 38 * v * np.sin(phase_T)), elbow=(12.0, 5.0))


def _squat(phase_T: Doubles, v: float) -> _Posture:
    down = _half_wave(phase_T)
    hip, knee = 88 * v * down, 4 + 104 * v * down
    return _Posture(hip=(hip, hip), knee=(knee, knee), shoulder=(82 * down, 82 * down), lean=2 + 32 * v * down)


def _kick(phase_T: Doubles, v: float) -> _Posture:
    out, back = np.maximum(0.0, np.sin(phase_T)) ** 2, np.maximum(0.0, -np.sin(phase_T)) ** 2
    return _Posture(
        hip=(0.0, 88 * v * out - 28 * back),
        knee=(6.0, 6 + 70 * back),
        shoulder=(45 * v * out - 20 * back, -35 * v * out + 20 * back),
        elbow=(35.0, 35.0),
        lean=2 - 14 * v * out + 8 * back,
    )


def _bow(phase_T: Doubles, v: float) -> _Posture:
    down = _half_wave(phase_T)
    hip = -8 * down
    return _Posture(hip=(hip, hip), lean=2 + 72 * v * down, nod=14 * down, shoulder=(18 * down, 18 * down))


def _jumping_jack(phase_T: Doubles, v: float) -> _Posture:
    out = _half_wave(phase_T)
    spread, raised = 5 + 26 * v * out, 12 + 145 * min(v, 1.1) * out
    return _Posture(
        spread=(spread, spread), raised=(raised, raised), elbow=(8.0, 8.0), lift=0.05 * v * np.abs(np.sin(phase_T))
    )


POSTURES: dict[Action, Callable[[Doubles, float], _Posture]] = {
    "walk": _walk, "run": _run, "jump": _jump, "wave": _wave,
    "squat": _squat, "kick": _kick, "bow": _bow, "jumping-jack": _jumping_jack,
}  # fmt: skip


class Figures(Generator[FiguresParams]):
    """Articulated figures that walk, run, jump, wave, squat, kick, bow and do jumping jacks.

    Joints by forward kinematics in three dimensions, limbs as textured capsules; every figure is one layer with one box
    and one action, and the motion of its limbs is exact.
    """

    Params = FiguresParams

    @property
    def max_objects(self) -> int:
        """Most figures of a clip."""
        return self.params.num_figures[1]

    @property
    def label_specs(self) -> Mapping[str, LabelSpec]:
        """What every figure does, how it is turned, and where it goes."""
        return {
            "action": LabelSpec("what the figure does", "class", "object", classes=ACTIONS),
            "facing": LabelSpec("where the figure looks", "class", "object", classes=FACINGS),
            "cycle": LabelSpec("length of one cycle of the action", "number", "object", unit="frames"),
            "direction": LabelSpec("Direction from first to last place", "class", "object", classes=DIRECTIONS),
            "speed": LabelSpec("Mean speed of the centre", "number", "object", unit="px/frame"),
            "num_objects": LabelSpec("Number of objects", "number", "clip"),
        }

    def sample(self, *, rng: np.random.Generator) -> Scene:
        """Sample a background, and figures with their actions, looks and places."""
        canvas, params = self.context.canvas, self.params
        background = sample_background(params.background, canvas, self.context.assets, rng=rng)
        count = int(rng.integers(params.num_figures[0], params.num_figures[1] + 1))
        # Lower on the canvas means nearer: painted later.
        floor_K = np.sort(rng.uniform(0.72, 1.02, count)) * canvas.height
        figures = [self._sample_figure(floor, rng) for floor in floor_K.tolist()]
        return Scene(
            canvas=canvas,
            background=background.image,
            camera_T33=background.camera_T33,
            background_id=background.asset_id,
            layers=tuple(one.limbs.layer(canvas.height, canvas.width, one.action) for one in figures),
            labels=_labels(figures),
        )

    def _sample_figure(self, floor_px: float, rng: np.random.Generator) -> _Figure:
        canvas, params = self.context.canvas, self.params
        action, vigour = choose(params.action, rng=rng), rng.uniform(*params.vigour)
        height_px = rng.uniform(*params.height_px) * min(canvas.height, canvas.width) / REFERENCE_SIDE_PX
        cycle = rng.uniform(*params.cycle_frames) * CYCLE_FACTORS.get(action, 1.0)
        time_T = np.arange(canvas.num_frames)
        posture = POSTURES[action](2 * math.pi * (time_T / cycle + rng.random()), vigour)
        turn = math.radians(rng.uniform(-params.turn_deg, params.turn_deg))
        turn += math.pi / 2 if action in FRONTAL else math.pi * int(rng.integers(2))
        joints_TJ3 = _joints(posture, canvas.num_frames)
        forwards_T = _speed(action, vigour, cycle) * (time_T - (canvas.num_frames - 1) / 2)
        joints_TJ3[..., 0] += forwards_T[:, None]
        across_TJ, depth_TJ = _turned(joints_TJ3, turn)
        middle_px = rng.uniform(0.2, 0.8) * canvas.width
        place_TJ2 = np.stack([middle_px + height_px * across_TJ, floor_px - height_px * joints_TJ3[..., 1]], axis=-1)
        ends_L2 = np.array([ends for _, ends, _ in LIMBS])
        limbs = Limbs(
            place_TJ2[:, ends_L2[:, 0]],
            place_TJ2[:, ends_L2[:, 1]],
            np.array([radii for _, _, radii in LIMBS]) * height_px,
            depth_TJ[:, ends_L2].mean(axis=-1) + np.array([DEPTH_BONUS.get(cloth, 0.0) for cloth, _, _ in LIMBS]),
            _sample_clothes(height_px, rng),
        )
        return _Figure(action, _facing(turn), cycle, limbs, place_TJ2[:, PELVIS])


@dataclass(frozen=True, eq=False)
class _Figure:
    action: Action
    facing: str
    cycle: float
    limbs: Limbs
    centre_T2: Doubles


# Joints, in the order of ``_joints``: pelvis, neck, head's lower and upper end; then left and right of each pair.
PELVIS, CHEST, CHIN, CROWN = range(4)
SHOULDERS, ELBOWS, HANDS, HIPS, KNEES, ANKLES, TOES = ((4 + 2 * n, 5 + 2 * n) for n in range(7))
# What covers a limb, its two joints, and its radii there.
LIMBS: tuple[tuple[str, tuple[int, int], tuple[float, float]], ...] = (
    ("shirt", (PELVIS, CHEST), (0.066, 0.06)),
    ("shirt", SHOULDERS, (0.042, 0.042)),
    ("trousers", HIPS, (0.06, 0.06)),
    ("head", (CHIN, CROWN), (0.05, 0.058)),
    *(("shirt", (SHOULDERS[n], ELBOWS[n]), (0.036, 0.031)) for n in (0, 1)),
    *(("arm", (ELBOWS[n], HANDS[n]), (0.031, 0.024)) for n in (0, 1)),
    *(("trousers", (HIPS[n], KNEES[n]), (0.055, 0.042)) for n in (0, 1)),
    *(("trousers", (KNEES[n], ANKLES[n]), (0.042, 0.03)) for n in (0, 1)),
    *(("shoe", (ANKLES[n], TOES[n]), (0.032, 0.026)) for n in (0, 1)),
)
# The head lies before the shoulders, clothes before what they cover at a joint.
DEPTH_BONUS = {"head": 0.02, "shoe": -0.002}


def _limb(forwards: Doubles | float, sideways: Doubles | float, side: int, length: float, num_frames: int) -> Doubles:
    """Return the vectors (T, 3), forwards, up and to the right, of a limb that hangs down but for two angles in deg."""
    forwards_T, sideways_T = (np.radians(np.broadcast_to(angle, num_frames)) for angle in (forwards, sideways))
    return length * np.stack(
        [
            np.sin(forwards_T) * np.cos(sideways_T),
            -np.cos(forwards_T) * np.cos(sideways_T),
            side * np.sin(sideways_T),
        ],
        axis=1,
    )


def _joints(posture: _Posture, num_frames: int) -> Doubles:
    """Return all joints over a floor at 0, in body heights: forwards, up, to the right; float64 (T, J, 3)."""
    joints_TJ3 = np.zeros((num_frames, 18, 3))
    p = posture
    joints_TJ3[:, CHEST] = _limb(180 - np.asarray(p.lean), 0, 0, TORSO, num_frames)
    upwards = 180 - np.asarray(p.lean) - np.asarray(p.nod)
    joints_TJ3[:, CHIN] = joints_TJ3[:, CHEST] + _limb(upwards, 0, 0, NECK + 0.045, num_frames)
    joints_TJ3[:, CROWN] = joints_TJ3[:, CHIN] + _limb(upwards, 0, 0, HEAD - 0.04, num_frames)
    for n, side in ((0, -1), (1, 1)):
        joints_TJ3[:, SHOULDERS[n]] = joints_TJ3[:, CHEST] + (0, 0, side * SHOULDER_SIDE)
        arm = _limb(p.shoulder[n], p.raised[n], side, UPPER_ARM, num_frames)
        joints_TJ3[:, ELBOWS[n]] = joints_TJ3[:, SHOULDERS[n]] + arm
        bent, waved = np.asarray(p.shoulder[n]) + p.elbow[n], np.asarray(p.raised[n]) + p.waved[n]
        joints_TJ3[:, HANDS[n]] = joints_TJ3[:, ELBOWS[n]] + _limb(bent, waved, side, FOREARM, num_frames)
        joints_TJ3[:, HIPS[n]] = (0, 0, side * HIP_SIDE)
        thigh = _limb(p.hip[n], p.spread[n], side, THIGH, num_frames)
        joints_TJ3[:, KNEES[n]] = joints_TJ3[:, HIPS[n]] + thigh
        shin = np.asarray(p.hip[n]) - p.knee[n]
        joints_TJ3[:, ANKLES[n]] = joints_TJ3[:, KNEES[n]] + _limb(shin, p.spread[n], side, SHIN, num_frames)
        # The toes point 6 degrees down where the shin is upright; a foot turns by 0.6 of what its shin turns.
        joints_TJ3[:, TOES[n]] = joints_TJ3[:, ANKLES[n]] + _limb(84 + 0.6 * shin, 6, side, FOOT, num_frames)
    # The lower foot stands on the floor.
    soles_T = joints_TJ3[:, [*ANKLES, *TOES], 1].min(axis=1) - 0.03
    joints_TJ3[..., 1] += (np.broadcast_to(p.lift, num_frames) - soles_T)[:, None]
    return joints_TJ3


def _speed(action: Action, vigour: float, cycle: float) -> float:
    """Return how far a figure goes in a frame, in body heights: two steps a cycle, as long as its legs swing."""
    swing_deg = {"walk": 26.0, "run": 42.0}.get(action, 0.0) * vigour
    flight = 1.35 if action == "run" else 1.0
    return 2 * flight * 2 * (THIGH + SHIN) * math.sin(math.radians(swing_deg)) / cycle


def _turned(joints_TJ3: Doubles, turn_rad: float) -> tuple[Doubles, Doubles]:
    """Return how far right and how near joints lie, seen from the side and turned about the upright axis."""
    cosine, sine = math.cos(turn_rad), math.sin(turn_rad)
    forwards, sideways = joints_TJ3[..., 0], joints_TJ3[..., 2]
    return forwards * cosine - sideways * sine, forwards * sine + sideways * cosine


def _facing(turn_rad: float) -> str:
    """Return where a figure looks: to a side up to 60 degrees away from it, else towards the viewer or away."""
    cosine, sine = math.cos(turn_rad), math.sin(turn_rad)
    if abs(cosine) < 0.5:
        return "front" if sine > 0 else "back"
    return "right" if cosine > 0 else "left"


def _sample_clothes(height_px: float, rng: np.random.Generator) -> Pixels:
    """Draw a texture for every limb, uint8 (L, rows along it, columns across it, 3), about as fine as it is shown."""
    rows, columns = max(8, round(TEXTURE_LENGTH * height_px)), max(6, round(TEXTURE_WIDTH * height_px))
    size = (rows, columns, 3)
    shirt, trousers = (
        draw_texture(rows, columns, rng=rng) if rng.random() < 0.7 else np.full(size, sample_colour(rng=rng), np.uint8)
        for _ in range(2)
    )
    skin = np.clip(np.array([245, 205, 175]) * rng.uniform(0.25, 1.0) + rng.normal(0, 6, 3), 0, 255)
    hair = np.clip(np.array([120, 80, 45]) * rng.uniform(0.1, 1.6) + rng.normal(0, 8, 3), 0, 255)
    head, arm = np.full(size, skin, np.uint8), shirt.copy()
    head[int(rows * 0.55) :] = hair
    # Short sleeves, or hands that look out of long ones.
    arm[int(rows * 0.72) if rng.random() < 0.5 else 0 :] = head[0, 0]
    shoe = np.full(size, sample_colour(rng=rng) // 2, np.uint8)
    cloth = {"shirt": shirt, "trousers": trousers, "head": head, "arm": arm, "shoe": shoe}
    return np.stack([cloth[name] for name, _, _ in LIMBS])


def _labels(figures: list[_Figure]) -> dict[str, Label]:
    net_K2 = np.stack([one.centre_T2[-1] - one.centre_T2[0] for one in figures])
    steps_K = [np.linalg.norm(np.diff(one.centre_T2, axis=0), axis=1) for one in figures]
    return {
        "action": np.array([ACTIONS.index(one.action) for one in figures], np.int32),
        "facing": np.array([FACINGS.index(one.facing) for one in figures], np.int32),
        "cycle": np.array([one.cycle for one in figures], np.float32),
        "direction": np.array([direction_class(*net.tolist()) for net in net_K2], np.int32),
        "speed": np.array([steps.mean() if len(steps) else 0 for steps in steps_K], np.float32),
        "num_objects": len(figures),
    }
