"""Camera motion: steady, centred, and its labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.linalg import expm

from smile_synth.randomness import stream
from smile_synth.sampling.camera import CameraParams, _exponential, sample_camera, sample_camera_of, source_size
from smile_synth.scene import Canvas

CANVAS = Canvas(100, 140, 16)


def rng(n: int = 0) -> np.random.Generator:
    return stream(n, "test")


def at(homography_33: np.ndarray, x: float, y: float) -> np.ndarray:
    point = homography_33.astype(float) @ (x, y, 1)
    return point[:2] / point[2]


def test_the_exponential_is_the_matrix_exponential() -> None:
    flow_T33 = rng().normal(0, 0.3, (7, 3, 3))
    assert np.allclose(_exponential(flow_T33), [expm(flow) for flow in flow_T33], atol=1e-9)


def test_a_still_camera_is_none() -> None:
    assert sample_camera_of(CameraParams(), CANVAS, rng=rng()) is None


@pytest.mark.parametrize("motion", ["slide", "zoom", "rotate", "affine", "perspective"])
def test_motion_is_the_same_step_again_and_again(motion: str) -> None:
    camera = sample_camera([motion], CANVAS, strength=1, rng=rng())
    homography_T33 = camera.homography_T33.astype(float)
    steps = homography_T33[1:] @ np.linalg.inv(homography_T33[:-1])
    steps /= steps[:, 2:, 2:]
    assert np.allclose(steps, steps[0], atol=2e-3)
    assert not np.allclose(steps[0], np.eye(3), atol=1e-5)


def test_the_middle_of_the_image_is_on_the_middle_of_the_canvas_halfway() -> None:
    camera = sample_camera(["zoom", "rotate"], CANVAS, strength=1, rng=rng())
    height, width = source_size(CANVAS)
    for homography_33 in camera.homography_T33:
        assert at(homography_33, width / 2, height / 2) == pytest.approx((70, 50), abs=1e-3)


def test_figures_say_what_the_homographies_do() -> None:
    height, width = source_size(CANVAS)
    slide = sample_camera(["slide"], CANVAS, strength=1, rng=rng(1))
    step = at(slide.homography_T33[8], width / 2, height / 2) - at(slide.homography_T33[7], width / 2, height / 2)
    assert step == pytest.approx(slide.shift_px_per_frame, abs=1e-3)
    zoom = sample_camera(["zoom"], CANVAS, strength=1, rng=rng(2))
    assert zoom.homography_T33[5, 0, 0] / zoom.homography_T33[4, 0, 0] == pytest.approx(zoom.zoom_per_frame, rel=1e-4)
    turn = sample_camera(["rotate"], CANVAS, strength=1, rng=rng(3)).homography_T33
    angle = [math.degrees(math.atan2(h[1, 0], h[0, 0])) for h in turn]
    expected = sample_camera(["rotate"], CANVAS, strength=1, rng=rng(3)).rotation_deg_per_frame
    assert np.diff(angle) == pytest.approx(np.full(15, expected), abs=1e-3)


def test_long_clips_stay_on_the_image() -> None:
    camera = sample_camera(["zoom", "slide", "perspective"], Canvas(64, 64, 300), strength=2, rng=rng())
    assert np.isfinite(camera.homography_T33).all()
    assert 0.3 < camera.homography_T33[0, 0, 0] / camera.homography_T33[-1, 0, 0] < 3


def test_shake_neither_drifts_nor_repeats() -> None:
    camera = sample_camera(["shake"], Canvas(100, 100, 400), strength=1, rng=rng())
    x_T = camera.homography_T33[:, 0, 2]
    assert camera.shift_px_per_frame == (0, 0)
    assert 0.3 < np.diff(x_T).std() < 3
    assert abs(x_T[:200].mean() - x_T[200:].mean()) < 1
