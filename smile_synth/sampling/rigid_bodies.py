"""Rigid bodies that fall, bounce, roll and tumble on a floor, and push each other away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from smile_synth.machine.compiled import entry_point, inlined

GRAVITY = 9.81
# Steps between two frames; each is exact for a body in free flight.
STEPS_PER_FRAME = 24
# Slower than this, in m/s, a body does not bounce but comes to rest.
REST_SPEED = 0.35
# A contact faster than this counts as a bounce.
BOUNCE_SPEED = 0.6
# Bodies that part for fewer steps than this have not parted: what rests on something presses and lets go in turn.
STEPS_APART = 6
CONTACT_ROUNDS = 2
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Bodies:
    """Bodies at the beginning; metres, seconds and radians, y upwards, the floor at y = 0.

    Args:
        position_K3, velocity_K3: of the centres.
        rotation_K33: body to world.
        spin_K3: angular velocity.
        corners_KV3: what touches the floor, about the centre; NaN in unused rows, the last ones.
        roundness_K: every corner is a ball of this radius: a sphere is one corner at its centre.
        reach_K: radius of the sphere by which bodies push each other away.
    """

    position_K3: Doubles
    velocity_K3: Doubles
    rotation_K33: Doubles
    spin_K3: Doubles
    corners_KV3: Doubles
    roundness_K: Doubles
    reach_K: Doubles


@dataclass(frozen=True, eq=False)
class Flights:
    """Where bodies are in every frame.

    Args:
        position_TK3: of the centres.
        rotation_TK33: body to world.
        bounces_K: int64; contacts with the floor after a flight, however many corners take part.
        collisions_K: int64; contacts with other bodies, however long each lasts.
    """

    position_TK3: Doubles
    rotation_TK33: Doubles
    bounces_K: npt.NDArray[np.int64]
    collisions_K: npt.NDArray[np.int64]


def simulate(
    bodies: Bodies, num_frames: int, seconds_per_frame: float, *, restitution: float, friction: float
) -> Flights:
    """Let bodies move under gravity.

    Every body has the inertia of a ball of its reach, and weighs what that ball weighs.

    Args:
        bodies: at the first frame.
        num_frames: how many frames.
        seconds_per_frame: time between two.
        restitution: speed after a bounce over speed before it, 0 to 1.
        friction: largest tangential over normal force.
    """
    count = len(bodies.position_K3)
    flights = Flights(
        np.empty((num_frames, count, 3)),
        np.empty((num_frames, count, 3, 3)),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
    )
    move(
        flights.position_TK3, flights.rotation_TK33, flights.bounces_K, flights.collisions_K,
        bodies.position_K3.copy(), bodies.velocity_K3.copy(), bodies.rotation_K33.copy(), bodies.spin_K3.copy(),
        np.ascontiguousarray(bodies.corners_KV3), bodies.roundness_K, bodies.reach_K,
        np.array([seconds_per_frame / STEPS_PER_FRAME, restitution, friction]),
    )  # fmt: skip
    return flights


@inlined
def _turn(rotation_33: Any, spin_3: Any, seconds: float) -> None:
    """Turn a body by its angular velocity (Rodrigues' formula)."""
    x, y, z = spin_3[0] * seconds, spin_3[1] * seconds, spin_3[2] * seconds
    angle = np.sqrt(x * x + y * y + z * z)
    if angle < 1e-12:
        return
    x, y, z = x / angle, y / angle, z / angle
    cosine, sine = np.cos(angle), np.sin(angle)
    for j in range(3):
        a, b, c = rotation_33[0, j], rotation_33[1, j], rotation_33[2, j]
        along = (x * a + y * b + z * c) * (1.0 - cosine)
        rotation_33[0, j] = a * cosine + (y * c - z * b) * sine + x * along
        rotation_33[1, j] = b * cosine + (z * a - x * c) * sine + y * along
        rotation_33[2, j] = c * cosine + (x * b - y * a) * sine + z * along


@inlined
def _touch(velocity_3: Any, spin_3: Any, arm_3: Any, inertia: float, restitution: float, friction: float) -> float:
    """Let one point of a body of mass 1 touch the floor; return the speed at which it came."""
    x, y, z = arm_3[0], arm_3[1], arm_3[2]
    down = velocity_3[1] + spin_3[2] * x - spin_3[0] * z
    if down >= 0.0:
        return 0.0
    bounce = restitution if down < -REST_SPEED else 0.0
    push = -(1.0 + bounce) * down / (1.0 + (x * x + z * z) / inertia)
    velocity_3[1] += push
    spin_3[0] -= z * push / inertia
    spin_3[2] += x * push / inertia
    # Friction at the point, as much as stops it and no more than the push allows.
    slide_x = velocity_3[0] + spin_3[1] * z - spin_3[2] * y
    slide_z = velocity_3[2] + spin_3[0] * y - spin_3[1] * x
    slide = np.sqrt(slide_x * slide_x + slide_z * slide_z)
    if slide > 1e-9:
        ex, ez = slide_x / slide, slide_z / slide
        # arm x e, with e along the slide.
        tx, ty, tz = y * ez, z * ex - x * ez, -y * ex
        drag = min(friction * push, slide / (1.0 + (tx * tx + ty * ty + tz * tz) / inertia))
        velocity_3[0] -= ex * drag
        velocity_3[2] -= ez * drag
        spin_3[0] -= tx * drag / inertia
        spin_3[1] -= ty * drag / inertia
        spin_3[2] -= tz * drag / inertia
    return float(-down)


@inlined
def _land(
    position_3: Any, velocity_3: Any, rotation_33: Any, spin_3: Any, corners_V3: Any, roundness: float, inertia: float,
    restitution: float, friction: float,
) -> float:  # fmt: skip
    """Keep one body above the floor; return the greatest speed at which a point touched it, -1 where none did."""
    arm_3 = np.empty(3)
    lowest, fastest = 0.0, -1.0
    for rounds in range(CONTACT_ROUNDS):
        for n in range(len(corners_V3)):
            if corners_V3[n, 0] != corners_V3[n, 0]:
                break
            for i in range(3):
                arm_3[i] = (
                    rotation_33[i, 0] * corners_V3[n, 0]
                    + rotation_33[i, 1] * corners_V3[n, 1]
                    + rotation_33[i, 2] * corners_V3[n, 2]
                )
            arm_3[1] -= roundness
            height = position_3[1] + arm_3[1]
            if height <= 0.0:
                speed = _touch(velocity_3, spin_3, arm_3, inertia, restitution, friction)
                fastest = max(fastest, speed)
                if rounds == 0:
                    lowest = min(lowest, height)
    position_3[1] -= lowest
    return fastest


@inlined
def _collide(position_K3: Any, velocity_K3: Any, i: int, j: int, reach_K: Any, restitution: float) -> bool:
    """Let two bodies push each other away as balls; return whether they touch."""
    x, y, z = (
        position_K3[j, 0] - position_K3[i, 0],
        position_K3[j, 1] - position_K3[i, 1],
        position_K3[j, 2] - position_K3[i, 2],
    )
    apart = np.sqrt(x * x + y * y + z * z)
    if apart >= reach_K[i] + reach_K[j] or apart < 1e-9:
        return False
    x, y, z = x / apart, y / apart, z / apart
    nearing = (
        (velocity_K3[i, 0] - velocity_K3[j, 0]) * x
        + (velocity_K3[i, 1] - velocity_K3[j, 1]) * y
        + (velocity_K3[i, 2] - velocity_K3[j, 2]) * z
    )
    if nearing <= 0.0:
        return True
    first, second = reach_K[i] ** 3, reach_K[j] ** 3
    push = (1.0 + restitution) * nearing * first * second / (first + second)
    for k, part in ((0, x), (1, y), (2, z)):
        velocity_K3[i, k] -= push * part / first
        velocity_K3[j, k] += push * part / second
    return True


@entry_point(
    "void(float64[:,:,::1], float64[:,:,:,::1], int64[::1], int64[::1], float64[:,::1], float64[:,::1],"
    "float64[:,:,::1], float64[:,::1], float64[:,:,::1], float64[::1], float64[::1], float64[::1])"
)
def move(
    position_TK3: Doubles,
    rotation_TK33: Doubles,
    bounces_K: npt.NDArray[np.int64],
    collisions_K: npt.NDArray[np.int64],
    position_K3: Doubles,
    velocity_K3: Doubles,
    rotation_K33: Doubles,
    spin_K3: Doubles,
    corners_KV3: Doubles,
    roundness_K: Doubles,
    reach_K: Doubles,
    settings_3: Doubles,
) -> None:
    """Move bodies step by step, and write where they are in every frame; see ``Bodies`` and ``Flights``."""
    seconds, restitution, friction = settings_3
    count = len(position_K3)
    # Steps since two bodies touched each other, and since one touched the floor.
    apart_KK, aloft_K = np.full((count, count), STEPS_APART), np.full(count, STEPS_APART)
    for t in range(len(position_TK3)):
        for _ in range(STEPS_PER_FRAME if t > 0 else 0):
            for k in range(count):
                for i in range(3):
                    position_K3[k, i] += velocity_K3[k, i] * seconds
                position_K3[k, 1] -= GRAVITY * seconds * seconds / 2.0
                velocity_K3[k, 1] -= GRAVITY * seconds
                _turn(rotation_K33[k], spin_K3[k], seconds)
            for i in range(count):
                for j in range(i + 1, count):
                    apart_KK[i, j] += 1
                    if _collide(position_K3, velocity_K3, i, j, reach_K, restitution):
                        begins = 1 if apart_KK[i, j] > STEPS_APART else 0
                        collisions_K[i] += begins
                        collisions_K[j] += begins
                        apart_KK[i, j] = 0
            for k in range(count):
                speed = _land(
                    position_K3[k], velocity_K3[k], rotation_K33[k], spin_K3[k], corners_KV3[k], roundness_K[k],
                    0.4 * reach_K[k] * reach_K[k], restitution, friction,
                )  # fmt: skip
                aloft_K[k] += 1
                if speed >= 0.0:
                    bounces_K[k] += 1 if speed > BOUNCE_SPEED and aloft_K[k] > STEPS_APART else 0
                    aloft_K[k] = 0
        position_TK3[t], rotation_TK33[t] = position_K3, rotation_K33
