"""Dense flow, visibility and tracks: true to poses, to the frames and to each other."""

from __future__ import annotations

import numpy as np
import pytest
from moving_scenes import moving, paint, warp_back, waves

from smile_synth.errors import SceneError
from smile_synth.render import render, tracks, truth
from smile_synth.scene import Canvas, Layer, Scene

T = np.arange(4)


def two_discs() -> Scene:
    """Return a turning, growing square that passes behind a still one, over a background that a camera pans."""
    texture = np.concatenate([waves(80, 80), np.full((80, 80, 1), 255, np.uint8)], axis=2)
    behind = moving(20 + 3.3 * T, 30 + T, frames=4, texture=texture, size_px=0.4 + 0.02 * T, angle_rad=0.1 * T)
    before = moving(46, 30 + 0 * T, frames=4, texture=texture[::-1], size_px=0.2 + 0 * T)
    camera = np.tile(np.eye(3, dtype=np.float32), (4, 1, 1))
    camera[:, 0, 2] = -1.5 * T
    return Scene(Canvas(64, 64, 4), waves(64, 80)[::-1], camera, (behind, before))


def test_visible_layer_is_the_front_most_that_draws_half_of_the_pixel() -> None:
    faint = moving(8, 8, frames=2, texture=paint(16, 16), opacity=0.4)
    strong = moving(4, 8, frames=2, texture=paint(16, 8), opacity=0.6)
    scene = Scene(Canvas(16, 16, 2), np.zeros((16, 16, 3), np.uint8), layers=(strong, faint))
    found = truth(scene)
    assert found.layer_THW.dtype == np.int16
    assert (found.layer_THW[:, :, :8] == 0).all()
    assert (found.layer_THW[:, :, 8:] == -1).all()
    assert found.front_to_back_K.tolist() == [1, 0]


def test_flow_is_what_the_poses_say_to_a_hundredth_of_a_pixel() -> None:
    scene = two_discs()
    found = truth(scene)
    for layer, t in ((0, 1), (1, 2)):
        a, b, c, d, e, f = scene.layers[layer].pose_T6[t].astype(float)
        rows, columns = np.nonzero(found.layer_THW[t] == layer)
        assert len(rows) > 50
        x, y = columns + 0.5, rows + 0.5
        u = (e * (x - c) - b * (y - f)) / (a * e - b * d)
        v = (a * (y - f) - d * (x - c)) / (a * e - b * d)
        for flow, other in ((found.flow_forward_THW2, t + 1), (found.flow_backward_THW2, t - 1)):
            p, q, r, s, w, z = scene.layers[layer].pose_T6[other].astype(float)
            expected = np.stack([p * u + q * v + r - x, s * u + w * v + z - y], axis=1)
            assert np.abs(flow[t, rows, columns] - expected).max() < 0.01
    background = found.flow_forward_THW2[1][found.layer_THW[1] == -1]
    np.testing.assert_allclose(background, np.broadcast_to([-1.5, 0], background.shape), atol=1e-5)


@pytest.mark.parametrize("direction", [1, -1])
def test_warping_by_flow_reproduces_the_pixels_that_stay_visible(direction: int) -> None:
    scene = two_discs()
    found, frames = truth(scene), render(scene).frames_THWC
    flow_THW2 = found.flow_forward_THW2 if direction == 1 else found.flow_backward_THW2
    for t in (1, 2):
        warped, inside = warp_back(frames[t + direction], flow_THW2[t])
        is_same = inside.copy()
        for layer in (-1, 0, 1):
            then, _ = warp_back((found.layer_THW[t + direction] == layer)[..., None] * 255, flow_THW2[t])
            is_same &= (found.layer_THW[t] != layer) | (then[..., 0] > 254)
        # An edge of half alpha belongs to one side and is coloured by both: leave its neighbours out.
        edge = found.layer_THW[t] != np.roll(found.layer_THW[t], 1, 0)
        for axis, shift in ((0, -1), (1, 1), (1, -1)):
            edge |= found.layer_THW[t] != np.roll(found.layer_THW[t], shift, axis)
        assert (is_same & ~edge).mean() > 0.75
        error = np.abs(warped - frames[t]).max(axis=2)[is_same & ~edge]
        assert np.quantile(error, 0.99) <= 3


