"""Small video files with known frames."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_video(
    path: Path,
    frames_THWC: np.ndarray,
    *,
    codec: str = "mpeg4",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    times: Sequence[int] | None = None,
    rotation_deg: int = 0,
) -> Path:
    """Write frames as a video.

    Args:
        path: its suffix chooses the container.
        frames_THWC: uint8.
        codec, pix_fmt, options: of the encoder.
        times: of each frame, in 25ths of a second; by default one after the other.
        rotation_deg: by which a player turns it counterclockwise.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width, stream.pix_fmt = *frames_THWC.shape[1:3], pix_fmt
        stream.bit_rate = 4_000_000
        if rotation_deg:
            stream.set_display_rotation(rotation_deg)
        for time, pixels in zip(times or range(len(frames_THWC)), frames_THWC, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def brightening(path: Path, num_frames: int = 20, height: int = 48, width: int = 64) -> Path:
    """Frame t is grey of 10 t; the left third is black, the right third is white."""
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    frames[:] = (np.arange(num_frames, dtype=np.uint8) * 10)[:, None, None, None]
    frames[:, :, : width // 3], frames[:, :, -(width // 3) :] = 0, 255
    return write_video(path, frames)


def counting(num_frames: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Return frames uint8 (T, H, W, 3) whose eight columns of black and white spell their number in binary."""
    bits = (np.arange(num_frames)[:, None] >> np.arange(8)) & 1
    columns = np.repeat(bits, -(-width // 8), axis=1)[:, :width] * 255
    return np.ascontiguousarray(np.broadcast_to(columns[:, None, :, None], (num_frames, height, width, 3)), np.uint8)


def counted(frames_THWC: np.ndarray) -> list[int]:
    """Return the numbers that the frames of ``counting`` spell, at any size."""
    height, width = frames_THWC.shape[1:3]
    middles = frames_THWC[:, height // 2, ((np.arange(8) + 0.5) * width / 8).astype(int), 0] > 127
    return (middles @ (1 << np.arange(8))).tolist()
