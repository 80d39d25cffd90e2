"""Limbs: capsules of the right area and place, the nearer one in front, points where they are drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest

from smile_synth.sampling.limbs import Limbs
from smile_synth.scene import Canvas, Scene
from smile_synth.testing.contract import surface_distances

RED, BLUE = (200, 0, 0), (0, 0, 200)


def limbs(first: list, second: list, radii: list, depth: list) -> Limbs:
    textures = np.empty((len(radii), 20, 20, 3), np.uint8)
    textures[0], textures[-1] = RED, BLUE
    return Limbs(*(np.array(values, float) for values in (first, second, radii, depth)), textures)


def crossing(first_in_front: bool) -> Limbs:
    ends = [[[10, 30], [30, 10]]] * 2, [[[50, 30], [30, 50]]] * 2
    return limbs(*ends, [[5, 5], [5, 5]], [[1, 0] if first_in_front else [0, 1]] * 2)


def test_a_limb_covers_a_capsule() -> None:
    layer = limbs([[[10.3, 20]]], [[[40.3, 20]]], [[6, 6]], [[0]]).layer(60, 60, "arm")
    area = layer.texture[0, ..., 3].sum() / 255
    assert area == pytest.approx(30 * 12 + math.pi * 36, rel=0.03)
    rows, columns = np.nonzero(layer.texture[0, ..., 3])
    left, top = layer.pose_T6[0, [2, 5]]
    assert columns.min() + left == pytest.approx(4, abs=1)
    assert columns.max() + left == pytest.approx(46, abs=1)
    assert rows.mean() + top + 0.5 == pytest.approx(20, abs=0.2)


@pytest.mark.parametrize("first_in_front", [True, False])
def test_the_nearer_limb_hides_the_other(first_in_front: bool) -> None:
    layer = crossing(first_in_front).layer(60, 60, "cross")
    assert layer.surface is not None
    left, top = layer.pose_T6[0, [2, 5]].astype(int)
    row, column = 30 - top, 30 - left
    assert (layer.texture[0, row, column, 0] > 100) == first_in_front
    assert layer.surface.parts_THW[0, row, column] == (0 if first_in_front else 1)
    assert layer.texture[0, row, column + 15, 0] > 100
    assert layer.texture[0, row + 15, column, 2] > 100


def test_points_lie_where_they_are_drawn_also_where_limbs_turn_and_shorten() -> None:
    turn = 0.2 * np.arange(5)
    ends = np.stack([30 + 20 * np.cos(turn), 30 + 12 * np.sin(turn)], axis=1)
    layer = limbs(np.full((5, 1, 2), 30.0).tolist(), ends[:, None].tolist(), [[6, 3]], [[0]] * 5).layer(60, 60, "arm")
    scene = Scene(Canvas(60, 60, 5), np.zeros((60, 60, 3), np.uint8), layers=(layer,))
    ((_, distances),) = surface_distances(scene)
    assert len(distances) > 500
    assert distances.max() < 1e-3


def test_the_texture_stays_on_its_points_where_a_limb_shortens() -> None:
    made = limbs([[[20, 30]]] * 3, [[[60, 30]], [[40, 30]], [[26, 30]]], [[8, 8]], [[0]] * 3)
    # Red runs along the limb and green is even: their ratio tells the row of the texture, whatever the light.
    made.textures_LHWC[:] = 200
    made.textures_LHWC[..., 0] = np.linspace(20, 210, 20)[:, None]
    layer = made.layer(80, 80, "arm")
    assert layer.surface is not None
    places, shown = [], []
    for t in range(3):
        row = int(30 - layer.pose_T6[t, 5])
        is_inside = layer.texture[t, row, :, 3] == 255
        points_N3 = layer.surface.points_THW3[t, row, is_inside]
        places.append(points_N3[:, 0] + points_N3[:, 1])
        shown.append(layer.texture[t, row, is_inside, 0] / layer.texture[t, row, is_inside, 1] * 200)
    for t in (1, 2):
        expected = np.interp(places[t], places[0], shown[0])
        assert len(expected) > 15
        np.testing.assert_allclose(shown[t], expected, atol=3)


def test_a_limb_that_points_at_the_viewer_is_a_disc() -> None:
    layer = limbs([[[20, 20]]], [[[20, 20]]], [[5, 5]], [[0]]).layer(40, 40, "arm")
    assert layer.surface is not None
    assert layer.texture[0, ..., 3].sum() / 255 == pytest.approx(math.pi * 25, rel=0.06)
    assert np.isfinite(layer.surface.projections_PT34).all()


def test_what_lies_outside_the_canvas_takes_no_room() -> None:
    layer = limbs([[[-300, 20]]], [[[20, 20]]], [[5, 5]], [[0]]).layer(40, 40, "arm")
    assert layer.texture.shape[1:3] <= (13, 40)
    gone = limbs([[[-300, 20]]], [[[-200, 20]]], [[5, 5]], [[0]]).layer(40, 40, "arm")
    assert gone.texture[..., 3].max() == 0
