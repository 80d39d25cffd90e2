"""Surfaces: what they refuse, and the truth that comes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from smile_synth.errors import SceneError
from smile_synth.render import render, tracks, truth
from smile_synth.scene import Canvas, Layer, Scene, Surface
from smile_synth.testing.contract import surface_distances

T, H, W = 4, 16, 24
FLAT = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]], np.float32)


def points(frames: int = T, height: int = H, width: int = W) -> np.ndarray:
    """Return points that lie on the middles of their pixels."""
    y, x = np.indices((height, width), dtype=np.float32) + np.float32(0.5)
    return np.tile(np.stack([x, y, np.zeros_like(x)], axis=2), (frames, 1, 1, 1))


def surface(**changed: Any) -> Surface:
    given = {
        "points_THW3": points(),
        "parts_THW": np.zeros((T, H, W), np.uint8),
        "projections_PT34": np.tile(FLAT, (1, T, 1, 1)),
    }
    return Surface(**{**given, **changed})


def layer(surface: Surface | None, frames: int = T) -> Layer:
    pose = np.tile(np.float32([1, 0, 0, 0, 1, 0]), (frames, 1))
    return Layer(np.full((frames, H, W, 4), 255, np.uint8), pose, np.ones(frames, np.float32), surface=surface)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"points_THW3": points().astype(np.float64)}, "points must be float32"),
        ({"points_THW3": points()[..., :2]}, "points must be float32"),
        ({"parts_THW": np.zeros((T, H, W), np.int64)}, "parts must be uint8"),
        ({"parts_THW": np.zeros((T, H, W + 1), np.uint8)}, "parts must be uint8"),
        ({"parts_THW": np.full((T, H, W), 1, np.uint8)}, "1 projections has no part 1"),
        ({"projections_PT34": np.zeros((1, T, 3, 3), np.float32)}, r"projections must be float32 \(P, T, 3, 4\)"),
        ({"projections_PT34": np.full((1, T, 3, 4), np.nan, np.float32)}, "must be finite"),
    ],
)
def test_a_surface_that_is_not_one_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SceneError, match=message):
        surface(**changed)


def test_a_surface_must_belong_to_an_animated_picture_of_its_size() -> None:
    still = np.zeros((H, W, 4), np.uint8)
    with pytest.raises(SceneError, match="leave the surface out"):
        Layer(still, np.zeros((T, 6), np.float32), np.ones(T, np.float32), surface=surface())
    with pytest.raises(SceneError, match="16 x 24 points in 1 or 4 frames"):
        layer(surface(points_THW3=points(T, H, 8), parts_THW=np.zeros((T, H, 8), np.uint8)))
    with pytest.raises(SceneError, match="projections of 5"):
        layer(surface(points_THW3=points(1), parts_THW=np.zeros((1, H, W), np.uint8)), frames=5)
    film, camera = np.zeros((T, H, W, 3), np.uint8), np.tile(np.eye(3, dtype=np.float32), (T, 1, 1))
    with pytest.raises(SceneError, match="has no camera"):
        Scene(Canvas(H, W, T), film, camera, background_surface=surface())


def turning() -> tuple[Scene, np.ndarray]:
    """Return two parts side by side, of which the right one turns about its middle; and how it turns."""
    angle = 0.1 * np.arange(T)
    parts = np.zeros((T, H, W), np.uint8)
    parts[:, :, 12:] = 1
    turn_T34 = np.tile(FLAT, (T, 1, 1))
    turn_T34[:, 0, :2] = np.stack([np.cos(angle), -np.sin(angle)], axis=1)
    turn_T34[:, 1, :2] = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    turn_T34[:, :2, 3] = np.array([18, 8]) - np.einsum("tij,j->ti", turn_T34[:, :2, :2], np.array([18, 8]))
    # Every frame shows the part where it then is.
    shown = points()
    y, x = np.indices((H, W)) + 0.5
    for t in range(T):
        back = np.linalg.inv(np.vstack([turn_T34[t][:, [0, 1, 3]][:2], [0, 0, 1]]))
        there = np.einsum("ij,jhw->hwi", back, np.stack([x, y, np.ones_like(x)]))[..., :2]
        shown[t, :, 12:, :2] = there[:, 12:]
    made = surface(points_THW3=shown, parts_THW=parts, projections_PT34=np.stack([np.tile(FLAT, (T, 1, 1)), turn_T34]))
    return Scene(Canvas(H, W, T), np.zeros((H, W, 3), np.uint8), layers=(layer(made),)), turn_T34


def test_flow_both_ways_motion_and_tracks_are_those_of_the_parts() -> None:
    scene, turn_T34 = turning()
    known, motion = truth(scene), render(scene, motion_cell_px=8).motion_THW2
    assert motion is not None
    assert (known.flow_forward_THW2[:-1, :, :12] == 0).all()
    for t, step in ((0, 1), (2, 1), (2, -1)):
        flow = known.flow_forward_THW2 if step == 1 else known.flow_backward_THW2
        relative = (turn_T34[t + step][:2, :2] @ turn_T34[t][:2, :2].T) - np.eye(2)
        y, x = np.indices((H, W)) + 0.5
        expected = np.einsum("ij,jhw->hwi", relative, np.stack([x - 18, y - 8]))
        np.testing.assert_allclose(flow[t, :, 12:], expected[:, 12:], atol=1e-4)
    np.testing.assert_allclose(motion[:-1, :, 0], 0)
    cells = known.flow_forward_THW2[:-1].reshape(T - 1, 2, 8, 3, 8, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(motion[:-1], cells, atol=1 / 256)
    found = tracks(scene, [[0, 20.5, 8.5], [0, 4.5, 3.5]])
    np.testing.assert_allclose(found.points_NT2[1], [[4.5, 3.5]] * T)
    arm = np.einsum("tij,j->ti", turn_T34[:, :2, :2], np.array([2.5, 0.5])) + np.array([18, 8])
    np.testing.assert_allclose(found.points_NT2[0], arm, atol=1e-4)
    assert found.is_visible_NT.all()


def test_a_point_is_hidden_where_its_pixel_shows_another_part() -> None:
    scene, _ = turning()
    made = scene.layers[0].surface
    assert made is not None
    parts = made.parts_THW.copy()
    # From frame 2 on the left part is covered by the right one, which shows points of its own.
    parts[2:, :, :12] = 1
    covered = Surface(made.points_THW3, parts, made.projections_PT34)
    hidden = Scene(scene.canvas, scene.background, layers=(layer(covered),))
    found = tracks(hidden, [[0, 4.5, 3.5]])
    assert found.is_visible_NT[0].tolist() == [True, True, False, False]


def test_a_background_that_changes_but_stays_has_no_motion_and_one_that_slides_has() -> None:
    film = np.random.default_rng(0).integers(0, 256, (T, H, W, 3), np.uint8)
    still = Scene(
        Canvas(H, W, T),
        film,
        background_surface=surface(points_THW3=points(1), parts_THW=np.zeros((1, H, W), np.uint8)),
    )
    motion = render(still, motion_cell_px=8).motion_THW2
    assert motion is not None
    assert (motion[:-1] == 0).all()
    sliding = np.tile(FLAT, (1, T, 1, 1))
    sliding[0, :, 0, 3] = 1.5 * np.arange(T)
    shown = points()
    shown[..., 0] -= 1.5 * np.arange(T, dtype=np.float32)[:, None, None]
    moving = Scene(Canvas(H, W, T), film, background_surface=surface(points_THW3=shown, projections_PT34=sliding))
    motion = render(moving, motion_cell_px=8).motion_THW2
    assert motion is not None
    np.testing.assert_allclose(motion[:-1], np.broadcast_to([1.5, 0], motion[:-1].shape), atol=1 / 256)
    assert [k for k, _ in surface_distances(moving)] == [-1]
    assert all(distances.max() < 1e-4 for _, distances in surface_distances(moving))


def test_surfaces_that_lie_elsewhere_are_noticed() -> None:
    wrong = np.tile(FLAT, (1, T, 1, 1))
    wrong[0, 2:, 0, 3] = 3
    scene = Scene(Canvas(H, W, T), np.zeros((H, W, 3), np.uint8), layers=(layer(surface(projections_PT34=wrong)),))
    ((_, distances),) = surface_distances(scene)
    assert (distances > 1).mean() == pytest.approx(0.5)
