"""Views of video files: segments of time and crops of space, at the size that a network takes."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from smile_synth.errors import VideoError
from smile_synth.scene import Canvas

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".gif", ".ogv"})
Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Spacing:
    """Which views of a video are taken.

    Args:
        segments: parts of equal length that a video is divided into, one clip each.
        crops: squares of a segment: 1 takes the centre, 3 take both ends of the long side as well.
        frame_stride: frames from one sampled frame to the next; 0 spreads them over the segment.
    """

    segments: int = 1
    crops: Literal[1, 3] = 1
    frame_stride: int = 0

    def __post_init__(self) -> None:
        if self.segments < 1 or self.crops not in (1, 3) or self.frame_stride < 0:
            raise VideoError(f"views need at least 1 segment, 1 or 3 crops and a stride of at least 0, got {self}")


def read_views(path: Path, spacing: Spacing, canvas: Canvas) -> Frames:
    """Decode the views of one video.

    Args:
        path: of the video.
        spacing: of the views and of their frames.
        canvas: size of a view.

    Returns:
        uint8 (segments x crops, T, H, W, 3); crops of a segment stand together.

    Raises:
        VideoError: the file cannot be read as a video, or PyAV is missing.
    """
    av = _pyav()
    try:
        _check_file(path)
        num_frames = _count_packets(av, path)
        wanted_ST = sampled_frames(num_frames, canvas.num_frames, spacing)
        pictures, decoded = _decode(av, path, set(wanted_ST.ravel().tolist()), canvas)
        if decoded <= int(wanted_ST.max()):
            # The container announces more frames than it holds: spread the frames over what there is.
            wanted_ST = sampled_frames(decoded, canvas.num_frames, spacing)
            pictures, decoded = _decode(av, path, set(wanted_ST.ravel().tolist()), canvas)
    except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "it needs more memory than there is"
        raise VideoError(
            f"video {path} cannot be read: {reason[0].lower()}{reason[1:]}; replace it, or take it out of the list"
        ) from None
    views = [
        np.stack([_crop(pictures[frame], place, canvas) for frame in frames.tolist()])
        for frames in wanted_ST
        for place in ((0.5,) if spacing.crops == 1 else (0.0, 0.5, 1.0))
    ]
    return np.stack(views)


def sampled_frames(num_frames: int, clip_frames: int, spacing: Spacing) -> npt.NDArray[np.int64]:
    """Return int64 (segments, T): which frames of a video its views show.

    Args:
        num_frames: of the video; a shorter one than needed repeats frames.
        clip_frames: T.
        spacing: of the views and of their frames.

    Raises:
        ValueError: there is no frame.
    """
    if num_frames < 1:
        raise ValueError("it holds no frame")
    length = num_frames / spacing.segments
    starts = np.arange(spacing.segments)[:, None] * length
    steps = np.arange(clip_frames)[None]
    if spacing.frame_stride == 0:
        places = starts + (steps + 0.5) * length / clip_frames
    else:
        places = starts + length / 2 + (steps - (clip_frames - 1) / 2) * spacing.frame_stride
        places -= np.minimum(0, places[:, :1])
        places -= np.maximum(0, places[:, -1:] - (num_frames - 1))
    return np.clip(np.floor(places), 0, num_frames - 1).astype(np.int64)


def _pyav() -> Any:
    try:
        import av
    except ImportError:
        raise VideoError("reading videos needs PyAV; install it with: pip install 'smile-synth[video]'") from None
    return av


def _check_file(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        # Opening a FIFO would wait for a writer.
        raise ValueError("it is no regular file")
    if status.st_size == 0:
        raise ValueError("it is empty")


def _count_packets(av: Any, path: Path) -> int:
    with av.open(str(path)) as container:
        stream = _video_stream(container)
        return sum(1 for packet in container.demux(stream) if packet.size)


def _video_stream(container: Any) -> Any:
    if not container.streams.video:
        raise ValueError("it has no video stream")
    return container.streams.video[0]


def _decode(av: Any, path: Path, wanted: set[int], canvas: Canvas) -> tuple[dict[int, Frames], int]:
    """Return the wanted frames, scaled to cover the canvas, and how many frames were decoded."""
    pictures: dict[int, Frames] = {}
    decoded, last = 0, max(wanted)
    with av.open(str(path)) as container:
        stream = _video_stream(container)
        for frame in container.decode(stream):
            if decoded in wanted:
                scale = max(canvas.height / frame.height, canvas.width / frame.width)
                height, width = (max(1, round(scale * side)) for side in (frame.height, frame.width))
                scaled = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA")
                pictures[decoded] = scaled.to_ndarray()
            decoded += 1
            if decoded > last:
                break
    return pictures, decoded


def _crop(picture: Frames, place: float, canvas: Canvas) -> Frames:
    """Cut the canvas out of a picture that covers it: ``place`` 0 is left or top, 1 is right or bottom."""
    top = round(place * (picture.shape[0] - canvas.height))
    left = round(place * (picture.shape[1] - canvas.width))
    return picture[top : top + canvas.height, left : left + canvas.width]
