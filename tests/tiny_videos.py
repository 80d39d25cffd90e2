"""Small video files with known frames."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np


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
