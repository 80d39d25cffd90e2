"""TorchCodec and OpenCV, by option; ``benchmarks/videos.py`` compares them with PyAV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from smile_synth.errors import VideoError
from smile_synth.videos.frames import Choose, Frames, Resize, VideoInfo, check_wanted


def import_torchcodec() -> Any:
    """Return TorchCodec's decoder class.

    Raises:
        VideoError: it is not installed, or finds no FFmpeg.
    """
    try:
        from torchcodec.decoders import VideoDecoder
    except ImportError:
        raise VideoError(
            "decoder 'torchcodec' is not installed; install it with: pip install 'smile-synth[torchcodec]', or choose "
            "decoder pyav"
        ) from None
    except RuntimeError as error:
        raise _no_ffmpeg(error) from None
    return VideoDecoder


def _no_ffmpeg(error: RuntimeError) -> VideoError:
    reason = next(iter(str(error).strip().splitlines()), "")
    return VideoError(
        f"TorchCodec is installed and does not start ({reason.strip()}): it needs FFmpeg's shared libraries, "
        "which its package does not bring; install FFmpeg, or choose decoder pyav"
    )


def decode_with_torchcodec(path: Path, choose: Choose, resize: Resize) -> Frames:
    """Decode chosen frames of a video; see ``Decoder``."""
    try:
        decoder = import_torchcodec()(str(path), dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact")
        facts = decoder.metadata
        info = VideoInfo(
            facts.num_frames or 0, float(facts.average_fps or 0), facts.height, facts.width, facts.codec or ""
        )
        wanted_T = choose(info)
        check_wanted(wanted_T, info)
        numbers, places_T = np.unique(wanted_T, return_inverse=True)
        frames = decoder.get_frames_at(numbers.tolist()).data.numpy()
    except RuntimeError as error:
        if "libtorchcodec" in str(error):
            raise _no_ffmpeg(error) from None
        # The first lines say where in TorchCodec's own source it was found.
        raise ValueError(str(error).strip().splitlines()[-1].strip()) from None
    size = resize(*frames.shape[1:3])
    return np.stack([_scaled(frame, size) for frame in frames])[places_T]


def decode_with_opencv(path: Path, choose: Choose, resize: Resize) -> Frames:
    """Decode chosen frames of a video, from its first frame on; see ``Decoder``."""
    try:
        return _decode_with_opencv(path, choose, resize)
    except cv2.error as error:
        raise ValueError(f"a call of OpenCV failed: {' '.join(str(error).split())}") from None


def _decode_with_opencv(path: Path, choose: Choose, resize: Resize) -> Frames:
    num_frames = None
    for _ in range(2):
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        try:
            if not capture.isOpened():
                raise ValueError("OpenCV finds no video in it")
            info = _info(capture, num_frames)
            wanted_T = choose(info)
            check_wanted(wanted_T, info)
            pictures, num_frames = _grab(capture, set(wanted_T.tolist()), resize)
        finally:
            capture.release()
        if len(pictures) == len(set(wanted_T.tolist())):
            return np.stack([pictures[frame] for frame in wanted_T.tolist()])
    raise ValueError("it gives other frames every time it is decoded")


def _info(capture: Any, num_frames: int | None) -> VideoInfo:
    announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if num_frames is None else num_frames
    height, width = (int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH))
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    codec = "".join(chr(code >> shift & 0xFF) for shift in (0, 8, 16, 24)).strip("\0 ")
    return VideoInfo(announced, float(capture.get(cv2.CAP_PROP_FPS)), height, width, codec)


def _grab(capture: Any, wanted: set[int], resize: Resize) -> tuple[dict[int, Frames], int]:
    """Return the wanted frames that came, by number, and how many frames were decoded."""
    pictures: dict[int, Frames] = {}
    size: tuple[int, int] | None = None
    for number in range(max(wanted) + 1):
        if not capture.grab():
            return pictures, number
        if number in wanted:
            was_decoded, frame = capture.retrieve()
            if not was_decoded:
                raise ValueError(f"frame {number} cannot be decoded by OpenCV")
            if size is None:
                size = resize(*frame.shape[:2])
            pictures[number] = np.asarray(cv2.cvtColor(_scaled(frame, size), cv2.COLOR_BGR2RGB), np.uint8)
    return pictures, max(wanted) + 1


def _scaled(frame: Frames, size: tuple[int, int]) -> Frames:
    if frame.shape[:2] == size:
        return frame
    height, width = size
    shrinks = height <= frame.shape[0]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, (width, height), interpolation=interpolation), np.uint8)
