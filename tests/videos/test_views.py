"""Views of video files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from mutations import mutated
from tiny_videos import brightening

from smile_synth.errors import VideoError
from smile_synth.media.preview import save_animation
from smile_synth.randomness import stream
from smile_synth.scene import Canvas
from smile_synth.videos.views import Spacing, read_views, sampled_frames

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


def _text(path: Path) -> None:
    path.write_text("I am no video\n" * 100)


def _audio_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44_100)
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        silence.sample_rate = 44_100
        container.mux(stream.encode(silence))
        container.mux(stream.encode())


def _no_frames(path: Path) -> None:
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        container.start_encoding()


def _truncated(path: Path) -> None:
    whole = brightening(path).read_bytes()
    path.write_bytes(whole[:100])


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Path.touch, "it is empty"),
        (_text, "invalid data found"),
        (_truncated, "invalid data found"),
        (_audio_only, "it has no video stream"),
        (_no_frames, "it holds no frame"),
        (_fifo, "it is no regular file"),
        (_folder, "it is no regular file"),
        (lambda path: None, "no such file"),
    ],
)
def test_what_is_no_video_is_named_with_the_reason(
    tmp_path: Path, make: Callable[[Path], None], reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.mp4"
    make(path)
    with pytest.raises(VideoError, match=rf"^video .*bad\.mp4 cannot be read: {reason}.*; replace it, or take it out"):
        read_views(path, Spacing(), CANVAS)
    assert capfd.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv", "mov", "gif"])
def test_a_damaged_video_is_views_or_one_error(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "gif":
        save_animation(stream(0, "video").integers(0, 256, (6, 48, 64, 3), dtype=np.uint8), path)
    else:
        brightening(path)
    data, refused = path.read_bytes(), []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for trial in range(120):
            path.write_bytes(mutated(data, path.name, trial))
            try:
                views = read_views(path, Spacing(segments=2), CANVAS)
            except VideoError as error:
                refused.append(str(error))
            else:
                assert views.shape == (2, 4, 32, 32, 3)
    assert all(path.name in message for message in refused)
    assert len(refused) > 12
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("values", [{"segments": 0}, {"crops": 2}, {"frame_stride": -1}])
def test_views_that_cannot_be_taken_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(VideoError, match="views need at least 1 segment, 1 or 3 crops"):
        Spacing(**values)
