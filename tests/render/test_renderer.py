"""The renderer: equal to its reference to the byte, smooth, without halos, and strict about what it is given."""

from __future__ import annotations

import hashlib
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_scenes import placed, scenes
from reference_renderer import render_reference

from smile_synth.errors import SceneError
from smile_synth.machine.compiled import entry_point
from smile_synth.render import Clip, render, render_into
from smile_synth.render.kernel import MAX_SIDE
from smile_synth.scene import Canvas, Layer, Scene

GUARD_BYTES = 4096


def assert_same(clip: Clip, expected: Clip) -> None:
    np.testing.assert_array_equal(clip.frames_THWC, expected.frames_THWC)
    np.testing.assert_array_equal(clip.boxes_KT4, expected.boxes_KT4)


def one_layer(pose: Any, texture: np.ndarray, *, side: int = 24, opacity: float = 1.0, background: Any = 0) -> Scene:
    pose_T6 = np.atleast_2d(np.asarray(pose, np.float32))
    canvas = Canvas(side, side, len(pose_T6))
    layer = Layer(texture, pose_T6, np.full(len(pose_T6), opacity, np.float32))
    return Scene(canvas, np.full((side, side, 3), background, np.uint8), layers=(layer,))


def noise(height: int, width: int, channels: int = 4) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, channels), np.uint8)


def disc(side: int, radius: float) -> np.ndarray:
    """Return a white disc with an edge one pixel soft, in the middle of a transparent square."""
    y, x = np.indices((side, side)) + 0.5 - side / 2
    texture = np.full((side, side, 4), 255, np.uint8)
    texture[..., 3] = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1) * 255
    return texture


def centroid(frame_HWC: np.ndarray) -> tuple[float, float]:
    mass = frame_HWC[..., 0].astype(float)
    rows, columns = np.indices(mass.shape) + 0.5
    return (mass * columns).sum() / mass.sum(), (mass * rows).sum() / mass.sum()


@given(scenes())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_kernel_gives_the_bytes_of_the_reference(scene: Scene) -> None:
    assert_same(render(scene), render_reference(scene))


@given(scenes(with_camera=True))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_kernel_gives_the_bytes_of_the_reference_under_a_camera(scene: Scene) -> None:
    assert_same(render(scene), render_reference(scene))


def assert_stays_inside(scene: Scene) -> None:
    """Render into the middle of a buffer and look at what lies around."""
    canvas = scene.canvas
    size = canvas.num_frames * canvas.height * canvas.width * 3
    buffer = np.full(size + 2 * GUARD_BYTES, 171, np.uint8)
    middle = buffer[GUARD_BYTES : GUARD_BYTES + size]
    render_into(scene, middle.reshape(canvas.num_frames, canvas.height, canvas.width, 3))
    assert (buffer[:GUARD_BYTES] == 171).all()
    assert (buffer[-GUARD_BYTES:] == 171).all()


@given(st.one_of(scenes(), scenes(with_camera=True)))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_nothing_is_written_beside_the_frames(scene: Scene) -> None:
    assert_stays_inside(scene)


def test_a_background_left_of_a_zoomed_view_stays_inside_the_row() -> None:
    # The span of the only row lies beyond the canvas, and its second bound was once taken for a column of it.
    zoom = np.array([[[5.8839273, 0, 0], [0, 5.8839273, 0], [0, 0, 1]]], np.float32)
    assert_stays_inside(Scene(Canvas(1, 1, 1), np.full((1, 1, 3), 9, np.uint8), camera_T33=zoom))


@pytest.mark.slow
@given(st.one_of(scenes(), scenes(with_camera=True)))
@settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
def test_kernel_gives_the_bytes_of_the_reference_on_thousands_of_scenes(scene: Scene) -> None:
    assert_same(render(scene), render_reference(scene))


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-6, 0.01, 1.0, 1e3, 1e5, 1e12, 1e30])
@pytest.mark.parametrize("shift", [0.0, -0.5, 1e4, -1e9, 1e30])
def test_extreme_poses_are_drawn_like_the_reference(scale: float, shift: float) -> None:
    for pose in ([scale, 0, shift, 0, 1, 3], [1, scale, 0, 0, scale, shift], [scale, scale, 5, scale, scale, shift]):
        scene = one_layer(pose, noise(7, 5))
        assert_same(render(scene), render_reference(scene))


