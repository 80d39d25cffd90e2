from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from smile_synth.masking.grid import TokenGrid
from smile_synth.training.pictures import loss_curve, mask_picture, motion_colours

GRID = TokenGrid(tubelets=2, rows=2, columns=2, tubelet_size=2, patch_size=4)


def test_mask_picture_shows_input_visible_patches_and_errors() -> None:
    frames = np.full((4, 8, 8, 3), 200, np.uint8)
    is_masked = np.zeros(8, bool)
    is_masked[[0, 5]] = True
    errors = np.zeros(8, np.float32)
    errors[[0, 5]] = (1.0, 3.0)
    image = mask_picture(frames, is_masked, errors, GRID)
    assert image.shape == (24, 16, 3)
    assert (image[:8] == 200).all()
    assert (image[8:12, :4] == 128).all(), "token 0 is hidden in the first tubelet"
    assert (image[8:12, 12:] == 128).all(), "token 5 is hidden in the second tubelet, on the right"
    assert (image[12:16, :4] == 200).all(), "token 2 is visible"
    assert image[16, 12].sum() > image[16, 0].sum(), "the larger error is brighter"


def test_motion_is_shown_as_hue_and_brightness() -> None:
    motion = np.array([[2.0, 0.0], [1.0, 0.0], [-2.0, 0.0], [0.0, 0.0], [np.nan, np.nan]], np.float32)
    assert motion_colours(motion, 2.0).tolist() == [[255, 0, 0], [128, 0, 0], [0, 255, 255], [0, 0, 0], [128, 128, 128]]


def test_mask_picture_shows_true_motion_above_predicted_motion() -> None:
    true, predicted = np.zeros((8, 2), np.float32), np.full((8, 2), np.nan, np.float32)
    true[5], predicted[5] = (4.0, 0.0), (2.0, 0.0)
    frames, errors = np.full((4, 8, 8, 3), 200, np.uint8), np.zeros(8, np.float32)
    image = mask_picture(frames, np.arange(8) == 5, errors, GRID, [true, predicted])
    assert image.shape == (40, 16, 3)
    assert (image[24:28, 12:] == (255, 0, 0)).all(), "token 5 moves to the right, faster than all others"
    assert not image[24:32, :8].any(), "nothing moves in the first tubelet"
    assert (image[32:36, 12:] == (128, 0, 0)).all(), "half as fast as it moves"
    assert (image[32:, :8] == 128).all(), "nothing was predicted there"


def test_loss_curve_is_a_picture(tmp_path: Path) -> None:
    rows = [{"step": step, "loss": 1 / step, "stage": "a" if step < 5 else "b"} for step in range(1, 10)]
    loss_curve(rows, tmp_path / "loss.png")
    assert Image.open(tmp_path / "loss.png").size[0] > 400
