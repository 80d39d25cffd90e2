"""Views of video files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from smile_synth.errors import VideoError
from smile_synth.scene import Canvas
from smile_synth.videos import Spacing, read_views, sampled_frames

CANVAS = Canvas(32, 32, 4)


def write_video(path: Path, frames_THWC: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = *frames_THWC.shape[1:3], "yuv420p"
        stream.bit_rate = 4_000_000
        for frame in frames_THWC:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def brightening(path: Path, num_frames: int = 20, height: int = 48, width: int = 64) -> Path:
    """Frame t is grey of 10 t; the left third is black, the right third is white."""
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    frames[:] = (np.arange(num_frames, dtype=np.uint8) * 10)[:, None, None, None]
    frames[:, :, : width // 3], frames[:, :, -(width // 3) :] = 0, 255
    return write_video(path, frames)


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