def test_opaque_texture_at_its_own_size_is_copied() -> None:
    texture = noise(9, 7)
    texture[..., 3] = 255
    clip = render(one_layer([1, 0, 4, 0, 1, 6], texture))
    np.testing.assert_array_equal(clip.frames_THWC[0, 6:15, 4:11], texture[..., :3])
    np.testing.assert_array_equal(clip.boxes_KT4[0, 0], [4, 6, 11, 15])
    assert clip.frames_THWC[0].sum() == texture[..., :3].sum(dtype=int)


def test_box_is_tight_around_alpha_and_clipped() -> None:
    texture = np.zeros((20, 20, 4), np.uint8)
    texture[5:9, 3:12] = 255
    boxes = render(one_layer([[1, 0, 2, 0, 1, 1], [1, 0, -6, 0, 1, 18], [1, 0, 50, 0, 1, 0]], texture)).boxes_KT4
    np.testing.assert_array_equal(boxes[0], [[5, 6, 14, 10], [0, 23, 6, 24], [np.nan] * 4])


def test_unseen_object_has_no_box_and_changes_nothing() -> None:
    clip = render(one_layer([1, 0, 2, 0, 1, 2], noise(9, 9), opacity=0.0, background=77))
    assert np.isnan(clip.boxes_KT4).all()
    assert (clip.frames_THWC == 77).all()


def test_opacity_mixes_with_what_lies_below() -> None:
    texture = np.full((9, 9, 4), 255, np.uint8)
    clip = render(one_layer([1, 0, 2, 0, 1, 2], texture, opacity=0.25, background=100))
    assert clip.frames_THWC[0, 5, 5].tolist() == [139, 139, 139]


@pytest.mark.parametrize("size_px", [7.3, 20.0, 33.3])
@pytest.mark.parametrize("level", [0, 1, 128, 254, 255])
def test_edges_have_no_halo(size_px: float, level: int) -> None:
    texture = disc(64, 24.0)
    texture[..., :3] = level
    texture[texture[..., 3] == 0] = 0  # black, or any other colour, hidden under alpha 0 must not shine through
    angle = np.linspace(0, 1, 8)
    pose = placed(size_px, size_px, angle, 20 + angle, 18.4, texture_hw=(64, 64))
    frames = render(one_layer(pose, texture, side=40, background=level)).frames_THWC.astype(int)
    assert np.abs(frames - level).max() <= (0 if level in (0, 255) else 2)


@pytest.mark.parametrize("drawn_px", [18.0, 64.0, 100.0])
@pytest.mark.parametrize("turn_rad", [0.0, 0.05])
def test_slow_disc_follows_its_path(drawn_px: float, turn_rad: float) -> None:
    """A disc at 0.03 to 0.11 px a frame stays within 0.05 px of where its pose says."""
    t = np.arange(48)
    x, y = 56.2 + 0.11 * t, 60.9 - 0.03 * t
    pose = placed(drawn_px, drawn_px, turn_rad * t, x, y, texture_hw=(64, 64))
    frames = render(one_layer(pose, disc(64, 25.0), side=120)).frames_THWC
    measured = np.array([centroid(frame) for frame in frames])
    assert np.abs(measured - np.stack([x, y], axis=1)).max() < 0.05


def test_small_drawing_keeps_the_mean_of_its_texture() -> None:
    """Area filtering: a checkerboard of single pixels becomes even grey, not a moire."""
    texture = np.full((160, 160, 4), 255, np.uint8)
    texture[..., :3] = 255 * (np.indices((160, 160)).sum(axis=0) % 2)[..., None]
    pose = placed(20.0, 20.0, 0.3, 20.0, 20.0, texture_hw=(160, 160))
    inner = render(one_layer(pose, texture, side=40)).frames_THWC[0, 16:24, 16:24]
    assert np.abs(inner.astype(int) - 128).max() <= 2


