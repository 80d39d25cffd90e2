"""Positions of frames and squares, against values computed by hand from the published rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smile_synth.errors import VideoError
from smile_synth.randomness import stream
from smile_synth.videos.positions import (
    crop_corners,
    dense_positions,
    dense_views,
    uniform_positions,
    uniform_views,
)


@pytest.mark.parametrize(
    ("num_frames", "clip_frames", "stride", "expected"),
    [
        # A clip of 4 frames, stride 4, spans 3 * 4 + 1 = 13 frames: of 30, floor(17 / 2) = 8 come before it.
        (30, 4, 4, [8, 12, 16, 20]),
        (13, 4, 4, [0, 4, 8, 12]),
        # Too short: the last frame is repeated.
        (10, 4, 4, [0, 4, 8, 9]),
        (1, 4, 4, [0, 0, 0, 0]),
    ],
)
def test_dense_positions_are_centred(num_frames: int, clip_frames: int, stride: int, expected: list[int]) -> None:
    assert dense_positions(num_frames, clip_frames, stride, rng=None).tolist() == expected


def test_dense_positions_begin_at_every_possible_frame_equally_often() -> None:
    rng = stream(0, "dense")
    starts = [int(dense_positions(16, 4, 4, rng=rng)[0]) for _ in range(4000)]
    # 16 - 13 = 3: starts are 0 to 3, a quarter of the draws each.
    shares = np.bincount(starts, minlength=4) / len(starts)
    assert len(shares) == 4
    np.testing.assert_allclose(shares, 0.25, atol=0.03)


@pytest.mark.parametrize(
    ("num_frames", "expected"),
    [
        # Parts of 30 / 4 = 7.5 frames, middles 3.75, 11.25, 18.75, 26.25.
        (30, [3, 11, 18, 26]),
        (8, [1, 3, 5, 7]),
        # Parts of half a frame: middles 0.25, 0.75, 1.25, 1.75.
        (2, [0, 0, 1, 1]),
    ],
)
def test_uniform_positions_are_the_middles_of_equal_parts(num_frames: int, expected: list[int]) -> None:
    assert uniform_positions(num_frames, 4, rng=None).tolist() == expected


def test_uniform_positions_draw_from_every_frame_of_their_part() -> None:
    rng = stream(0, "uniform")
    drawn = np.array([uniform_positions(10, 4, rng=rng) for _ in range(500)])
    # Parts of 10 / 4 frames begin at floor(0, 2.5, 5, 7.5): the parts are 0-1, 2-4, 5-6 and 7-9.
    assert [sorted(set(column)) for column in drawn.T.tolist()] == [[0, 1], [2, 3, 4], [5, 6], [7, 8, 9]]


@pytest.mark.parametrize(
    ("num_frames", "stride", "segments", "expected"),
    [
        # Of 40 frames every 4th: 0, 4, ..., 36, which are 10. Clips of 4 leave room for 6; with three clips the step is
        # 6 / 2 = 3: clips begin at the sampled frames 0, 3 and 6.
        (40, 4, 3, [[0, 4, 8, 12], [12, 16, 20, 24], [24, 28, 32, 36]]),
        # Two clips: step 6, the first and the last one.
        (40, 4, 2, [[0, 4, 8, 12], [24, 28, 32, 36]]),
        # Five clips: step 1.5, begins 0, 1.5, 3, 4.5, 6 cut down to 0, 1, 3, 4, 6.
        (
            40,
            4,
            5,
            [[0, 4, 8, 12], [4, 8, 12, 16], [12, 16, 20, 24], [16, 20, 24, 28], [24, 28, 32, 36]],
        ),
        # Every 4th of 9 frames: 0, 4, 8, padded with the last one; no room, so all clips are the same.
        (9, 4, 2, [[0, 4, 8, 8], [0, 4, 8, 8]]),
        # A single clip is ours (the published step divides by zero): 10 sampled, 6 to spare, 3 before it.
        (40, 4, 1, [[12, 16, 20, 24]]),
    ],
)
def test_dense_views_follow_the_published_rule(
    num_frames: int, stride: int, segments: int, expected: list[list[int]]
) -> None:
    assert dense_views(num_frames, 4, stride, segments).tolist() == expected


def test_dense_views_of_a_kinetics_clip() -> None:
    # 300 frames, stride 4: 75 sampled, 75 - 16 = 59 to spare. Five clips: step 59 / 4 = 14.75, begins 0, 14.75, 29.5,
    # 44.25, 59 cut down to 0, 14, 29, 44, 59, in frames 0, 56, 116, 176, 236; the last ends at 236 + 60 = 296.
    views = dense_views(300, 16, 4, 5)
    assert views[:, 0].tolist() == [0, 56, 116, 176, 236]
    assert views[:, -1].tolist() == [60, 116, 176, 236, 296]
    assert (np.diff(views) == 4).all()


@pytest.mark.parametrize(
    ("num_frames", "segments", "expected"),
    [
        # Ticks of 30 / 4 = 7.5: the first clip takes floor(0, 7.5, 15, 22.5), the second floor(3.75, 11.25, ...).
        (30, 2, [[0, 7, 15, 22], [3, 11, 18, 26]]),
        (1, 2, [[0, 0, 0, 0], [0, 0, 0, 0]]),
        # Ours: thirds of a tick, 0, 2.5 and 5 frames.
        (30, 3, [[0, 7, 15, 22], [2, 10, 17, 25], [5, 12, 20, 27]]),
        (30, 1, [[3, 11, 18, 26]]),
    ],
)
def test_uniform_views_follow_the_published_rule(num_frames: int, segments: int, expected: list[list[int]]) -> None:
    assert uniform_views(num_frames, 4, segments).tolist() == expected


@pytest.mark.parametrize(
    ("height", "width", "side", "crops", "expected"),
    [
        # (341 - 256) / 2 = 42.5 a step.
        (256, 341, 256, 3, [[0, 0], [0, 42], [0, 85]]),
        (341, 256, 256, 3, [[0, 0], [42, 0], [85, 0]]),
        (256, 341, 256, 1, [[0, 42]]),
        (256, 341, 224, 3, [[16, 0], [16, 58], [16, 117]]),
        (224, 224, 224, 3, [[0, 0], [0, 0], [0, 0]]),
    ],
)
def test_squares_lie_along_the_long_side(
    height: int, width: int, side: int, crops: int, expected: list[list[int]]
) -> None:
    assert crop_corners(height, width, side, crops).tolist() == expected  # type: ignore[arg-type]


def test_a_square_larger_than_the_frames_is_refused() -> None:
    with pytest.raises(VideoError, match="a square of 224 px does not fit into frames of 200x300"):
        crop_corners(200, 300, 224, 3)


@given(st.integers(1, 500), st.integers(1, 32), st.integers(1, 16), st.integers(1, 7), st.integers(0, 2**32))
def test_positions_lie_inside_and_rise(n: int, clip_frames: int, stride: int, segments: int, seed: int) -> None:
    rng = stream(seed, "positions")
    for positions in (
        dense_positions(n, clip_frames, stride, rng=rng),
        dense_positions(n, clip_frames, stride, rng=None),
        uniform_positions(n, clip_frames, rng=rng),
        uniform_positions(n, clip_frames, rng=None),
        *dense_views(n, clip_frames, stride, segments),
        *uniform_views(n, clip_frames, segments),
    ):
        assert positions.shape == (clip_frames,)
        assert positions.dtype == np.int64
        assert positions.min() >= 0
        assert positions.max() < n
        assert (np.diff(positions) >= 0).all()


def test_a_video_without_frames_has_no_positions() -> None:
    with pytest.raises(VideoError, match="at least 1 frame, got 0"):
        dense_positions(0, 4, 1, rng=None)
    with pytest.raises(VideoError, match="at least 1 frame, got 0"):
        uniform_views(0, 4, 2)
