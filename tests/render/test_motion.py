"""Motion of cells: equal to a plain reference, true to the frames, and undefined only where it must be."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import random_scenes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moving_scenes import moving, paint, warp_back, waves
from reference_motion import UNDEFINED_SHARE, reference_motion
from reference_renderer import drawn_alone

from smile_synth.errors import SceneError
from smile_synth.generator.dataset import Dataset
from smile_synth.generator.registry import BUNDLED, list_generators
from smile_synth.recipe.dataset import CanvasParams, DatasetParams
from smile_synth.render import coverage, render, render_into
from smile_synth.render.coverage import Coverage
from smile_synth.render.motion_kernel import MAX_MOTION_PX
from smile_synth.render.renderer import draw
from smile_synth.scene import Canvas, Layer, Scene, Surface

ALL_CHECKS = list(HealthCheck)


def still(canvas: Canvas, layers: tuple[Layer, ...], **options: Any) -> Scene:
    background = np.full((canvas.height, canvas.width, 3), 90, np.uint8)
    return Scene(canvas, background, layers=layers, **options)


def motion_of(scene: Scene, cell_px: int = 8) -> np.ndarray:
    motion = render(scene, motion_cell_px=cell_px).motion_THW2
    assert motion is not None
    return motion


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Scenes of every kind: few or many layers, soft, turning, animated, under all cameras."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    cell = draw(st.sampled_from([1, 2, 4, 8, 16]))
    canvas = Canvas(cell * draw(st.integers(1, 6)), cell * draw(st.integers(1, 6)), draw(st.integers(1, 4)))
    t = np.arange(canvas.num_frames)
    layers = []
    for _ in range(draw(st.integers(0, 5))):
        frames = canvas.num_frames if draw(st.integers(0, 3)) == 0 else None
        texture = paint(*rng.integers(1, 40, 2), alpha=draw(st.sampled_from([None, 255, 128])), frames=frames)
        speed = rng.normal(0, 4, 2)
        x, y = rng.uniform(0, canvas.width) + speed[0] * t, rng.uniform(0, canvas.height) + speed[1] * t
        size, angle = np.exp(rng.uniform(-1.5, 1) + rng.normal(0, 0.1) * t), rng.uniform(-3, 3) + rng.normal(0, 0.2) * t
        opacity = rng.choice([0.0, 0.4, 1.0], canvas.num_frames)
        layer = moving(x, y, frames=len(t), size_px=size, angle_rad=angle, texture=texture, opacity=opacity)
        if frames is not None and rng.random() < 0.7:
            layer = replace(layer, surface=_surface(rng, texture))
        layers.append(layer)
    kind = draw(st.sampled_from(["none", "affine", "perspective", "still"]))
    size = (canvas.height, canvas.width) if kind == "none" else tuple(rng.integers(4, 60, 2))
    camera = None if kind == "none" else _cameras(rng, canvas, kind)
    time_axis = (canvas.num_frames,) if draw(st.integers(0, 3)) == 0 else ()
    background = rng.integers(0, 256, (*time_axis, *size, 3), np.uint8)
    surface = _surface(rng, background) if time_axis and camera is None and rng.random() < 0.7 else None
    return Scene(canvas, background, camera, tuple(layers), background_surface=surface)


def _surface(rng: np.random.Generator, picture: np.ndarray) -> Surface:
    """Return points and parts anywhere, some of them undefined, under perspective; some stand still."""
    frames, height, width = picture.shape[:3]
    points = rng.normal(0, 1, (rng.choice([1, frames]), height, width, 3))
    points[rng.random(points.shape[:3]) < rng.choice([0, 0.1])] = np.nan
    parts = rng.integers(0, 3, points.shape[:3], dtype=np.uint8)
    t = np.arange(frames)[:, None, None] * (rng.random() < 0.8)
    projections = rng.normal(0, 9, (3, 1, 3, 4)) + t * rng.normal(0, 2, (3, 1, 3, 4))
    projections[:, :, 2] = rng.normal(0, 0.1, (3, 1, 4)) + t[..., 0] * rng.normal(0, 0.01, (3, 1, 4))
    projections[:, :, 2, 3] += 1
    return Surface(points.astype(np.float32), parts, projections.astype(np.float32))


def _cameras(rng: np.random.Generator, canvas: Canvas, kind: str) -> np.ndarray:
    t = 0 * np.arange(canvas.num_frames) if kind == "still" else np.arange(canvas.num_frames)
    camera = np.tile(np.eye(3), (canvas.num_frames, 1, 1))
    camera[:, :2, :2] += rng.normal(0, 0.3, (2, 2)) + rng.normal(0, 0.02, (2, 2)) * t[:, None, None]
    camera[:, :2, 2] += rng.normal(0, 5, 2) + rng.normal(0, 2, 2) * t[:, None]
    if kind == "perspective":
        camera[:, 2, :2] = rng.normal(0, 0.002, 2) + rng.normal(0, 0.0003, 2) * t[:, None]
    return camera.astype(np.float32) * np.float32(rng.choice([1, 3]))


def assert_agrees(scene: Scene, cell_px: int) -> None:
    """Compare with the reference, where every layer's share of a pixel may be 1/510 off, and its motion counts."""
    motion, (expected, undefined, fastest) = motion_of(scene, cell_px), reference_motion(scene, cell_px)
    rounding = len(scene.layers) / 510
    with np.errstate(all="ignore"):
        largest = np.nan_to_num(fastest, nan=1e9, posinf=1e9)
        error = np.abs(motion - expected) * (largest < 1000)
    assert (np.nan_to_num(error) <= 1 / 256 + 2 * largest * rounding).all()
    # A cell at the very limit of what counts as undefined may fall on either side.
    is_clear = (np.abs(undefined - UNDEFINED_SHARE) > 2 * rounding + 1e-6) & (largest < 1000)
    assert ((np.isfinite(motion) == np.isfinite(expected)) | ~is_clear).all()