def test_forward_and_backward_flow_are_each_others_way_back() -> None:
    found = truth(two_discs())
    back, inside = warp_back(found.flow_backward_THW2[2], found.flow_forward_THW2[1])
    then, _ = warp_back((found.layer_THW[2] == 1)[..., None] * 255, found.flow_forward_THW2[1])
    is_same = inside & (found.layer_THW[1] == 1) & (then[..., 0] > 254)
    assert is_same.sum() > 100
    assert np.abs(back + found.flow_forward_THW2[1])[is_same].max() < 1e-3


def test_first_and_last_frames_and_changing_pictures_have_no_flow() -> None:
    canvas = Canvas(16, 16, 4)
    animated = moving(8 + T, 8, frames=4, texture=paint(8, 8, frames=4))
    found = truth(Scene(canvas, np.zeros((16, 16, 3), np.uint8), layers=(animated,)))
    assert np.isnan(found.flow_forward_THW2[-1]).all()
    assert np.isnan(found.flow_backward_THW2[0]).all()
    is_object = found.layer_THW[1] == 0
    assert np.isnan(found.flow_forward_THW2[1][is_object]).all()
    assert (found.flow_forward_THW2[1][~is_object] == 0).all()


def test_tracks_follow_their_layer_and_know_when_it_is_hidden() -> None:
    behind = moving(10 + 6 * T, 16, frames=4, texture=paint(4, 4))
    before = moving(22, 16 + 0 * T, frames=4, texture=paint(8, 8))
    scene = Scene(Canvas(32, 32, 4), np.zeros((32, 32, 3), np.uint8), layers=(behind, before))
    found = tracks(scene, [[0, 10.5, 16.5], [0, 22.5, 16.5], [3, 30.5, 2.5], [0, 2.5, 16.5]])
    assert found.layer_N.tolist() == [0, 1, -1, -1]
    np.testing.assert_allclose(found.points_NT2[0], np.stack([10.5 + 6 * T, 16.5 + 0 * T], axis=1), atol=1e-4)
    assert found.is_visible_NT[0].tolist() == [True, True, False, True]
    assert found.is_visible_NT[1].all()
    np.testing.assert_allclose(found.points_NT2[2], np.broadcast_to([30.5, 2.5], (4, 2)))
    assert found.is_visible_NT[3].all()


def test_tracks_agree_with_flow_and_leave_the_canvas() -> None:
    scene = two_discs()
    found = truth(scene)
    queries = [[1, x + 0.5, y + 0.5] for y in range(0, 64, 7) for x in range(0, 64, 7)]
    followed = tracks(scene, queries)
    for row, (_, x, y) in enumerate(queries):
        flow = found.flow_forward_THW2[1, int(y), int(x)]
        np.testing.assert_allclose(followed.points_NT2[row, 2] - [x, y], flow, atol=1e-3)
    assert followed.is_visible_NT[:, 1].all()
    is_out = followed.points_NT2[:, 3, 0] < 0
    assert is_out.any()
    assert not followed.is_visible_NT[is_out, 3].any()


def test_points_of_changing_pictures_are_known_in_their_own_frame_only() -> None:
    animated = moving(8 + T, 8, frames=4, texture=paint(8, 8, frames=4))
    found = tracks(Scene(Canvas(16, 16, 4), np.zeros((16, 16, 3), np.uint8), layers=(animated,)), [[1, 9.5, 8.5]])
    assert found.is_visible_NT[0].tolist() == [False, True, False, False]
    assert np.isnan(found.points_NT2[0, [0, 2, 3]]).all()


@pytest.mark.parametrize("query", [[4, 1, 1], [-1, 1, 1], [0.5, 1, 1], [0, 64, 1], [0, 1, -0.1], [0, float("nan"), 1]])
def test_queries_outside_the_clip_are_refused(query: list[float]) -> None:
    with pytest.raises(SceneError, match="a query must be a frame of 0 to 3"):
        tracks(two_discs(), [query])


def test_a_layer_that_vanishes_is_never_visible() -> None:
    layer = moving(8, 8 + 0 * T, frames=4, texture=paint(8, 8))
    gone = Layer(layer.texture, layer.pose_T6, np.array([1, 0, 0, 1], np.float32))
    found = tracks(Scene(Canvas(16, 16, 4), np.zeros((16, 16, 3), np.uint8), layers=(gone,)), [[0, 8.5, 8.5]])
    assert found.is_visible_NT[0].tolist() == [True, False, False, True]
    assert np.isfinite(found.points_NT2).all()
