"""What the decoders of videos share: what is known of a file, what is wanted of it, and what comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".gif", ".ogv"})
Frames = npt.NDArray[np.uint8]
# From the size of a frame as it is shown, rows and columns in pixels, to the size that is wanted.
Resize = Callable[[int, int], tuple[int, int]]


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video before its frames are decoded.

    Args:
        num_frames: that it shows.
        frames_per_s: on average; 0 where the file does not say.
        height, width: of a frame as it is stored, in pixels; those of phones are shown turned.
        codec: name of the compression.
    """

    num_frames: int
    frames_per_s: float
    height: int
    width: int
    codec: str

    def __post_init__(self) -> None:
        if self.num_frames < 1:
            raise ValueError("it holds no frame")


# From what is known of a video to the frames that are wanted of it, int64 (T,), in any order, repeated or not.
Choose = Callable[[VideoInfo], npt.NDArray[np.int64]]


class Decoder(Protocol):
    """What decodes the chosen frames of one file, and raises OSError, ValueError or MemoryError where it cannot."""

    def __call__(self, path: Path, choose: Choose, resize: Resize) -> Frames:
        """Return uint8 (T, H, W, 3), upright, at the size that ``resize`` gives for the first of them."""


def check_wanted(wanted_T: npt.NDArray[np.int64], info: VideoInfo) -> None:
    """Refuse frames that a video does not have, which is our own mistake, not that of the file."""
    assert wanted_T.ndim == 1, f"wanted frames must be (T,), got {wanted_T.shape}"
    are_there = (wanted_T >= 0) & (wanted_T < info.num_frames)
    assert len(wanted_T), "no frame is wanted"
    assert are_there.all(), f"frames {wanted_T[~are_there]} of a video of {info.num_frames}"