@given(scenes(), st.sampled_from([1, 2, 4, 8, 16]))
@settings(max_examples=150, deadline=None, suppress_health_check=ALL_CHECKS)
def test_motion_is_that_of_the_reference(scene: Scene, cell_px: int) -> None:
    if scene.canvas.height % cell_px or scene.canvas.width % cell_px:
        cell_px = 1
    assert_agrees(scene, cell_px)


@given(st.one_of(random_scenes.scenes(), random_scenes.scenes(with_camera=True)))
@settings(max_examples=150, deadline=None, suppress_health_check=ALL_CHECKS)
def test_coverage_keeps_what_each_layer_draws_in_the_room_that_was_foreseen(scene: Scene) -> None:
    canvas, kept = scene.canvas, Coverage.room_for(scene)
    draw(scene, np.empty((canvas.num_frames, canvas.height, canvas.width, 3), np.uint8), kept)
    assert kept.kept_2[0] <= len(kept.runs_R4)
    assert kept.kept_2[1] <= len(kept.alpha_N)
    for k, layer in enumerate(scene.layers):
        expected = np.zeros((canvas.num_frames, canvas.height, canvas.width), np.uint8)
        with np.errstate(all="ignore"):
            for t, drawn_HWC in drawn_alone(layer, (canvas.height, canvas.width)):
                expected[t] = drawn_HWC[..., 3]
        for t in range(canvas.num_frames):
            np.testing.assert_array_equal(kept.alpha_HW(k, t, canvas.height, canvas.width), expected[t])


@given(st.one_of(random_scenes.scenes(), random_scenes.scenes(with_camera=True)))
@settings(max_examples=100, deadline=None, suppress_health_check=ALL_CHECKS)
def test_wild_scenes_give_the_same_frames_with_motion_and_motion_within_bounds(scene: Scene) -> None:
    clip = render(scene, motion_cell_px=1)
    np.testing.assert_array_equal(clip.frames_THWC, render(scene).frames_THWC)
    assert clip.motion_THW2 is not None
    assert not np.isinf(clip.motion_THW2).any()
    assert np.nan_to_num(np.abs(clip.motion_THW2)).max() <= MAX_MOTION_PX
    assert clip.motion_THW2.tobytes() == motion_of(scene, 1).tobytes()


