"""PyAV: straight to the wanted frames, by the time stamps of the packets and the key frames before them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smile_synth.errors import VideoError
from smile_synth.videos.frames import Choose, Frames, Resize, VideoInfo, check_wanted

# To decode as few frames as this costs less than to jump over them.
WORTH_A_JUMP = 4
Int64 = npt.NDArray[np.int64]


def import_pyav() -> Any:
    """Return the module ``av``.

    Raises:
        VideoError: it is not installed.
    """
    try:
        import av
    except ImportError:
        raise VideoError("reading videos needs PyAV; install it with: pip install 'smile-synth[video]'") from None
    return av


@dataclass(frozen=True)
class Timeline:
    """When frames are shown, and from which of them decoding can start.

    Args:
        shown: int64 (frames,), rising: time stamps, in units of the stream.
        keys: int64 (key frames,), rising: place of each key frame in ``shown``.
    """

    shown: Int64
    keys: Int64


class _NotFound(Exception):  # noqa: N818 - no error: the slow way finds it
    """A frame did not come where the packets promised it."""


def decode_with_pyav(path: Path, choose: Choose, resize: Resize) -> Frames:
    """Decode chosen frames of a video; see ``Decoder``."""
    av = import_pyav()
    try:
        return _decode(av, path, choose, resize)
    except av.FFmpegError as error:
        raise ValueError(error.strerror or str(error)) from None


def _decode(av: Any, path: Path, choose: Choose, resize: Resize) -> Frames:
    with av.open(str(path)) as container:
        stream = _video_stream(container)
        num_packets, timeline = _read_timeline(container, stream)
        if timeline is not None:
            info = _info(stream, len(timeline.shown))
            wanted_T = choose(info)
            check_wanted(wanted_T, info)
            try:
                pictures = _by_jumping(container, stream, timeline, np.unique(wanted_T), _Scaler(av, resize))
                return np.stack([pictures[frame] for frame in wanted_T.tolist()])
            except _NotFound:
                pass
    return _from_the_start(av, path, num_packets, choose, resize)


class _Scaler:
    """Turns decoded frames into upright pictures of one size.

    Args:
        av: the module.
        resize: gives the size, from that of the first frame.
    """

    def __init__(self, av: Any, resize: Resize) -> None:
        self._reformatter = av.video.reformatter.VideoReformatter()
        self._resize = resize
        self._size: tuple[int, int] | None = None

    def __call__(self, frame: Any) -> Frames:
        quarters = round(frame.rotation / 90) % 4
        shown = (frame.height, frame.width) if quarters % 2 == 0 else (frame.width, frame.height)
        if self._size is None:
            self._size = self._resize(*shown)
        height, width = self._size if quarters % 2 == 0 else self._size[::-1]
        scaled = self._reformatter.reformat(frame, width, height, "rgb24", interpolation="AREA", threads=1)
        picture: Frames = scaled.to_ndarray()
        # Of a frame that is to be turned counterclockwise, as the angle is given.
        return np.ascontiguousarray(np.rot90(picture, quarters)) if quarters else picture


def _video_stream(container: Any) -> Any:
    if not container.streams.video:
        raise ValueError("it has no video stream")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise ValueError("FFmpeg has no decoder for it")
    # Threads are worth more across videos than within one.
    stream.codec_context.thread_count = 1
    return stream


def _info(stream: Any, num_frames: int) -> VideoInfo:
    context = stream.codec_context
    return VideoInfo(num_frames, float(stream.average_rate or 0), context.height, context.width, context.name)


def _read_timeline(container: Any, stream: Any) -> tuple[int, Timeline | None]:
    """Return how many packets there are, and when their frames are shown if time stamps tell; nothing is decoded."""
    # The packets themselves would hold the whole compressed file.
    packets = [(p.pts, p.is_keyframe, p.is_discard) for p in container.demux(stream) if p.size]
    shown = [(pts, is_key) for pts, is_key, is_discard in packets if not is_discard]
    times = np.array(sorted(pts for pts, _ in shown if pts is not None), np.int64)
    keys = np.array(sorted(pts for pts, is_key in shown if is_key and pts is not None), np.int64)
    if len(times) < len(shown) or (np.diff(times) <= 0).any() or not len(keys) or keys[0] != times[0]:
        return len(packets), None
    return len(packets), Timeline(times, np.searchsorted(times, keys))


def _by_jumping(container: Any, stream: Any, timeline: Timeline, wanted: Int64, scale: _Scaler) -> dict[int, Frames]:
    """Return the wanted frames by their number, decoding from the last key frame before each."""
    place_of = {int(time): place for place, time in enumerate(timeline.shown.tolist())}
    stamps = frozenset(timeline.shown[wanted].tolist())
    keys = frozenset(timeline.shown[timeline.keys].tolist())
    pictures: dict[int, Frames] = {}
    frames: Iterator[Any] = iter(())
    decoded = -1 - WORTH_A_JUMP  # number of the last frame that was decoded
    for number in wanted.tolist():
        key = int(np.searchsorted(timeline.keys, number, side="right")) - 1
        if timeline.keys[key] > decoded + WORTH_A_JUMP or decoded < 0:
            container.seek(int(timeline.shown[number]), stream=stream)
            frames = _decoded(container, stream, keys, stamps)
        for frame in frames:
            decoded = place_of.get(frame.pts, -1)
            if decoded >= number:
                break
        if decoded != number or frame.is_corrupt:
            raise _NotFound
        pictures[number] = scale(frame)
    return pictures


def _decoded(container: Any, stream: Any, keys: frozenset[int], stamps: frozenset[int]) -> Iterator[Any]:
    """Yield frames from where the file stands, without those that are not wanted and on which no other depends."""
    is_first = True
    for packet in container.demux(stream):
        if is_first and packet.pts not in keys:
            # Files without an index are searched by guessing.
            raise _NotFound
        is_first = False
        stream.codec_context.skip_frame = "DEFAULT" if packet.pts in stamps or not packet.size else "NONREF"
        yield from packet.decode()


def _from_the_start(av: Any, path: Path, num_packets: int, choose: Choose, resize: Resize) -> Frames:
    """Decode frame after frame: for files whose packets do not tell when frames are shown, or not truly."""
    num_frames = num_packets
    for _ in range(2):
        wanted_T, pictures, decoded = _one_pass(av, path, num_frames, choose, _Scaler(av, resize))
        if len(pictures) == len(set(wanted_T.tolist())):
            return np.stack([pictures[frame] for frame in wanted_T.tolist()])
        # The container announces more frames than it holds: choose of those that there are.
        num_frames = decoded
    raise ValueError("it gives other frames every time it is decoded")


def _one_pass(
    av: Any, path: Path, num_frames: int, choose: Choose, scale: _Scaler
) -> tuple[Int64, dict[int, Frames], int]:
    """Return the wanted frames, those of them that came, by number, and how many frames were decoded."""
    with av.open(str(path)) as container:
        stream = _video_stream(container)
        info = _info(stream, num_frames)
        wanted_T = choose(info)
        check_wanted(wanted_T, info)
        wanted, last = set(wanted_T.tolist()), int(wanted_T.max())
        pictures: dict[int, Frames] = {}
        decoded = 0
        for frame in container.decode(stream):
            if decoded in wanted:
                pictures[decoded] = scale(frame)
            decoded += 1
            if decoded > last:
                break
    return wanted_T, pictures, decoded
