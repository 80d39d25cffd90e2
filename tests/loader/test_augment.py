"""Flips and crops of batches, and the boxes that follow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from smile_synth.loader.augment import Views, augment, augment_motion, sample_views
from smile_synth.recipe.loading import AugmentParams
from smile_synth.render import render
from smile_synth.scene import Canvas, Layer, Scene

HEIGHT, WIDTH = 24, 32


def squares(corners: list[tuple[int, int, int, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return clips of 2 frames, each with one white rectangle (x1, y1, x2, y2) on black, and its box."""
    frames = torch.zeros(len(corners), 2, HEIGHT, WIDTH, 3, dtype=torch.uint8)
    boxes = torch.zeros(len(corners), 1, 2, 4)
    for clip, (x1, y1, x2, y2) in enumerate(corners):
        frames[clip, :, y1:y2, x1:x2] = 255
        boxes[clip] = torch.tensor([x1, y1, x2, y2], dtype=torch.float32)
    return frames, boxes


def whole(count: int, is_flipped: bool) -> Views:
    return Views(torch.tensor([[0.0, 0, WIDTH, HEIGHT]] * count), torch.full((count,), is_flipped))


def drawn_box(picture: torch.Tensor) -> list[int]:
    """Return the edges of what is brighter than half."""
    rows, columns = torch.nonzero(picture[..., 0] > 127, as_tuple=True)
    return [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]


def test_nothing_is_on_by_default() -> None:
    assert not AugmentParams().changes_anything
    views = sample_views(AugmentParams(), height=HEIGHT, width=WIDTH, seed=0, step=0, first=0, count=3)
    frames, boxes = squares([(3, 4, 9, 11)] * 3)
    seen, seen_boxes = augment(frames, boxes, views)
    assert torch.equal(seen, frames)
    assert torch.equal(seen_boxes, boxes)


def test_flip_mirrors_pixels_and_boxes() -> None:
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, HEIGHT, WIDTH, 3), dtype=np.uint8))
    boxes = torch.tensor([3.0, 4, 9, 11]).expand(2, 1, 3, 4)
    seen, seen_boxes = augment(frames, boxes, whole(2, is_flipped=True))
    assert torch.equal(seen, frames.flip(3))
    assert torch.equal(seen_boxes, torch.tensor([WIDTH - 9.0, 4, WIDTH - 3, 11]).expand(2, 1, 3, 4))


def test_flip_decides_for_each_clip_alone() -> None:
    frames, boxes = squares([(3, 4, 9, 11)] * 2)
    views = Views(whole(2, False).crops_B4, torch.tensor([True, False]))
    seen, _ = augment(frames, boxes, views)
    assert torch.equal(seen[0], frames[0].flip(2))
    assert torch.equal(seen[1], frames[1])


@settings(max_examples=60, deadline=None)
@given(
    x=st.tuples(st.integers(0, WIDTH), st.integers(0, WIDTH)).filter(lambda v: v[1] - v[0] >= 3),
    y=st.tuples(st.integers(0, HEIGHT), st.integers(0, HEIGHT)).filter(lambda v: v[1] - v[0] >= 3),
    seed=st.integers(0, 2**31),
)
def test_box_lies_where_the_object_is_seen(x: tuple[int, int], y: tuple[int, int], seed: int) -> None:
    frames, boxes = squares([(x[0], y[0], x[1], y[1])])
    params = AugmentParams(flip_probability=0.5, crop_area=(0.3, 1.0))
    views = sample_views(params, height=HEIGHT, width=WIDTH, seed=seed, step=1, first=0, count=1)
    seen, seen_boxes = augment(frames, boxes, views)
    box = seen_boxes[0, 0, 0]
    if torch.isnan(box).any():
        assert torch.isnan(box).all()
        assert (seen[0, 0] > 127).sum() == 0
    elif (box[2:] - box[:2]).min() >= 2:
        assert np.abs(np.subtract(drawn_box(seen[0, 0]), box.numpy())).max() <= 0.5 + 1e-4


def test_absent_box_stays_absent() -> None:
    frames, boxes = squares([(3, 4, 9, 11)])
    boxes[0, 0, 1] = float("nan")
    _, seen_boxes = augment(frames, boxes, whole(1, is_flipped=True))
    assert torch.isnan(seen_boxes[0, 0, 1]).all()
    assert not torch.isnan(seen_boxes[0, 0, 0]).any()


def seen_through(scene: Scene, view_33: np.ndarray) -> Scene:
    """Return a scene whose layers are drawn through a further affine map of the canvas."""
    layers = []
    for layer in scene.layers:
        matrix = np.tile(np.eye(3), (len(layer.pose_T6), 1, 1))
        matrix[:, :2] = layer.pose_T6.reshape(-1, 2, 3)
        pose_T6 = (view_33 @ matrix)[:, :2].reshape(-1, 6).astype(np.float32)
        layers.append(Layer(layer.texture, pose_T6, layer.opacity_T))
    return Scene(scene.canvas, scene.background[:, ::-1], layers=tuple(layers))


