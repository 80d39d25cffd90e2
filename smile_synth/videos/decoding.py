"""Decoding chosen frames of a video file, by the library that a recipe names."""

from __future__ import annotations

import stat
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from smile_synth.errors import VideoError
from smile_synth.recipe.videos import DecoderName
from smile_synth.videos.frames import Choose, Decoder, Frames, Resize, VideoInfo


def decode(file: Path, choose: Choose, *, short_side: int | None, decoder: DecoderName = "pyav") -> Frames:
    """Decode chosen frames of a video; PyAV jumps to their key frames and decodes no more than it must.

    Frames are counted as they are shown, whatever the time between them; pixels are taken for square. Safe in threads.

    Args:
        file: the video.
        choose: gives the wanted frames, counted from 0. Called again where a file turns out to hold fewer frames than
            it announces.
        short_side: to which frames are scaled, in pixels, keeping their aspect; None leaves their size.
        decoder: what decodes.

    Returns:
        uint8 (T, H, W, 3), upright, in the order of the wanted frames.

    Raises:
        VideoError: the file is missing or broken, shows nothing, or the decoder is not installed.
    """
    return decode_resized(file, choose, _keeping_size if short_side is None else with_short_side(short_side), decoder)


def decode_resized(file: Path, choose: Choose, resize: Resize, decoder: DecoderName = "pyav") -> Frames:
    """Decode as ``decode`` does, at a size of one's own.

    Args:
        file, choose, decoder: as of ``decode``.
        resize: from the size of a frame to that which is wanted.
    """
    run = decoder_of(decoder)
    try:
        _check_file(file)
        return run(file, choose, resize)
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "it needs more memory than there is"
        raise VideoError(
            f"video {file} cannot be read: {reason[0].lower()}{reason[1:]}; replace it, or take it out of the list"
        ) from None


class _Known(Exception):  # noqa: N818 - no error: all that was asked is known
    """A video has said how many frames it has."""


def num_frames_of(file: Path, decoder: DecoderName = "pyav") -> int:
    """Return how many frames a video announces; none is decoded.

    Raises:
        VideoError: as of ``decode``.
    """
    announced: list[int] = []

    def stop(info: VideoInfo) -> npt.NDArray[np.int64]:
        announced.append(info.num_frames)
        raise _Known

    with suppress(_Known):
        decode_resized(file, stop, _keeping_size, decoder)
    return announced[0]


def decoder_of(name: DecoderName) -> Decoder:
    """Return the decoder of a name.

    Raises:
        VideoError: it is not installed.
    """
    if name == "pyav":
        from smile_synth.videos.pyav import decode_with_pyav, import_pyav

        import_pyav()
        return decode_with_pyav
    from smile_synth.videos.other_decoders import decode_with_opencv, decode_with_torchcodec, import_torchcodec

    if name == "torchcodec":
        import_torchcodec()
        return decode_with_torchcodec
    return decode_with_opencv


def with_short_side(short_side: int) -> Resize:
    """Return what scales frames so that their short side is ``short_side`` pixels, keeping their aspect."""

    def resize(height: int, width: int) -> tuple[int, int]:
        scale = short_side / min(height, width)
        return max(short_side, round(height * scale)), max(short_side, round(width * scale))

    return resize


def _keeping_size(height: int, width: int) -> tuple[int, int]:
    return height, width


def _check_file(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        # Opening a FIFO would wait for a writer.
        raise ValueError("it is no regular file")
    if status.st_size == 0:
        raise ValueError("it is empty")
