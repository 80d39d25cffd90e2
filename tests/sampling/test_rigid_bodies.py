"""Rigid bodies: free fall and bounces by formula, conserved momentum, and rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from smile_synth.sampling.rigid_bodies import GRAVITY, Bodies, Flights, simulate
from smile_synth.sampling.solids import SolidShape, solid

FRAME_S = 1 / 16


def thrown(*places: tuple[float, float, float], shape: SolidShape = "sphere", **given: Any) -> Bodies:
    count, body = len(places), solid(shape).scaled(0.5)
    defaults = {
        "velocity_K3": np.zeros((count, 3)),
        "rotation_K33": np.tile(np.eye(3), (count, 1, 1)),
        "spin_K3": np.zeros((count, 3)),
    }
    return Bodies(
        position_K3=np.array(places, float),
        corners_KV3=np.tile(body.corners_V3, (count, 1, 1)),
        roundness_K=np.full(count, body.roundness),
        reach_K=np.full(count, 0.5),
        **{**defaults, **given},
    )


def run(bodies: Bodies, frames: int = 16, restitution: float = 0.7, friction: float = 0.3) -> Flights:
    return simulate(bodies, frames, FRAME_S, restitution=restitution, friction=friction)


def test_free_flight_is_a_parabola() -> None:
    velocity = np.array([[1.5, 2.0, -0.5]])
    flights = run(thrown((0, 9, 0), velocity_K3=velocity))
    time = np.arange(16)[:, None] * FRAME_S
    expected = np.array([0, 9, 0]) + velocity * time + np.array([0, -GRAVITY / 2, 0]) * time**2
    np.testing.assert_allclose(flights.position_TK3[:, 0], expected, atol=1e-9)
    assert flights.bounces_K[0] == 0


def test_a_ball_rises_after_a_bounce_to_the_share_that_restitution_says() -> None:
    flights = run(thrown((0, 1.5, 0)), frames=24, restitution=0.7, friction=0)
    height = flights.position_TK3[:, 0, 1] - 0.5
    bounced = int(np.argmin(height))
    # Speed after is 0.7 of speed before, height goes with its square; steps are 1/384 s.
    assert height[bounced:].max() == pytest.approx(0.49, abs=0.03)
    assert flights.bounces_K[0] >= 1
    assert (height > -0.02).all()


def test_a_free_body_turns_steadily_and_stays_rigid() -> None:
    spin = np.array([[0.3, -2.0, 1.1]])
    rotation_T33 = run(thrown((0, 30, 0), spin_K3=spin)).rotation_TK33[:, 0]
    np.testing.assert_allclose(
        rotation_T33 @ rotation_T33.transpose(0, 2, 1), np.tile(np.eye(3), (16, 1, 1)), atol=1e-9
    )
    turned = rotation_T33[1:] @ rotation_T33[:-1].transpose(0, 2, 1)
    angle = np.arccos((np.trace(turned, axis1=1, axis2=2) - 1) / 2)
    np.testing.assert_allclose(angle, np.linalg.norm(spin) * FRAME_S, rtol=1e-6)
    axis = np.stack(
        [turned[:, 2, 1] - turned[:, 1, 2], turned[:, 0, 2] - turned[:, 2, 0], turned[:, 1, 0] - turned[:, 0, 1]]
    )
    np.testing.assert_allclose(
        axis.T / np.linalg.norm(axis.T, axis=1, keepdims=True), np.repeat(spin, 15, 0) / np.linalg.norm(spin), atol=1e-6
    )


def test_equal_balls_that_meet_head_on_exchange_their_velocities() -> None:
    velocity = np.array([[2.0, 0, 0], [-1.0, 0, 0]])
    flights = run(thrown((-1, 20, 0), (1, 20, 0), velocity_K3=velocity), restitution=1.0)
    last = (flights.position_TK3[-1] - flights.position_TK3[-2]) / FRAME_S
    np.testing.assert_allclose(last[:, 0], [-1, 2], atol=1e-9)
    assert flights.collisions_K.tolist() == [1, 1]


@pytest.mark.parametrize(("drop", "restitution"), [(0.0, 0.7), (0.1, 0.0)])
def test_a_ball_that_comes_to_rest_on_another_collides_once(drop: float, restitution: float) -> None:
    flights = run(thrown((0, 0.5, 0), (0, 1.5 + drop, 0)), restitution=restitution)
    assert flights.collisions_K.tolist() == [1, 1]


def test_balls_that_part_and_meet_again_collide_again() -> None:
    # Without loss the upper ball rises to where it was: it falls 0.25 s, and every flight takes 0.49 s.
    flights = run(thrown((0, 0.5, 0), (0, 1.8, 0)), restitution=1.0)
    assert flights.collisions_K.tolist() == [2, 2]


@pytest.mark.parametrize("shape", ["cube", "cone", "octahedron"])
@pytest.mark.parametrize("turn_deg", [0, 10, 25, 40])
def test_corners_that_slap_down_while_another_stands_are_no_further_bounce(shape: SolidShape, turn_deg: float) -> None:
    cosine, sine = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    rotation = np.array([[[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]])
    # Without restitution no body leaves the floor again.
    flights = run(thrown((0, 1.5, 0), shape=shape, rotation_K33=rotation), frames=48, restitution=0.0, friction=0.6)
    assert flights.bounces_K.tolist() == [1]


def test_friction_makes_a_sliding_ball_roll() -> None:
    flights = run(thrown((0, 0.5, 0), velocity_K3=np.array([[2.0, 0, 0]])), frames=48, restitution=0, friction=0.5)
    speed = float((flights.position_TK3[-1] - flights.position_TK3[-2])[0, 0]) / FRAME_S
    # A solid ball that stops sliding keeps 5/7 of its speed, and turns by its way over its radius.
    assert speed == pytest.approx(2 * 5 / 7, rel=0.03)
    turned = flights.rotation_TK33[-1, 0] @ flights.rotation_TK33[-2, 0].T
    assert np.arccos((np.trace(turned) - 1) / 2) == pytest.approx(speed * FRAME_S / 0.5, rel=0.03)


@pytest.mark.parametrize("shape", ["cube", "prism", "cylinder", "pyramid"])
def test_a_tumbling_body_comes_to_rest_on_the_floor_and_not_in_it(shape: SolidShape) -> None:
    spin, velocity = np.array([[2.0, 1.0, 4.0]]), np.array([[1.0, 0, 0.4]])
    flights = run(
        thrown((0, 1.4, 0), shape=shape, spin_K3=spin, velocity_K3=velocity), frames=80, restitution=0.5, friction=0.6
    )
    corners = flights.position_TK3[:, 0, None] + np.einsum(
        "tij,nj->tni", flights.rotation_TK33[:, 0], solid(shape).scaled(0.5).corners_V3
    )
    assert corners[..., 1].min() > -0.03
    moved = np.linalg.norm(np.diff(flights.position_TK3[-12:, 0], axis=0), axis=1)
    assert moved.max() < 0.12
    # Energy only falls.
    assert flights.position_TK3[40:, 0, 1].max() < 1.0
