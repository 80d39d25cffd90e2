"""Solids: the contract, motion that the frames bear out, depth that decides who hides whom, labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from moving_scenes import warp_back
from scipy.ndimage import maximum_filter, minimum_filter
from smile_synth_generators.solids import COLOUR_NAMES, COLOURS, Solids, SolidsParams

from smile_synth.assets import Assets
from smile_synth.generator.base import GeneratorContext
from smile_synth.randomness import clip_rng
from smile_synth.recipe.assets import AssetsParams
from smile_synth.render import render, tracks, truth
from smile_synth.sampling.motion import direction_class
from smile_synth.sampling.solids import SOLID_SHAPES
from smile_synth.scene import Canvas, Scene
from smile_synth.testing.contract import GeneratorContract

CANVAS = Canvas(96, 96, 8)


class TestSolids(GeneratorContract):
    generator = Solids


class TestManyLarge(GeneratorContract):
    generator = Solids
    params: ClassVar[dict[str, Any]] = {"num_objects": (6, 8), "radius_m": (0.6, 1.2), "shadows": False}


def sample(clip: int, **params: Any) -> Scene:
    context = GeneratorContext(CANVAS, Assets.build(AssetsParams(), folder=Path()))
    return Solids(SolidsParams.model_validate(params), context).sample(rng=clip_rng(2, clip))


@pytest.mark.parametrize("shape", SOLID_SHAPES)
def test_the_next_frame_warped_back_by_the_motion_is_this_frame(shape: str) -> None:
    # Light changes with the turn of a face, but not the hue of what is matte; and of a hue only edges blur.
    scene = sample(
        1, shape=shape, pattern="checks", material="matte", num_objects=(1, 1), radius_m=(0.9, 0.9), shadows=False
    )
    clip, shown = render(scene, motion_cell_px=1), truth(scene).layer_THW
    assert clip.motion_THW2 is not None
    hues = clip.frames_THWC / np.maximum(clip.frames_THWC.sum(axis=3, keepdims=True), 1)
    errors, changes = [], []
    for t in range(7):
        motion_HW2 = np.nan_to_num(clip.motion_THW2[t])
        warped, inside = warp_back(hues[t + 1], motion_HW2)
        # Only what stays visible can be compared.
        seen, _ = warp_back((shown[t + 1] == 0)[..., None] * 255, motion_HW2)
        same = (shown[t] == 0) & np.isfinite(clip.motion_THW2[t]).all(axis=-1) & inside & (seen[..., 0] > 254)
        errors.append(np.abs(warped - hues[t]).mean(axis=2)[same])
        changes.append(np.abs(hues[t + 1] - hues[t]).mean(axis=2)[same])
    error, change = np.concatenate(errors), np.concatenate(changes)
    assert len(error) > 1000
    assert np.median(error) < 0.01
    assert error.mean() < 0.6 * change.mean()


def test_all_motion_is_defined_and_the_floor_stands_still_under_moving_shadows() -> None:
    for clip in range(6):
        scene = sample(clip)
        motion = render(scene, motion_cell_px=8).motion_THW2
        assert motion is not None
        assert np.isfinite(motion[:-1]).mean() > 0.99
        known = truth(scene)
        floor = known.layer_THW[:-1] == -1
        assert (known.flow_forward_THW2[:-1][floor] == 0).all()
        assert (scene.background != scene.background[0]).any()


def test_tracks_follow_points_of_a_turning_body_and_lose_them_behind_it() -> None:
    scene = sample(3, num_objects=(1, 1), shape="sphere", radius_m=(1.0, 1.0), spin_deg_per_s=1500, drop_m=(0.5, 0.5))
    x1, y1, x2, y2 = render(scene).boxes_KT4[0, 0]
    queries = [[0, x1 + (x2 - x1) * u, y1 + (y2 - y1) * v] for u in (0.35, 0.5, 0.65) for v in (0.35, 0.5, 0.65)]
    found = tracks(scene, queries)
    assert (found.layer_N == 0).all()
    assert np.isfinite(found.points_NT2).all()
    assert found.is_visible_NT[:, 0].all()
    # It turns by more than half a turn in the clip: no point of its front stays in front, and none is lost for good.
    assert not found.is_visible_NT.all(axis=1).any()
    flow = truth(scene).flow_forward_THW2[0]
    for point_T2, (_, x, y) in zip(found.points_NT2, queries, strict=True):
        np.testing.assert_allclose(point_T2[1] - point_T2[0], flow[int(y), int(x)], atol=0.35)


def test_the_nearer_body_hides_the_other_whichever_is_painted_first() -> None:
    """In every pixel that several bodies cover, the nearest one shows."""
    right, changed = [], []
    for clip in range(10):
        scene = sample(clip, num_objects=(4, 4), radius_m=(0.5, 0.7), speed_m_per_s=(4, 7), frames_per_second=8)
        shown = truth(scene).layer_THW
        depth_KTHW = np.full((4, *shown.shape), np.inf)
        for k, layer in enumerate(scene.layers):
            assert layer.surface is not None
            height, width = layer.texture.shape[1:3]
            for t in range(CANVAS.num_frames):
                x, y = layer.pose_T6[t, [2, 5]].astype(int)
                inner = (slice(y, min(y + height, 96)), slice(x, min(x + width, 96)))
                points_HW4 = np.concatenate([layer.surface.points_THW3[t], np.ones((height, width, 1))], axis=-1)
                w = points_HW4 @ layer.surface.projections_PT34[0, t, 2]
                part = w[: inner[0].stop - y, : inner[1].stop - x]
                depth_KTHW[k, t][inner] = np.where(np.isfinite(part), part, np.inf)
        nearest, two = depth_KTHW.argmin(axis=0), np.sort(np.minimum(depth_KTHW, 1e9), axis=0)
        # Away from edges, which are soft.
        is_even = minimum_filter(nearest, (1, 3, 3)) == maximum_filter(nearest, (1, 3, 3))
        clear = is_even & (two[1] < 1e9) & (two[1] - two[0] > 0.05)
        right.append(shown[clear] == nearest[clear])
        # Where a body hides another that is painted after it.
        last = 3 - np.argmax(depth_KTHW[::-1] < 1e9, axis=0)
        changed.append((shown == nearest)[clear & (nearest != last)])
    assert len(np.concatenate(changed)) > 100
    assert np.concatenate(changed).mean() > 0.95
    assert len(np.concatenate(right)) > 1000
    assert np.concatenate(right).mean() > 0.99


def test_labels_say_what_is_drawn() -> None:
    for clip in range(4):
        scene = sample(clip, pattern="plain", material="matte", num_objects=(3, 3))
        boxes = render(scene).boxes_KT4
        for k, layer in enumerate(scene.layers):
            assert SOLID_SHAPES[scene.labels["shape"][k]] == layer.class_name
            hue = np.array(COLOURS[COLOUR_NAMES[scene.labels["colour"][k]]], float)
            opaque = layer.texture[layer.texture[..., 3] == 255][:, :3].astype(float)
            if len(opaque) > 50:
                mean = opaque.mean(axis=0)
                assert mean @ hue / np.linalg.norm(mean) / np.linalg.norm(hue) > 0.995
            whole = boxes[k][[0, -1]]
            is_whole = np.isfinite(whole).all() and (whole[:, :2] > 0).all() and (whole[:, 2:] < 96).all()
            if is_whole and scene.labels["speed"][k] > 1:
                middle_T2 = (whole[:, :2] + whole[:, 2:]) / 2
                net = middle_T2[-1] - middle_T2[0]
                apart = (direction_class(*net.tolist()) - scene.labels["direction"][k]) % 8
                assert np.hypot(*net) < 4 or apart in (0, 1, 7)


def test_bodies_that_drop_low_bounce_and_bodies_still_in_flight_do_not() -> None:
    landed = [sample(clip, num_objects=(1, 1), drop_m=(0.3, 0.5)).labels["bounces"][0] for clip in range(6)]
    flying = [sample(clip, num_objects=(1, 1), drop_m=(8, 10)).labels["bounces"][0] for clip in range(6)]
    assert min(landed) >= 1
    assert max(flying) == 0