def test_a_thread_keeps_no_memory_of_a_scene_that_is_very_large(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = still(Canvas(32, 32, 3), (moving(16 + np.arange(3), 16, texture=paint(20, 20)),))
    first, second = Coverage.borrowed(scene), Coverage.borrowed(scene)
    assert np.shares_memory(first.alpha_N, second.alpha_N)
    expected = motion_of(scene)
    monkeypatch.setattr(coverage, "MAX_KEPT_PIXELS", 1)
    assert not np.shares_memory(Coverage.borrowed(scene).alpha_N, first.alpha_N)
    assert motion_of(scene).tobytes() == expected.tobytes()


def families() -> list[str]:
    return [entry.name for entry in list_generators() if entry.target.startswith(BUNDLED)]


@pytest.mark.parametrize("name", families())
def test_every_bundled_family_has_motion(name: str) -> None:
    canvas = CanvasParams(height=48, width=64, frames=4)
    dataset = Dataset(DatasetParams(clips=4, canvas=canvas, generator=name), seed=3, folder=Path.cwd())
    for clip in range(4):
        scene = dataset.sample(clip)
        motion = motion_of(scene)
        assert_agrees(scene, 8)
        assert np.isnan(motion[-1]).all()
        changes = scene.background.ndim == 4 or any(layer.texture.ndim == 4 for layer in scene.layers)
        assert changes or np.isfinite(motion[:-1]).all()


def test_opaque_object_moves_over_a_background_that_does_not() -> None:
    canvas = Canvas(32, 32, 3)
    motion = motion_of(still(canvas, (moving(12 + 3 * np.arange(3), 12 - np.arange(3), texture=paint(16, 16)),)))
    assert motion.dtype == np.float32
    # It covers [4, 20] in frame 0: the cells [8, 16] whole, the cells beside them by half.
    np.testing.assert_allclose(motion[0, 1, 1], [3, -1], atol=1 / 256)
    np.testing.assert_allclose(motion[0, 1, 0], [1.5, -0.5], atol=1 / 128)
    np.testing.assert_allclose(motion[0, 0, 0], [0.75, -0.25], atol=1 / 128)
    assert (motion[:2, 3, 3] == 0).all()
    assert np.isnan(motion[2]).all()


def test_half_an_opacity_is_half_the_motion() -> None:
    layer = moving(16 + 4 * np.arange(3), 16, texture=paint(40, 40), opacity=0.5)
    np.testing.assert_allclose(motion_of(still(Canvas(16, 16, 3), (layer,)))[0, 0, 0], [2, 0], atol=0.02)


def test_changing_opacity_and_size_of_the_texture_filter_is_no_motion() -> None:
    layer = moving(16, 16, texture=paint(200, 200), size_px=0.2, opacity=np.float32([1, 0.5, 0.1]))
    assert (motion_of(still(Canvas(32, 32, 3), (layer,)))[:2] == 0).all()


def test_hidden_object_does_not_count() -> None:
    behind = moving(16 + 5 * np.arange(3), 16, texture=paint(8, 8))
    before = moving(16, 16 + np.arange(3), texture=paint(30, 30))
    canvas = Canvas(32, 32, 3)
    np.testing.assert_array_equal(motion_of(still(canvas, (behind, before))), motion_of(still(canvas, (before,))))
    np.testing.assert_allclose(motion_of(still(canvas, (before, behind)))[0, 1, 2], [1.25, 0.75], atol=0.01)


def test_disappearing_object_still_moves() -> None:
    layer = moving(8 + 2 * np.arange(3), 8, texture=paint(20, 20), opacity=np.float32([1, 0, 1]))
    motion = motion_of(still(Canvas(16, 16, 3), (layer,)))
    np.testing.assert_allclose(motion[0, 0, 0], [2, 0], atol=1 / 256)
    assert (motion[1] == 0).all()


def test_motion_is_undefined_where_pictures_change_and_nowhere_else() -> None:
    animated = moving(8 + np.arange(3), 8, texture=paint(16, 16, frames=3))
    motion = motion_of(still(Canvas(32, 32, 3), (animated,)))
    assert np.isnan(motion[0, 0, 0]).all()
    assert (motion[0, 2:] == 0).all()
    canvas = Canvas(16, 16, 3)
    film = np.zeros((3, 16, 16, 3), np.uint8)
    solid = Scene(canvas, film, layers=(moving(4 + np.arange(3), 4, texture=paint(8, 8)),))
    np.testing.assert_allclose(motion_of(solid)[0, 0, 0], [1, 0], atol=1 / 256)
    assert np.isnan(motion_of(solid)[0, 1, 1]).all()


@pytest.mark.parametrize(("missing", "is_defined"), [(4, True), (5, False)])
def test_a_sixteenth_of_a_cell_may_be_undefined(missing: int, is_defined: bool) -> None:
    texture = paint(8, 8)
    texture[0, :missing, 3] = 0
    scene = Scene(Canvas(8, 8, 2), np.zeros((2, 8, 8, 3), np.uint8), layers=(moving(4, 4, frames=2, texture=texture),))
    assert np.isfinite(motion_of(scene)[0]).all() == is_defined


def test_a_point_beyond_the_horizon_has_no_motion() -> None:
    camera = np.tile(np.eye(3, dtype=np.float32), (2, 1, 1))
    camera[1, 2, 0] = -1 / 16.5
    motion = motion_of(Scene(Canvas(32, 32, 2), np.zeros((32, 32, 3), np.uint8), camera), cell_px=1)
    assert np.isnan(motion[0, :, 16]).all()
    assert np.isfinite(motion[0, :, :16]).all()


T6 = np.arange(6)
TURN = 0.06 * T6
CAMERAS = {
    "translation": lambda: np.array([[[1, 0, -2.3 * t], [0, 1, 1.6 * t], [0, 0, 1]] for t in T6]),
    "rotation": lambda: np.array(
        [[[np.cos(a), -np.sin(a), 20 * a], [np.sin(a), np.cos(a), 0], [0, 0, 1]] for a in TURN]
    ),
    "zoom": lambda: np.array([[[1 + 0.05 * t, 0, -t], [0, 1 + 0.05 * t, -t], [0, 0, 1]] for t in T6]),
    "perspective": lambda: np.array([[[1, 0.02 * t, 0], [0, 1, -t], [1e-4 * t, -2e-4 * t, 1]] for t in T6]),
}


@pytest.mark.parametrize("kind", CAMERAS)
def test_next_frame_warped_back_is_this_frame(kind: str) -> None:
    scene = Scene(Canvas(48, 64, 6), waves(48, 64), CAMERAS[kind]().astype(np.float32))
    clip = render(scene, motion_cell_px=1)
    assert clip.motion_THW2 is not None
    for t in range(5):
        warped, inside = warp_back(clip.frames_THWC[t + 1], clip.motion_THW2[t])
        assert inside.mean() > 0.7
        # Two roundings of a colour, and a background that is mirrored where the camera sees its end.
        error = np.abs(warped - clip.frames_THWC[t]).max(axis=2)[inside]
        assert np.quantile(error, 0.98) <= 2


def test_next_frame_warped_back_is_this_frame_where_an_object_stays_visible() -> None:
    canvas, t = Canvas(64, 64, 4), np.arange(4)
    texture = np.concatenate([waves(80, 80), np.full((80, 80, 1), 255, np.uint8)], axis=2)
    layer = moving(25 + 3.3 * t, 30 + t, frames=4, texture=texture, size_px=0.4 + 0.02 * t, angle_rad=0.1 * t)
    scene = Scene(canvas, waves(64, 64)[::-1], layers=(layer,))
    clip, drawn = render(scene, motion_cell_px=1), Coverage.room_for(scene)
    assert clip.motion_THW2 is not None
    draw(scene, np.empty_like(clip.frames_THWC), drawn)
    for now in range(3):
        alpha, later = (drawn.alpha_HW(0, frame, 64, 64).astype(float) for frame in (now, now + 1))
        warped, inside = warp_back(clip.frames_THWC[now + 1], clip.motion_THW2[now])
        seen, _ = warp_back(later[..., None], clip.motion_THW2[now])
        # Object then and object now, or background then and background now: nothing covered, nothing uncovered.
        is_same = inside & ((alpha == 255) & (seen[..., 0] > 254) | (alpha == 0) & (seen[..., 0] < 1))
        assert is_same[alpha == 255].mean() > 0.85
        assert np.abs(warped - clip.frames_THWC[now]).max(axis=2)[is_same].max() <= 6


@pytest.mark.parametrize("cell_px", [0, -8, 3, 5, 32])
def test_cells_that_do_not_tile_the_canvas_are_refused(cell_px: int) -> None:
    with pytest.raises(SceneError, match="must be 1 to 16 px and divide the canvas's sides 32 x 64"):
        render(still(Canvas(32, 64, 2), ()), motion_cell_px=cell_px)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 4, 4, 2), np.float64),
        np.zeros((2, 4, 3, 2), np.float32),
        np.zeros((3, 4, 4, 2), np.float32),
        np.zeros((4, 4, 2), np.float32),
        np.zeros((2, 4, 8, 2), np.float32)[:, :, ::2],
    ],
)
def test_arrays_that_motion_does_not_fit_are_refused(array: np.ndarray) -> None:
    with pytest.raises(SceneError, match="motion to write must"):
        render_into(still(Canvas(32, 32, 2), ()), np.empty((2, 32, 32, 3), np.uint8), array)


