"""Decoding chosen frames: the right ones, upright, from any file that plays."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from tiny_videos import counted, counting, write_video

from smile_synth.errors import VideoError
from smile_synth.randomness import stream
from smile_synth.videos import pyav
from smile_synth.videos.decoding import decode
from smile_synth.videos.frames import VideoInfo

Frames = npt.NDArray[np.uint8]
ENCODINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "h264 with B-frames": ("a.mp4", {"codec": "libx264", "options": {"g": "12", "bf": "3"}}),
    "h264 of open groups": (
        "a.mkv",
        {"codec": "libx264", "options": {"g": "10", "x264-params": "open-gop=1:bframes=3"}},
    ),
    "h264 of one group": ("a.mov", {"codec": "libx264", "options": {"g": "250", "bf": "2"}}),
    "h264 of key frames alone": ("a.mp4", {"codec": "libx264", "options": {"g": "1"}}),
    "mpeg4 in AVI": ("a.avi", {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}}),
    "mpeg4 in MP4": ("a.mp4", {"codec": "mpeg4", "options": {"g": "12"}}),
    "VP9": ("a.webm", {"codec": "libvpx-vp9", "options": {"g": "16", "deadline": "realtime", "cpu-used": "8"}}),
    "VP8 with hidden frames": (
        "a.webm",
        {"codec": "libvpx", "options": {"g": "16", "auto-alt-ref": "1", "lag-in-frames": "10", "cpu-used": "8"}},
    ),
    "MPEG-1 stream": ("a.mpg", {"codec": "mpeg1video", "options": {"g": "12", "bf": "2"}}),
}


def these(*numbers: int) -> Callable[[VideoInfo], npt.NDArray[np.int64]]:
    return lambda info: np.array(numbers, np.int64)


@pytest.mark.parametrize("name", ENCODINGS)
def test_chosen_frames_are_those_of_decoding_from_the_start(tmp_path: Path, name: str) -> None:
    file, values = ENCODINGS[name]
    path = write_video(tmp_path / file, counting(60), **values)
    with av.open(str(path)) as container:
        whole = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    rng = stream(1, name)
    for _ in range(12):
        wanted = rng.integers(0, 60, int(rng.integers(1, 9)))
        frames = decode(path, these(*wanted.tolist()), short_side=None)
        assert counted(frames) == wanted.tolist()
        np.testing.assert_array_equal(frames, np.stack([whole[number] for number in wanted]))


def test_only_what_is_needed_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(
        tmp_path / "a.mp4", counting(200), codec="libx264", options={"g": "10", "bf": "0", "sc_threshold": "0"}
    )
    decoded = []
    inner = pyav._decoded

    def watched(*args: Any) -> Any:
        for frame in inner(*args):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(pyav, "_decoded", watched)
    assert counted(decode(path, these(42, 45, 191), short_side=None)) == [42, 45, 191]
    # From the key frames 40 and 190 on: 6 frames and 2.
    assert len(decoded) == 8


def test_frames_are_counted_whatever_the_time_between_them(tmp_path: Path) -> None:
    times = np.cumsum(stream(2, "times").integers(1, 9, 40)).tolist()
    path = write_video(tmp_path / "a.mp4", counting(40), codec="libx264", options={"g": "8"}, times=times)
    seen: list[VideoInfo] = []

    def choose(info: VideoInfo) -> npt.NDArray[np.int64]:
        seen.append(info)
        return np.array([39, 0, 17, 17])

    assert counted(decode(path, choose, short_side=None)) == [39, 0, 17, 17]
    assert [(info.num_frames, info.height, info.width, info.codec) for info in seen] == [(40, 48, 64, "h264")]


@pytest.mark.parametrize("decoder", ["pyav", "opencv"])
@pytest.mark.parametrize("rotation_deg", [90, 180, -90])
def test_the_films_of_phones_are_turned_upright(tmp_path: Path, rotation_deg: int, decoder: Any) -> None:
    picture = np.zeros((1, 48, 64, 3), np.uint8)
    picture[0, :16, :16] = 255  # a white corner, top left as stored
    path = write_video(tmp_path / "a.mp4", np.repeat(picture, 4, 0), codec="libx264", rotation_deg=rotation_deg)
    frame = decode(path, these(2), short_side=None, decoder=decoder)[0]
    expected = np.rot90(picture[0], rotation_deg // 90)
    assert frame.shape == expected.shape
    assert np.abs(frame.astype(int) - expected).mean() < 8
    assert decode(path, these(2), short_side=24, decoder=decoder).shape[1:3] == (
        (24, 32) if rotation_deg == 180 else (32, 24)
    )


@pytest.mark.parametrize("decoder", ["pyav", "opencv"])
@pytest.mark.parametrize(
    ("height", "width", "short_side", "expected"), [(45, 63, 20, (20, 28)), (63, 45, 90, (126, 90))]
)
def test_the_short_side_is_scaled_and_the_aspect_kept(
    tmp_path: Path, height: int, width: int, short_side: int, expected: tuple[int, int], decoder: Any
) -> None:
    path = write_video(tmp_path / "a.mkv", counting(5, height, width), codec="ffv1", pix_fmt="bgr0")
    frames = decode(path, these(4, 1), short_side=short_side, decoder=decoder)
    assert frames.shape == (2, *expected, 3)
    assert frames.dtype == np.uint8
    assert counted(frames) == [4, 1]


@pytest.mark.parametrize("decoder", ["pyav", "opencv"])
def test_a_film_that_was_cut_off_is_chosen_from_as_far_as_it_goes(tmp_path: Path, decoder: Any) -> None:
    path = write_video(tmp_path / "a.mkv", counting(40), codec="libx264", options={"g": "5"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    asked: list[int] = []

    def choose(info: VideoInfo) -> npt.NDArray[np.int64]:
        asked.append(info.num_frames)
        return np.array([0, info.num_frames - 1])

    assert counted(decode(path, choose, short_side=None, decoder=decoder)) == [0, asked[-1] - 1]
    assert 5 < asked[-1] < 40


def test_frames_that_the_packets_promise_and_that_do_not_come_are_not_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "a.mkv", counting(20))
    monkeypatch.setattr(pyav, "_read_timeline", lambda container, stream: (40, None))
    asked: list[int] = []

    def choose(info: VideoInfo) -> npt.NDArray[np.int64]:
        asked.append(info.num_frames)
        return np.array([0, info.num_frames - 1])

    assert counted(decode(path, choose, short_side=None)) == [0, 19]
    assert asked == [40, 20]


def test_opencv_gives_the_same_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", counting(30), codec="libx264", options={"g": "12", "bf": "3"})
    wanted = (29, 3, 3, 11)
    assert counted(decode(path, these(*wanted), short_side=None, decoder="opencv")) == list(wanted)


class _DeafCapture:
    """Announces frames and gives none."""

    def __init__(self, *arguments: Any) -> None:
        self.isOpened = self.grab = lambda: True
        self.retrieve = lambda: (False, None)
        self.get, self.release = lambda fact: 5.0, lambda: None


def _fail(*arguments: Any) -> Any:
    raise cv2.error("OpenCV(4) resize.cpp:\n error: no room")


@pytest.mark.parametrize(
    ("name", "replacement", "message"),
    [
        ("cv2.VideoCapture", _DeafCapture, "frame 3 cannot be decoded by OpenCV"),
        ("_scaled", _fail, r"a call of OpenCV failed: OpenCV\(4\) resize.cpp: error: no room"),
    ],
)
def test_failures_of_opencv_are_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, replacement: Any, message: str
) -> None:
    path = write_video(tmp_path / "a.mp4", counting(5))
    monkeypatch.setattr(f"smile_synth.videos.other_decoders.{name}", replacement)
    with pytest.raises(VideoError, match=rf"a\.mp4 cannot be read: {message}; replace it"):
        decode(path, these(3), short_side=None, decoder="opencv")


def test_packets_are_not_kept() -> None:
    """They would hold the whole compressed file."""
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    class Packet:
        size, is_discard = 1, False

        def __init__(self, number: int) -> None:
            self.pts, self.is_keyframe = number, number % 10 == 0

    class Container:
        def demux(self, stream: Any) -> Any:
            nonlocal most
            for number in range(40):
                packet = Packet(number)
                alive.add(packet)
                most = max(most, len(alive))
                yield packet

    num_packets, timeline = pyav._read_timeline(Container(), None)
    assert timeline is not None
    assert (num_packets, timeline.keys.tolist()) == (40, [0, 10, 20, 30])
    assert most < 5


def _text(path: Path) -> None:
    path.write_text("I am no video\n" * 100)


def _audio_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44_100)
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        silence.sample_rate = 44_100
        container.mux(stream.encode(silence))
        container.mux(stream.encode())


@pytest.mark.parametrize("decoder", ["pyav", "opencv"])
@pytest.mark.parametrize("make", [_text, _audio_only, Path.touch, lambda path: None])
def test_what_is_no_video_is_one_error(tmp_path: Path, make: Callable[[Path], None], decoder: Any) -> None:
    path = tmp_path / "bad.mp4"
    make(path)
    with pytest.raises(VideoError, match=r"^video .*bad\.mp4 cannot be read: .*; replace it, or take it out"):
        decode(path, these(0), short_side=None, decoder=decoder)


def test_audio_alone_is_said_to_be_no_video(tmp_path: Path) -> None:
    _audio_only(tmp_path / "sound.mp4")
    with pytest.raises(VideoError, match=r"sound\.mp4 cannot be read: it has no video stream"):
        decode(tmp_path / "sound.mp4", these(0), short_side=None)


def test_a_frame_that_there_is_not_is_our_own_mistake(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", counting(5))
    with pytest.raises(AssertionError, match="frames \\[5\\] of a video of 5"):
        decode(path, these(5), short_side=None)


def test_torchcodec_gives_the_same_frames_or_says_what_it_needs(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", counting(30), codec="libx264", options={"g": "12", "bf": "3"})
    try:
        frames = decode(path, these(29, 3, 3), short_side=None, decoder="torchcodec")
    except VideoError as error:
        assert "torchcodec" in str(error).lower()  # noqa: PT017 - either outcome is one of this machine
        assert "choose decoder pyav" in str(error)  # noqa: PT017
    else:
        assert counted(frames) == [29, 3, 3]
