"""Solids: rays that hit what a search along them finds, faces that close, and corners on the surface."""

from __future__ import annotations

import numpy as np
import pytest

from smile_synth.sampling.solids import SOLID_SHAPES, Solid, SolidShape, cast, hide_behind, solid

SIDE = 48


def is_inside(body: Solid, points_N3: np.ndarray) -> np.ndarray:
    """Say by definition which points lie in a solid."""
    a, b, c, e, f = body.quadric_5
    x, y, z = points_N3.T
    quadric = a * x**2 + b * (y - e) ** 2 + c * z**2 <= f + 1e-9
    planes = (points_N3 @ body.planes_P4[:, :3].T <= body.planes_P4[:, 3] + 1e-9).all(axis=1)
    return np.asarray(planes & (quadric | (not body.quadric_5.any())))


def turned(angle_y: float, angle_x: float) -> np.ndarray:
    cy, sy, cx, sx = np.cos(angle_y), np.sin(angle_y), np.cos(angle_x), np.sin(angle_x)
    return np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]) @ np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])


def drawn(body: Solid, rotation_33: np.ndarray, pattern: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a body four metres away; return texture, points and depth of its one frame."""
    texture, points = np.zeros((1, SIDE, SIDE, 4), np.uint8), np.full((1, SIDE, SIDE, 3), np.nan, np.float32)
    depth = np.full((1, SIDE, SIDE), np.inf, np.float32)
    view = rotation_33.T @ np.array([[1 / 80, 0, -SIDE / 160], [0, 1 / 80, -SIDE / 160], [0, 0, 1]])
    vectors = (np.array([[0.6, 0.8, 0], [0, 1, 0]]) @ rotation_33)[None]
    look = np.array([200.0, 100, 50, 20, 30, 40, pattern, 3, 0])
    cast(
        texture, points, depth, np.zeros((1, 2), np.int64), np.full((1, 2), SIDE), np.ascontiguousarray(view[None]),
        np.ascontiguousarray((rotation_33.T @ np.array([0, 0, -4.0]))[None]), body.planes_P4, body.quadric_5,
        np.ascontiguousarray(vectors), look,
    )  # fmt: skip
    return texture[0], points[0], depth[0]


@pytest.mark.parametrize("shape", SOLID_SHAPES)
@pytest.mark.parametrize("angles", [(0.3, 0.5), (2.0, -1.1), (4.4, 1.5), (1.0, 3.0)])
def test_a_ray_hits_where_a_search_along_it_first_finds_the_solid(
    shape: SolidShape, angles: tuple[float, float]
) -> None:
    body, rotation = solid(shape), turned(*angles)
    texture, points, depth = drawn(body, rotation)
    steps = np.linspace(2.5, 5.5, 3001)
    for row, column in np.random.default_rng(0).integers(0, SIDE, (60, 2)):
        ray = np.array([(column + 0.5 - SIDE / 2) / 80, (row + 0.5 - SIDE / 2) / 80, 1])
        along_N3 = (np.array([0, 0, -4.0]) + steps[:, None] * ray) @ rotation
        found = np.flatnonzero(is_inside(body, along_N3))
        if len(found) > 2:
            assert depth[row, column] == pytest.approx(steps[found[0]], abs=0.003)
            np.testing.assert_allclose(points[row, column], along_N3[found[0]], atol=0.006)
            assert texture[row, column, 3] > 0
        elif len(found) == 0:
            # Four rays to a pixel at an edge may hit where the middle does not.
            assert texture[row, column, 3] <= 191


@pytest.mark.parametrize("shape", SOLID_SHAPES)
def test_corners_lie_on_the_solid_and_reach_the_unit_ball(shape: SolidShape) -> None:
    body = solid(shape)
    if body.roundness:
        return
    assert is_inside(body, body.corners_V3).all()
    assert not is_inside(body, body.corners_V3 * 1.01).any()
    assert np.linalg.norm(body.corners_V3, axis=1).max() == pytest.approx(1, abs=1e-9)


def test_scaling_scales_every_part() -> None:
    points = np.random.default_rng(1).uniform(-1, 1, (500, 3))
    for shape in SOLID_SHAPES:
        body = solid(shape)
        np.testing.assert_array_equal(is_inside(body, points), is_inside(body.scaled(0.3), points * 0.3))


def test_faces_to_the_light_are_brighter() -> None:
    texture, _, _ = drawn(solid("cube"), turned(np.pi / 4, 0))
    middle = SIDE // 2
    # The light comes from the right: of the two faces that are seen, that one is lit.
    assert texture[middle, middle + 8, 0] > 1.5 * texture[middle, middle - 8, 0]


@pytest.mark.parametrize("pattern", [1, 2, 3])
def test_patterns_show_both_colours(pattern: int) -> None:
    texture, _, _ = drawn(solid("sphere"), turned(0.2, 0.3), pattern)
    inside = texture[..., 3] == 255
    is_red = texture[..., 0] > texture[..., 2]
    assert 0.1 < is_red[inside].mean() < 0.95


def test_what_lies_nearer_hides_what_is_painted_later() -> None:
    near, far = drawn(solid("sphere"), np.eye(3)), drawn(solid("cube"), np.eye(3))
    cube = far[0][None].copy()
    corner, depth = np.zeros((1, 2), np.int64), far[2][None] + np.float32(2)
    hide_behind(cube, depth, corner, near[0][None], near[2][None], corner)
    assert (cube[0, ..., 3][near[0][..., 3] == 255] == 0).all()
    untouched = near[0][..., 3] == 0
    np.testing.assert_array_equal(cube[0][untouched], far[0][untouched])
