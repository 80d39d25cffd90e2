"""Clips as video files: H.264 in MP4 or VP9 in WebM, with or without loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from smile_synth.errors import VideoError
from smile_synth.files import replace_file
from smile_synth.videos.frames import Frames
from smile_synth.videos.pyav import import_pyav

FormatName = Literal["mp4", "webm"]


@dataclass(frozen=True)
class VideoFormat:
    """How clips are encoded.

    Args:
        name: ``mp4`` is H.264, ``webm`` is VP9.
        lossless: keep every value of every pixel, as RGB; else YUV of full colour resolution only where a side is odd.
        quality: constant rate factor, 0 to 51; smaller is better and larger. Without effect where lossless.
        frames_per_s: of playing.
    """

    name: FormatName = "mp4"
    lossless: bool = False
    quality: int = 18
    frames_per_s: float = 25.0

    def __post_init__(self) -> None:
        if self.name not in ("mp4", "webm"):
            raise VideoError(f"a video format is mp4 or webm, got {self.name!r}")
        if not 0 <= self.quality <= 51:
            raise VideoError(f"a quality is 0 (best) to 51, got {self.quality}")
        if not 0 < self.frames_per_s <= 1000:
            raise VideoError(f"frames a second must be above 0 and at most 1000, got {self.frames_per_s}")

    def encoder(self, height: int, width: int) -> tuple[str, str, dict[str, str]]:
        """Return the encoder, its pixel format and its options for frames of a size."""
        # Colours at half the resolution need even sides.
        yuv = "yuv420p" if height % 2 == width % 2 == 0 else "yuv444p"
        if self.name == "mp4":
            if self.lossless:
                return "libx264rgb", "rgb24", {"qp": "0", "threads": "1"}
            return "libx264", yuv, {"crf": str(self.quality), "threads": "1"}
        common = {"b": "0", "deadline": "good", "cpu-used": "4", "threads": "1"}
        if self.lossless:
            return "libvpx-vp9", "gbrp", {"lossless": "1", **common}
        return "libvpx-vp9", yuv, {"crf": str(self.quality), **common}


def write_video(path: Path, frames_THWC: Frames, form: VideoFormat) -> None:
    """Write a clip as a video file; the old file stays where this fails.

    Args:
        path: of the file; its folder exists.
        frames_THWC: uint8 (T, H, W, 3).
        form: how it is encoded.

    Raises:
        VideoError: PyAV is missing, or has no such encoder.
        OSError: the file cannot be written.
    """
    av = import_pyav()
    codec, pix_fmt, options = form.encoder(*frames_THWC.shape[1:3])
    if codec not in av.codecs_available:
        raise VideoError(f"this PyAV has no encoder {codec}; install PyAV from its wheel, or choose another format")

    def write(file: Path) -> None:
        try:
            with av.open(str(file), "w", format=form.name) as container:
                _encode(av, container, frames_THWC, form.frames_per_s, (codec, pix_fmt, options))
        except av.FFmpegError as error:
            # PyAV's own OSError cannot be given the name of the file that it is about.
            raise OSError(error.errno, error.strerror) from error

    replace_file(path, write)


def _encode(
    av: Any, container: Any, frames_THWC: Frames, frames_per_s: float, encoder: tuple[str, str, dict[str, str]]
) -> None:
    codec, pix_fmt, options = encoder
    rate = Fraction(frames_per_s).limit_denominator(1000)
    stream = container.add_stream(codec, rate=rate, options=options)
    stream.height, stream.width, stream.pix_fmt = *frames_THWC.shape[1:3], pix_fmt
    for number, pixels in enumerate(frames_THWC):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.pts, frame.time_base = number, 1 / rate
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def psnr_db(frames: Frames, others: Frames) -> float:
    """Return the peak signal-to-noise ratio of two equally large pieces of video, in dB; infinite where they agree."""
    error = float(np.mean((frames.astype(np.float64) - others) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)
