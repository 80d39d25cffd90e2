"""Statistics of pixels on pictures whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from smile_synth.report.measure.appearance_statistics import COLOUR_BINS, colour_grid, measure_appearance
from smile_synth.report.measure.duplicates import near_duplicates, thumbnail
from smile_synth.report.measure.spectrum import Rings

NO_BOXES = np.empty((1, 0, 4, 4), np.float32)
RINGS = Rings(32, 32)


def clip_of(value, *, size=32):
    frames = np.empty((1, 4, size, size, 3), np.uint8)
    frames[:] = value
    return frames


def power_law_frame(exponent, *, size=128):
    rng = np.random.default_rng(3)
    radius = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    radius[0, 0] = 1
    spectrum = np.fft.fft2(rng.normal(size=(size, size))) / radius**exponent
    spectrum[0, 0] = 0
    picture = np.fft.ifft2(spectrum).real
    picture = 128 + 40 * picture / picture.std()
    return np.clip(picture, 0, 255).astype(np.uint8)[..., None].repeat(3, -1)


def test_white_and_black_are_100_and_0():
    assert measure_appearance(clip_of(255), NO_BOXES, RINGS).values["brightness"][0] == pytest.approx(100, abs=0.1)
    assert measure_appearance(clip_of(0), NO_BOXES, RINGS).values["brightness"][0] == pytest.approx(0, abs=0.1)


def test_still_clip_does_not_change_and_a_step_of_ten_levels_is_ten():
    frames = clip_of(100)
    assert measure_appearance(frames, NO_BOXES, RINGS).values["change"].tolist() == [[0, 0, 0]]
    frames[:, 2:] = 110
    sample = measure_appearance(frames, NO_BOXES, RINGS)
    assert sample.values["change"].tolist() == [[0, 10, 0]]
    assert sample.values["changed_share"].tolist() == [[0, 1, 0]]


def test_half_of_the_pixels_changing_is_a_half():
    frames = clip_of(100)
    frames[:, 2:, :16] = 200
    np.testing.assert_allclose(measure_appearance(frames, NO_BOXES, RINGS).values["changed_share"], [[0, 0.5, 0]])


def test_contrast_outside_objects_leaves_their_boxes_out():
    frames = clip_of(100)
    frames[:, :, 8:16, 8:16] = 255
    boxes = np.full((1, 1, 4, 4), np.nan, np.float32)
    boxes[0, 0] = (8, 8, 16, 16)
    values = measure_appearance(frames, boxes, RINGS).values
    assert values["background_contrast"].ravel()[0] == pytest.approx(0, abs=1e-4)
    assert values["contrast"][0] > 5


def test_background_under_a_box_over_the_whole_canvas_is_undefined():
    boxes = np.full((1, 1, 4, 4), np.nan, np.float32)
    boxes[0, 0] = (0, 0, 32, 32)
    assert np.isnan(measure_appearance(clip_of(9), boxes, RINGS).values["background_contrast"]).all()


def test_grey_lies_in_the_middle_of_the_colour_plane_and_red_right_above_it():
    grey = np.array(colour_grid(measure_appearance(clip_of(128), NO_BOXES, RINGS).colours).values)
    row, column = np.unravel_index(grey.argmax(), grey.shape)
    assert grey.max() == pytest.approx(100)
    assert abs(row - (COLOUR_BINS - 1) / 2) <= 1
    assert abs(column - (COLOUR_BINS - 1) / 2) <= 1
    red = np.array(colour_grid(measure_appearance(clip_of((255, 0, 0)), NO_BOXES, RINGS).colours).values)
    red_row, red_column = np.unravel_index(red.argmax(), red.shape)
    assert red_column > column
    assert red_row < row


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.5])
def test_exponent_of_a_power_law_picture_is_found(exponent):
    rings = Rings(128, 128)
    assert rings.exponent(rings.amplitude(power_law_frame(exponent))) == pytest.approx(exponent, abs=0.1)


def test_frame_too_small_for_a_fit_has_no_exponent():
    rings = Rings(2, 2)
    assert rings.exponent(rings.amplitude(np.zeros((2, 2, 3), np.uint8))) is None


def test_flat_frame_has_a_finite_spectrum():
    assert np.isfinite(np.log(Rings(32, 48).amplitude(np.full((32, 48, 3), 7, np.uint8)))).all()


def test_near_duplicates_are_found_and_others_not():
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 256, (5, 2, 16, 16, 3), dtype=np.uint8)
    clips[3] = clips[1]
    clips[3, 0, 0, 0] += 3
    share, pairs = near_duplicates(np.stack([thumbnail(clip) for clip in clips]))
    assert share == pytest.approx(2 / 5)
    assert pairs == [(1, 3)]


def test_one_clip_has_no_duplicate():
    assert near_duplicates(np.zeros((1, 4), np.float32)) == (0.0, [])
