from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from smile_synth.errors import SceneError
from smile_synth.scene import Canvas, Layer, Scene

CANVAS = Canvas(height=6, width=8, num_frames=3)


def make_layer(**changes: object) -> Layer:
    values: dict[str, object] = {
        "texture": np.zeros((4, 4, 4), np.uint8),
        "pose_T6": np.tile(np.array([1, 0, 0, 0, 1, 0], np.float32), (3, 1)),
        "opacity_T": np.ones(3, np.float32),
    }
    return Layer(**(values | changes))  # type: ignore[arg-type]


def make_scene(**changes: object) -> Scene:
    values: dict[str, object] = {"canvas": CANVAS, "background": np.zeros((6, 8, 3), np.uint8)}
    return Scene(**(values | changes))  # type: ignore[arg-type]


def test_a_valid_scene_passes() -> None:
    assert make_scene(layers=(make_layer(),)).layers[0].class_name == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"texture": np.zeros((4, 4, 3), np.uint8)}, r"uint8 \(h, w, 4\).*got uint8 \(4, 4, 3\)"),
        ({"texture": np.zeros((4, 4, 4), np.float32)}, "got float32"),
        ({"texture": np.zeros((2, 4, 4, 4), np.uint8)}, "must have 3 frames.*got 2"),
        ({"pose_T6": np.zeros((3, 5), np.float32)}, r"pose must be float32 \(T, 6\), got float32 \(3, 5\)"),
        ({"pose_T6": np.full((3, 6), np.nan, np.float32)}, "finite"),
        ({"opacity_T": np.full(3, 1.5, np.float32)}, r"\[0, 1\], got 1.5"),
        ({"opacity_T": np.full(3, np.nan, np.float32)}, r"\[0, 1\]"),
        ({"opacity_T": np.ones(2, np.float32)}, r"got float32 \(2,\)"),
    ],
)
def test_a_layer_names_what_is_wrong_with_it(changes: dict[str, object], said: str) -> None:
    with pytest.raises(SceneError, match=said):
        make_layer(**changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"background": np.zeros((5, 8, 3), np.uint8)}, r"canvas's size \(6, 8\), got \(5, 8\)"),
        ({"background": np.zeros((2, 6, 8, 3), np.uint8)}, "must have 3 frames, got 2"),
        ({"camera_T33": np.zeros((3, 3, 3), np.float32)}, "invertible"),
        ({"camera_T33": np.zeros((2, 3, 3), np.float32)}, r"float32 \(3, 3, 3\), got float32 \(2, 3, 3\)"),
        ({"layers": (make_layer(pose_T6=np.zeros((2, 6), np.float32), opacity_T=np.ones(2, np.float32)),)}, "layer 0"),
    ],
)
def test_a_scene_names_what_is_wrong_with_it(changes: dict[str, object], said: str) -> None:
    with pytest.raises(SceneError, match=said):
        make_scene(**changes)


def test_a_camera_allows_a_larger_background() -> None:
    camera = np.tile(np.eye(3, dtype=np.float32), (3, 1, 1))
    assert make_scene(background=np.zeros((60, 80, 3), np.uint8), camera_T33=camera).camera_T33 is camera


@pytest.mark.parametrize("size", [0, -1, 2.0])
def test_a_canvas_refuses_sizes_that_are_no_counts(size: object) -> None:
    with pytest.raises(SceneError, match="at least 1"):
        dataclasses.replace(CANVAS, height=size)


def test_canvases_compare_by_value() -> None:
    assert Canvas(6, 8, 3) == CANVAS
    assert Canvas(8, 6, 3) != CANVAS
    assert str(CANVAS) == "3x6x8"
