"""Compressing a clip: zstd with tables that reach from one frame into the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt
import zstandard

# 2^17 places remember a whole frame; those of zstd's own fast levels (2^13 to 2^14) have forgotten it when the next
# frame repeats it. Measured on 16x224x224 clips: 5.5 times smaller instead of 3.8, read 1.7 times as fast.
MIN_HASH_LOG = 17
# A window as large as the clip; 2^24 bytes, so that any reader's memory suffices.
MAX_WINDOW_LOG = 24

Compress = Callable[[npt.NDArray[Any]], bytes]


def clip_compressor(level: int, clip_nbytes: int) -> Compress:
    """Return what compresses one clip to one zstd frame that any zstd reads.

    Args:
        level: zstd's own, its tables widened; negative levels skip faster and leave literals as they are.
        clip_nbytes: bytes of a clip before compression.

    Returns:
        A function from a C-contiguous array to bytes; for one thread.
    """
    default = zstandard.ZstdCompressionParameters.from_level(level, source_size=clip_nbytes)
    window_log = min(max((clip_nbytes - 1).bit_length(), default.window_log), MAX_WINDOW_LOG)
    params = zstandard.ZstdCompressionParameters.from_level(
        level, source_size=clip_nbytes, window_log=window_log, hash_log=max(default.hash_log, MIN_HASH_LOG)
    )
    compressor = zstandard.ZstdCompressor(compression_params=params)
    return lambda clip: compressor.compress(clip.data)
