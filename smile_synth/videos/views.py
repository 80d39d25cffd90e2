"""Views of video files for probes and reports: segments of time and crops of space, at the size that a network takes.

Clips are centred in their segments here. Fine-tuning and its test take the frames of ``positions``, which are those of
VideoMAE's code, so that accuracies compare with published ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from smile_synth.errors import VideoError
from smile_synth.scene import Canvas
from smile_synth.videos.decoding import decode_resized
from smile_synth.videos.frames import Frames, Resize, VideoInfo


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

    def choose(info: VideoInfo) -> npt.NDArray[np.int64]:
        return sampled_frames(info.num_frames, canvas.num_frames, spacing).ravel()

    pictures = decode_resized(path, choose, covering(canvas))
    pictures_STHWC = pictures.reshape(spacing.segments, canvas.num_frames, *pictures.shape[1:])
    places = (0.5,) if spacing.crops == 1 else (0.0, 0.5, 1.0)
    return np.stack([crop(frames, place, canvas) for frames in pictures_STHWC for place in places])


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


def covering(canvas: Canvas) -> Resize:
    """Return what scales frames, keeping their aspect, until they just cover a canvas."""

    def resize(height: int, width: int) -> tuple[int, int]:
        scale = max(canvas.height / height, canvas.width / width)
        return max(1, round(height * scale)), max(1, round(width * scale))

    return resize


def crop(frames_THWC: Frames, place: float, canvas: Canvas) -> Frames:
    """Cut the canvas out of frames that cover it: ``place`` 0 is left or top, 1 is right or bottom."""
    top = round(place * (frames_THWC.shape[1] - canvas.height))
    left = round(place * (frames_THWC.shape[2] - canvas.width))
    return frames_THWC[:, top : top + canvas.height, left : left + canvas.width]
