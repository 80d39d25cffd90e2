"""Paths, sizes and angles: the published statistics, and what holds for every draw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from smile_synth.randomness import stream
from smile_synth.sampling.keyframes import KeyFrameParams, sample_key_frames
from smile_synth.sampling.motion import DIRECTIONS, Motion, MotionParams, affine_pose, direction_class, sample_motion
from smile_synth.sampling.paths import PATH_KINDS
from smile_synth.scene import Canvas

# Quantiles of the published SMILE code (commit ba5c369) at 224 px, 16 frames; see tests/golden.
GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "motion_stats.json").read_text())
REFERENCE = Canvas(224, 224, 16)


def draw(path: str, count: int, canvas: Canvas = REFERENCE, seed: int = 0) -> list[Motion]:
    params, rng = MotionParams.model_validate({"path": path}), stream(seed, "test-motion", 0)
    return [sample_motion(params, canvas, rng=rng) for _ in range(count)]


def statistics(motions: list[Motion]) -> dict[str, Any]:
    steps = [np.hypot(*np.diff(m.centre_T2, axis=0).T) for m in motions]
    return {
        "speed": np.concatenate(steps),
        "w": [m.size_T2[0, 0] for m in motions],
        "h": [m.size_T2[0, 1] for m in motions],
        "cx0": [m.centre_T2[0, 0] for m in motions],
        "extent": [np.ptp(m.centre_T2, axis=0).max() for m in motions],
        "netdisp": [np.hypot(*m.displacement) for m in motions],
        "size_ratio": [m.size_change for m in motions],
    }


@pytest.mark.parametrize("path", ["gaussian", "linear"])
def test_statistics_agree_with_the_published_code(path: str) -> None:
    motions = draw(path, 8000)
    for name, values in statistics(motions).items():
        for quantile, published in GOLDEN[path][name].items():
            ours = np.mean(values) if quantile == "mean" else np.quantile(values, float(quantile))
            # A ratio has no pixels: it must agree within 5 %.
            allowance = 0.05 * published if name == "size_ratio" else max(0.05 * published, 1.5)
            assert abs(ours - published) <= allowance, f"{name} at {quantile}: {ours:.2f}, published {published}"


def test_rotation_agrees_with_the_published_code() -> None:
    turned = np.abs([m.rotation for m in draw("gaussian", 8000)])
    for quantile, published in GOLDEN["final_abs_rotation_deg"].items():
        assert abs(np.quantile(turned, float(quantile)) - published) <= max(0.05 * published, 1.5)


@pytest.mark.parametrize("path", PATH_KINDS)
def test_lengths_scale_with_the_canvas(path: str) -> None:
    small, large = draw(path, 50, Canvas(112, 112, 16)), draw(path, 50, Canvas(448, 448, 16))
    for a, b in zip(small, large, strict=True):
        np.testing.assert_allclose(4 * a.centre_T2, b.centre_T2, rtol=1e-9)
        np.testing.assert_allclose(4 * a.size_T2, b.size_T2, rtol=1e-9)
        np.testing.assert_array_equal(a.angle_T, b.angle_T)


@settings(deadline=None, max_examples=60)
@given(
    path=st.sampled_from(PATH_KINDS),
    height=st.integers(8, 400),
    width=st.integers(8, 400),
    num_frames=st.integers(1, 40),
    seed=st.integers(0, 2**32),
)
def test_every_canvas_gets_finite_motion_inside_it(
    path: str, height: int, width: int, num_frames: int, seed: int
) -> None:
    (motion,) = draw(path, 1, Canvas(height, width, num_frames), seed)
    assert motion.centre_T2.shape == motion.size_T2.shape == (num_frames, 2)
    assert motion.angle_T.shape == (num_frames,)
    assert np.isfinite(motion.pose_T6(20, 30)).all()
    if path != "curved":
        assert (motion.centre_T2 >= -1e-9).all()
        assert (motion.centre_T2 <= np.array([width, height]) + 1e-9).all()
    assert (motion.size_T2 > 0).all()


@pytest.mark.parametrize("path", ["curved", "bouncing"])
def test_speed_is_constant_between_bends(path: str) -> None:
    for motion in draw(path, 40):
        steps = np.hypot(*np.diff(motion.centre_T2, axis=0).T)
        assert np.quantile(steps, 0.9) < 1.15 * np.median(steps) + 0.2


def test_bouncing_objects_turn_back_inside_the_canvas() -> None:
    params = MotionParams.model_validate(
        {"path": "bouncing", "size": {"scales_px": (40,), "growth_per_frame": 0}, "bouncing": {"speed_px": (30, 30)}}
    )
    rng = stream(0, "test")
    turns = 0
    for _ in range(30):
        motion = sample_motion(params, Canvas(224, 224, 32), rng=rng)
        radius = np.hypot(*motion.size_T2[0]) / 2
        assert motion.centre_T2.min() >= motion.size_T2[0].min() / 2 - 1e-9
        assert motion.centre_T2.max() <= 224 - motion.size_T2[0].min() / 2 + 1e-9
        assert radius < 60
        turns += int((np.diff(np.sign(np.diff(motion.centre_T2, axis=0)), axis=0) != 0).sum())
    assert turns > 60


def test_key_frames_start_and_end_the_clip() -> None:
    rng = stream(0, "test")
    for num_frames in (1, 2, 3, 5, 16, 64):
        for _ in range(50):
            keys = sample_key_frames(num_frames, KeyFrameParams(), rng=rng)
            assert keys[0] == 0
            assert keys[-1] == num_frames - 1
            assert list(keys) == sorted(set(keys))


def test_directions_are_the_eight_compass_points_with_y_downwards() -> None:
    towards = {
        "right": (9, 0),
        "down": (0, 9),
        "left": (-9, 0),
        "up": (0, -9),
        "down-left": (-5, 5),
        "up-right": (5, -5),
    }
    for name, displacement in towards.items():
        assert DIRECTIONS[direction_class(*displacement)] == name
    assert direction_class(0.1, -0.2) == -1


def test_poses_put_the_middle_of_the_texture_on_the_path() -> None:
    motion = draw("linear", 1)[0]
    a, b, c, d, e, f = motion.pose_T6(10, 40).T
    np.testing.assert_allclose(a * 20 + b * 5 + c, motion.centre_T2[:, 0], atol=1e-3)
    np.testing.assert_allclose(d * 20 + e * 5 + f, motion.centre_T2[:, 1], atol=1e-3)
    np.testing.assert_allclose(np.hypot(a, d) * 40, motion.size_T2[:, 0], rtol=1e-4)
    np.testing.assert_allclose(np.hypot(b, e) * 10, motion.size_T2[:, 1], rtol=1e-4)


def test_positive_angles_turn_clockwise_on_the_screen() -> None:
    pose = affine_pose(np.zeros((1, 2)), np.ones((1, 2)), np.array([90.0]), 2, 2)[0]
    right_end = (pose[0] * 2 + pose[1] * 1 + pose[2], pose[3] * 2 + pose[4] * 1 + pose[5])
    np.testing.assert_allclose(right_end, (0, 1), atol=1e-6)


def test_keeping_the_aspect_keeps_it_through_the_clip() -> None:
    params = MotionParams.model_validate({"size": {"keep_aspect": True}})
    motion = sample_motion(params, REFERENCE, rng=stream(0, "test"), aspect=2.5)
    np.testing.assert_allclose(motion.size_T2[:, 0] / motion.size_T2[:, 1], 2.5)


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        (
            {"path": "linear", "curved": {"points": 5}},
            "curved has no effect where no path is 'curved': add it to 'path'",
        ),
        (
            {"size": {"keep_aspect": True, "aspects": [1.0]}},
            "aspects has no effect with keep_aspect: leave one of them out",
        ),
        ({"path": "bouncing", "bouncing": {"speed_px": [9, 3]}}, "runs from its lower to its higher end"),
        ({"gaussian": {"extent_px": [180, 40]}}, "runs from its lower to its higher end"),
        ({"key_frames": {"inner": [0, 0]}}, "not all 0"),
        ({"path": {}}, "at least 1 item"),
        ({"rotation_deg_per_frame": -1}, "greater than or equal to 0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(params: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        MotionParams.model_validate(params)
