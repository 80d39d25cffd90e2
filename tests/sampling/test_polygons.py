"""Polygons: inside the unit circle, without needles, with smooth edges and their middle in the middle."""

from __future__ import annotations

import math

import numpy as np
import pytest

from smile_synth.randomness import stream
from smile_synth.sampling.polygons import capsule_points, circle_points, cut, filled_alpha, sample_polygon


@pytest.mark.parametrize("corners", [3, 4, 8])
def test_corners_lie_apart_on_the_unit_circle(corners: int) -> None:
    for n in range(30):
        points = sample_polygon(corners, rng=stream(n, "polygon"))
        assert np.allclose(np.linalg.norm(points, axis=1), 1)
        gaps = np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1)
        assert gaps.min() > 0.3


@pytest.mark.parametrize("radius", [2.0, 10.0, 33.3])
def test_a_disc_has_the_area_of_its_radius_and_sits_in_the_middle(radius: float) -> None:
    alpha = filled_alpha(circle_points(), radius).astype(float) / 255
    assert alpha.sum() == pytest.approx(math.pi * radius**2, rel=0.25 if radius < 5 else 0.04)
    rows, columns = np.indices(alpha.shape) + 0.5
    middle = len(alpha) / 2
    assert (alpha * rows).sum() / alpha.sum() == pytest.approx(middle, abs=0.1)
    assert (alpha * columns).sum() / alpha.sum() == pytest.approx(middle, abs=0.1)
    assert not alpha[0].any()
    assert not alpha[:, -1].any()
    assert len(np.unique(alpha)) > 4


def test_a_capsule_is_long_and_thin() -> None:
    rows, columns = np.nonzero(filled_alpha(capsule_points(0.2), 40))
    assert np.ptp(columns) > 4 * np.ptp(rows)


def test_cutting_puts_a_picture_or_a_colour_under_the_alpha() -> None:
    alpha = filled_alpha(circle_points(), 3)
    texture = cut(np.array([1, 2, 3], np.uint8), alpha)
    assert (texture[..., :3] == (1, 2, 3)).all()
    assert (texture[..., 3] == alpha).all()
