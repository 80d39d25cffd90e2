"""Views of video files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_videos import brightening

from smile_synth.errors import VideoError
from smile_synth.media.videos import Spacing, read_views, sampled_frames
from smile_synth.scene import Canvas

CANVAS = Canvas(32, 32, 4)


@pytest.mark.parametrize(
    ("num_frames", "values", "expected"),
    [
        (16, {"segments": 1}, [[2, 6, 10, 14]]),
        (16, {"segments": 2}, [[1, 3, 5, 7], [9, 11, 13, 15]]),
        (16, {"segments": 1, "frame_stride": 2}, [[5, 7, 9, 11]]),
        (16, {"segments": 2, "frame_stride": 4}, [[0, 4, 8, 12], [3, 7, 11, 15]]),
        (2, {"segments": 1}, [[0, 0, 1, 1]]),
        (3, {"segments": 1, "frame_stride": 2}, [[0, 0, 0, 2]]),
    ],
)
def test_frames_are_spread_over_segments(num_frames: int, values: dict[str, Any], expected: list[list[int]]) -> None:
    assert sampled_frames(num_frames, 4, Spacing(**values)).tolist() == expected


def test_views_show_the_right_frames_and_crops(tmp_path: Path) -> None:
    views = read_views(brightening(tmp_path / "a.mp4"), Spacing(segments=2, crops=3), CANVAS)
    assert views.shape == (6, 4, 32, 32, 3)
    middle = views[:, :, 16, 16].mean(axis=-1)
    wanted = 10 * sampled_frames(20, 4, Spacing(segments=2))
    np.testing.assert_allclose(middle[1], wanted[0], atol=6)
    np.testing.assert_allclose(middle[4], wanted[1], atol=6)
    assert views[0, :, :, 0].mean() < 10
    assert views[2, :, :, -1].mean() > 245


def test_a_truncated_video_is_spread_over_what_is_left_or_named(tmp_path: Path) -> None:
    path = brightening(tmp_path / "a.mp4", num_frames=40)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VideoError, match=r"video .*a\.mp4 cannot be read"):
        read_views(path, Spacing(), CANVAS)


@pytest.mark.parametrize("values", [{"segments": 0}, {"crops": 2}, {"frame_stride": -1}])
def test_views_that_cannot_be_taken_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(VideoError, match="views need at least 1 segment, 1 or 3 crops"):
        Spacing(**values)