def test_threads_give_the_same_motion() -> None:
    rng = np.random.default_rng(0)
    turning = [
        moving(16 + 2 * T6, 16, frames=6, texture=paint(20, 20, alpha=None), angle_rad=rng.normal() * T6) for _ in T6
    ]
    jobs = [still(Canvas(32, 32, 6), (first, second)) for first in turning for second in turning]
    expected = [motion_of(scene).tobytes() for scene in jobs]
    with ThreadPoolExecutor(4) as threads:
        assert [motion.tobytes() for motion in threads.map(motion_of, jobs)] == expected


def test_motion_has_the_bytes_that_it_had_elsewhere() -> None:
    """Golden: SHA-256 of what this code gave on an AMD EPYC; it says whether another CPU rounds otherwise."""
    t = np.arange(4)
    texture = paint(30, 30, alpha=None)
    layers = tuple(moving(x + 3 * t, 20 + t, frames=4, texture=texture, size_px=1 + 0.1 * t) for x in (10, 20, 40))
    scene = Scene(Canvas(48, 64, 4), waves(48, 64), CAMERAS["perspective"]()[:4].astype(np.float32), layers)
    assert (
        hashlib.sha256(motion_of(scene).tobytes()).hexdigest()
        == "907e41ac516fb53e3112d88b0dd92bc2a98a65bd6fa2adffe0bb420817e0b80f"
    )
