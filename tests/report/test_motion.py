"""Statistics of motion and layout on hand-made tracks whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from smile_synth.report.measure.layout_statistics import GRID_SIDE, measure_layout
from smile_synth.report.measure.motion_statistics import (
    DIRECTIONS,
    ROSE_BINS,
    count_directions,
    direction_counts,
    measure_motion,
)
from smile_synth.report.measure.tracks import find_tracks

SIZE = 100


def make(centres_T2, *, side=10.0, angle_deg_T=None, scale_T=None, mirrored=False):
    """Return boxes and poses of one square object whose texture is 10 x 10, boxes clipped to the canvas."""
    centres = np.asarray(centres_T2, np.float64)
    frames = len(centres)
    angle = np.radians(np.zeros(frames) if angle_deg_T is None else np.asarray(angle_deg_T, np.float64))
    scale = np.ones(frames) if scale_T is None else np.asarray(scale_T, np.float64)
    a, d = np.cos(angle) * scale, np.sin(angle) * scale
    b, e = -d, a
    if mirrored:
        a, d = -a, -d
    c = centres[:, 0] - a * 5 - b * 5
    f = centres[:, 1] - d * 5 - e * 5
    poses = np.stack([a, b, c, d, e, f], -1)
    half = side * scale[:, None] / 2
    boxes = np.concatenate([centres - half, centres + half], -1)
    is_out = (boxes[:, 0] >= SIZE) | (boxes[:, 1] >= SIZE) | (boxes[:, 2] <= 0) | (boxes[:, 3] <= 0)
    boxes = np.clip(boxes, 0, SIZE)
    boxes[is_out] = np.nan
    return boxes[None, None].astype(np.float32), poses[None, None].astype(np.float32)


def tracks_of(boxes, poses, opacity=None):
    opacity = np.ones(poses.shape[:3], np.float32) if opacity is None else opacity
    return find_tracks(boxes, poses, opacity, height=SIZE, width=SIZE)


def line(start, step, frames):
    return np.asarray(start) + np.arange(frames)[:, None] * np.asarray(step)


def test_straight_motion_has_its_speed_and_no_acceleration_or_curvature():
    sample = measure_motion(tracks_of(*make(line((20, 30), (3, 4), 8))))
    np.testing.assert_allclose(sample.values["speed"], 5, rtol=1e-5)
    np.testing.assert_allclose(sample.values["displacement"], 35, rtol=1e-5)
    np.testing.assert_allclose(sample.values["acceleration"], 0, atol=1e-4)
    np.testing.assert_allclose(sample.values["curvature"], 0, atol=1e-3)
    np.testing.assert_allclose(sample.values["size"], 10, rtol=1e-5)
    assert sample.fastest_B[0] == pytest.approx(5, rel=1e-5)


def test_speed_of_an_object_cut_off_at_the_border_is_that_of_the_object():
    sample = measure_motion(tracks_of(*make(line((80, 50), (3, 0), 8))))
    speed = sample.values["speed"]
    np.testing.assert_allclose(speed[np.isfinite(speed)], 3, rtol=1e-5)
    assert np.isfinite(speed).sum() == 7


def test_time_visible_counts_frames_on_the_canvas():
    sample = measure_motion(tracks_of(*make(line((50, 50), (20, 0), 8))))
    assert sample.values["time_visible"][0] == pytest.approx(3 / 8)


def test_rotation_adds_up_over_more_than_a_turn_and_positive_is_clockwise():
    angle = np.arange(8) * 60.0
    sample = measure_motion(tracks_of(*make(line((50, 50), (1, 0), 8), angle_deg_T=angle)))
    assert sample.values["rotation"][0] == pytest.approx(420, abs=1e-3)


def test_rotation_of_a_mirrored_object_keeps_its_sense():
    angle = np.arange(8) * 10.0
    sample = measure_motion(tracks_of(*make(line((50, 50), (1, 0), 8), angle_deg_T=angle, mirrored=True)))
    assert sample.values["rotation"][0] == pytest.approx(70, abs=1e-3)


def test_size_change_is_last_over_first():
    sample = measure_motion(tracks_of(*make(line((50, 50), (1, 0), 5), scale_T=[1, 1.2, 1.4, 1.6, 2])))
    assert sample.values["size_change"][0] == pytest.approx(2, rel=1e-5)


def test_curvature_of_a_circle_is_one_over_its_radius():
    angle = np.radians(np.arange(12) * 10)
    circle = 50 + 30 * np.stack([np.cos(angle), np.sin(angle)], -1)
    sample = measure_motion(tracks_of(*make(circle)))
    # 10 turns of 10 degrees over 11 chords.
    assert sample.values["curvature"][0] == pytest.approx(100 / (11 * 60 * np.sin(np.radians(5))), rel=1e-3)


def test_object_that_moves_inside_its_texture_is_followed_by_its_box():
    boxes, poses = make(line((20, 50), (5, 0), 8))
    poses[:] = poses[:, :, :1]
    sample = measure_motion(tracks_of(boxes, poses))
    np.testing.assert_allclose(sample.values["speed"], 5, rtol=1e-5)


def test_empty_slots_count_nowhere():
    boxes = np.full((2, 3, 4, 4), np.nan, np.float32)
    tracks = tracks_of(boxes, np.zeros((2, 3, 4, 6), np.float32), np.zeros((2, 3, 4), np.float32))
    sample = measure_motion(tracks)
    assert not tracks.is_present_BK.any()
    assert all(values.size == 0 for values in sample.values.values())
    assert np.isnan(sample.fastest_B).all()


def test_one_frame_and_no_slot_are_measured_without_complaint():
    for shape in ((2, 1, 1), (2, 0, 4)):
        boxes = np.full((*shape, 4), np.nan, np.float32)
        tracks = tracks_of(boxes, np.zeros((*shape, 6), np.float32), np.zeros(shape, np.float32))
        assert measure_motion(tracks).values["speed"].size == 0
        assert np.isnan(measure_layout(boxes, height=SIZE, width=SIZE).most_covered_B).all()


@pytest.mark.parametrize(
    ("step", "name"), [((2, 0), "right"), ((0, 2), "down"), ((-2, -2), "up-left"), ((0, -2), "up")]
)
def test_direction_is_named_as_seen_on_the_screen(step, name):
    sample = measure_motion(tracks_of(*make(line((50, 50), step, 4))))
    rose = count_directions(sample.heading_deg_BK, np.ones((1, 1), bool))
    counts = direction_counts(rose, undefined=0)
    assert [entry.name for entry in counts.counts if entry.count] == [name]


def test_all_headings_are_counted_once():
    heading = np.arange(0.05, 360, 0.1)[None]
    rose = count_directions(heading, np.ones_like(heading, bool))
    assert rose.sum() == 3600
    assert rose.tolist() == [3600 // ROSE_BINS] * ROSE_BINS
    assert [entry.count for entry in direction_counts(rose, 0).counts] == [450] * len(DIRECTIONS)


def test_object_that_stands_still_has_no_direction():
    sample = measure_motion(tracks_of(*make(line((50, 50), (0, 0), 4))))
    assert np.isnan(sample.heading_deg_BK).all()
    assert np.isnan(sample.values["curvature"]).all()


def test_coverage_and_occlusion_of_two_boxes():
    boxes = np.full((1, 2, 1, 4), np.nan, np.float32)
    boxes[0, 0, 0] = (0, 0, 50, 100)
    boxes[0, 1, 0] = (25, 0, 100, 100)
    layout = measure_layout(boxes, height=SIZE, width=SIZE)
    assert layout.values["coverage"][0, 0] == pytest.approx(1)
    np.testing.assert_allclose(layout.values["occlusion"], [0.5, 0], atol=1e-6)
    assert layout.most_covered_B[0] == pytest.approx(0.5)
    assert layout.values["objects_per_frame"].tolist() == [[2]]


def test_heat_adds_up_to_the_covered_area():
    boxes = np.full((1, 1, 2, 4), np.nan, np.float32)
    boxes[0, 0, 0] = (13, 7, 61, 33)
    layout = measure_layout(boxes, height=SIZE, width=SIZE)
    assert layout.frames == 2
    assert layout.heat.sum() / GRID_SIDE**2 == pytest.approx(48 * 26 / SIZE**2, rel=1e-5)
    assert layout.heat[0].sum() == 0