def turning_scene(size_px: float) -> Scene:
    """Return a disc of noise that turns and travels to the right over a still background."""
    rng = np.random.default_rng(0)
    canvas, t = Canvas(HEIGHT, WIDTH, 3), np.arange(3)
    texture = rng.integers(0, 256, (20, 20, 4), dtype=np.uint8)
    texture[..., 3] = 255
    a, b = np.cos(0.1 * t) * size_px / 20, -np.sin(0.1 * t) * size_px / 20
    pose_T6 = np.stack([a, b, 14 + t - 10 * (a + b), -b, a, 12 - 10 * (a - b)], axis=1).astype(np.float32)
    background = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Scene(canvas, background, layers=(Layer(texture, pose_T6, np.ones(3, np.float32)),))


def motion_of(scene: Scene) -> torch.Tensor:
    motion = render(scene, motion_cell_px=4).motion_THW2
    assert motion is not None
    return torch.from_numpy(motion)[None]


def test_motion_of_a_flipped_clip_is_that_of_the_flipped_scene() -> None:
    scene = turning_scene(size_px=14)
    mirrored = seen_through(scene, np.array([[-1, 0, WIDTH], [0, 1, 0], [0, 0, 1]]))
    seen = augment_motion(motion_of(scene), whole(1, is_flipped=True), height=HEIGHT, width=WIDTH)
    expected = motion_of(mirrored)
    assert expected[0, :2].abs().max() > 0.8
    torch.testing.assert_close(seen, expected, atol=0.01, rtol=0, equal_nan=True)


def test_motion_of_a_cropped_clip_is_that_of_the_cropped_scene() -> None:
    scene = turning_scene(size_px=100)
    views = Views(torch.tensor([[8.0, 4, 24, 16]]), torch.tensor([False]))
    enlarged = seen_through(scene, np.array([[2, 0, -16], [0, 2, -8], [0, 0, 1]]))
    seen = augment_motion(motion_of(scene), views, height=HEIGHT, width=WIDTH)
    torch.testing.assert_close(seen, motion_of(enlarged), atol=0.01, rtol=0, equal_nan=True)


def test_motion_through_the_whole_view_stays_as_it_is() -> None:
    motion = motion_of(turning_scene(size_px=14))
    seen = augment_motion(motion, whole(1, is_flipped=False), height=HEIGHT, width=WIDTH)
    torch.testing.assert_close(seen, motion, atol=1e-5, rtol=1e-5, equal_nan=True)


def test_cells_without_motion_have_none_in_any_view() -> None:
    motion = torch.ones(2, 1, HEIGHT // 4, WIDTH // 4, 2)
    motion[:, 0, 2, 1] = float("nan")
    views = Views(torch.tensor([[0.0, 0, WIDTH, HEIGHT], [0, 0, WIDTH / 2, HEIGHT / 2]]), torch.tensor([True, False]))
    seen = augment_motion(motion, views, height=HEIGHT, width=WIDTH)
    assert torch.isnan(seen[0, 0, 2, WIDTH // 4 - 2]).all()
    assert torch.isnan(seen[0, 0]).sum() == 2
    assert torch.isnan(seen[1, 0, 4, 2]).all()
    defined = seen[1, 0][torch.isfinite(seen[1, 0]).all(dim=-1)]
    torch.testing.assert_close(defined, torch.tensor([2.0, 2.0]).expand_as(defined))


def test_views_depend_on_the_place_in_the_global_batch_only() -> None:
    params = AugmentParams(flip_probability=0.5, crop_area=(0.2, 0.9))
    size = {"height": HEIGHT, "width": WIDTH, "seed": 5, "step": 7}
    together = sample_views(params, **size, first=0, count=8)
    apart = [sample_views(params, **size, first=first, count=4) for first in (0, 4)]
    assert torch.equal(together.crops_B4, torch.cat([views.crops_B4 for views in apart]))
    assert torch.equal(together.is_flipped_B, torch.cat([views.is_flipped_B for views in apart]))
    other = sample_views(params, **{**size, "step": 8}, first=0, count=8)
    assert not torch.equal(together.crops_B4, other.crops_B4)


def test_crops_have_the_area_and_aspect_that_were_asked() -> None:
    params = AugmentParams(crop_area=(0.25, 0.5), crop_aspect=(1.0, 1.0))
    views = sample_views(params, height=224, width=224, seed=0, step=0, first=0, count=200)
    sizes = views.crops_B4[:, 2:] - views.crops_B4[:, :2]
    assert torch.equal(sizes[:, 0], sizes[:, 1])
    areas = sizes.prod(dim=1) / 224**2
    assert 0.245 <= areas.min() < 0.3
    assert 0.45 < areas.max() <= 0.505
    assert views.crops_B4.min() >= 0
    assert views.crops_B4.max() <= 224


def test_crop_of_a_canvas_that_is_far_from_square_stays_inside() -> None:
    params = AugmentParams(crop_area=(0.9, 1.0))
    views = sample_views(params, height=8, width=200, seed=0, step=0, first=0, count=50)
    assert (views.crops_B4[:, :2] >= 0).all()
    assert (views.crops_B4[:, 2] <= 200).all()
    assert (views.crops_B4[:, 3] <= 8).all()


@pytest.mark.parametrize(
    "values",
    [
        {"crop_area": (0, 1)},
        {"crop_area": (0.5, 0.2)},
        {"crop_area": (0.5, 1.2)},
        {"crop_aspect": (1, 2)},
        {"crop_area": (0.5, 1), "crop_aspect": (2, 1)},
        {"flip_probability": 1.5},
    ],
)
def test_senseless_parameters_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AugmentParams(**values)  # type: ignore[arg-type]