def test_shrinking_object_is_filtered_again_when_it_has_halved() -> None:
    texture = np.full((128, 128, 4), 255, np.uint8)
    texture[..., :3] = 255 * (np.indices((128, 128)).sum(axis=0) // 2 % 2)[..., None]
    pose = placed(np.array([128.0, 8.0]), np.array([128.0, 8.0]), 0.0, 64.0, 64.0, texture_hw=(128, 128))
    inner = render(one_layer(pose, texture, side=128)).frames_THWC[1, 62:66, 62:66]
    assert np.abs(inner.astype(int) - 128).max() <= 4


def test_identity_camera_shows_the_background_and_its_mirror_image() -> None:
    background = noise(10, 8, 3)
    scene = Scene(Canvas(14, 12, 2), background, np.broadcast_to(np.eye(3, dtype=np.float32), (2, 3, 3)))
    expected = np.pad(background, ((0, 4), (0, 4), (0, 0)), mode="symmetric")
    np.testing.assert_array_equal(render(scene).frames_THWC, [expected, expected])


def test_camera_that_shifts_by_whole_pixels_copies() -> None:
    background = noise(30, 30, 3)
    camera = np.array([[[1, 0, -3], [0, 1, -5], [0, 0, 1]], [[1, 0, -4], [0, 1, -2], [0, 0, 1]]], np.float32)
    frames = render(Scene(Canvas(12, 12, 2), background, camera)).frames_THWC
    np.testing.assert_array_equal(frames, [background[5:17, 3:15], background[2:14, 4:16]])


def test_camera_far_away_sees_the_mean_of_the_background() -> None:
    background = np.repeat(255 * (np.indices((128, 128)).sum(axis=0) % 2)[..., None], 3, axis=2).astype(np.uint8)
    camera = np.diag([0.125, 0.125, 1]).astype(np.float32)[None]
    assert np.abs(render(Scene(Canvas(16, 16, 1), background, camera)).frames_THWC.astype(int) - 128).max() <= 1


def test_render_into_overwrites_every_byte_of_its_place_and_no_other() -> None:
    scene = one_layer([1, 0.1, 2, 0, 1, 2], noise(9, 9), background=9)
    shard = np.full((3, 1, 24, 24, 3), 200, np.uint8)
    boxes = render_into(scene, shard[1])
    assert_same(Clip(shard[1], boxes), render(scene))
    assert (shard[[0, 2]] == 200).all()


def test_scene_of_read_only_and_strided_arrays_renders_the_same() -> None:
    texture = noise(18, 18)
    pose = placed(9.0, 9.0, 0.4, 12.0, 12.0, texture_hw=(9, 9))
    plain = one_layer(pose, np.ascontiguousarray(texture[::2, ::2]))
    strided = one_layer(pose, texture[::2, ::2])
    for array in (strided.layers[0].texture, strided.layers[0].pose_T6, strided.background):
        array.flags.writeable = False
    assert_same(render(strided), render(plain))


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((1, 24, 24, 3), np.int16),
        np.zeros((1, 24, 23, 3), np.uint8),
        np.zeros((1, 24, 48, 3), np.uint8)[:, :, ::2],
    ],
)
def test_frames_that_do_not_fit_are_refused(frames: np.ndarray) -> None:
    with pytest.raises(SceneError, match="frames to draw into must be"):
        render_into(one_layer([1, 0, 0, 0, 1, 0], noise(2, 2)), frames)


def test_read_only_frames_are_refused() -> None:
    frames = np.zeros((1, 24, 24, 3), np.uint8)
    frames.flags.writeable = False
    with pytest.raises(SceneError, match="writable"):
        render_into(one_layer([1, 0, 0, 0, 1, 0], noise(2, 2)), frames)


def test_texture_too_long_to_address_is_refused() -> None:
    with pytest.raises(SceneError, match=str(MAX_SIDE)):
        render(one_layer([1, 0, 0, 0, 1, 0], np.zeros((1, MAX_SIDE + 1, 4), np.uint8)))


def test_clip_refuses_boxes_of_another_length() -> None:
    with pytest.raises(SceneError, match="boxes must be float32"):
        Clip(np.zeros((2, 4, 4, 3), np.uint8), np.zeros((1, 3, 4), np.float32))


def digest(seed: int) -> str:
    rng = np.random.default_rng(seed)
    size, angle = rng.uniform(10, 60), rng.uniform(-3, 3, 4)
    pose = placed(size, size / 2, angle, rng.uniform(0, 64, 4), 32.0, texture_hw=(50, 40))
    clip = render(one_layer(pose, noise(50, 40), side=64))
    return hashlib.sha256(clip.frames_THWC.tobytes() + clip.boxes_KT4.tobytes()).hexdigest()


def test_threads_and_processes_give_the_same_bytes() -> None:
    expected = [digest(seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as threads, ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        assert list(threads.map(digest, range(8))) == expected
        assert list(processes.map(digest, range(8))) == expected


def test_function_that_cannot_be_cached_still_compiles() -> None:
    names: dict[str, Any] = {}
    exec("def double(x):\n    return 2 * x", names)
    assert entry_point("int64(int64)")(names["double"])(21) == 42
