"""Compressing clips."""

from __future__ import annotations

import numpy as np
import pytest
from numcodecs.zstd import Zstd

from smile_synth.store.compression import clip_compressor


def clip_that_repeats(num_frames: int = 8, size: int = 96) -> np.ndarray:
    """Return frames of noise that are all the same: only matches from frame to frame can compress them."""
    frame = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return np.repeat(frame[None], num_frames, axis=0)


@pytest.mark.parametrize("level", [-50, -4, 0, 1, 3, 9])
def test_any_zstd_reader_gets_the_clip_back(level: int) -> None:
    clip = clip_that_repeats()
    out = np.empty_like(clip)
    Zstd().decode(clip_compressor(level, clip.nbytes)(clip), out)
    np.testing.assert_array_equal(out, clip)


@pytest.mark.parametrize("level", [-4, 1])
def test_frames_that_repeat_cost_once(level: int) -> None:
    clip = clip_that_repeats()
    one_frame = clip[0].nbytes
    assert len(clip_compressor(level, clip.nbytes)(clip)) < 1.2 * one_frame
    assert len(Zstd(level=level).encode(clip)) > 4 * one_frame


def test_same_clip_gives_the_same_bytes() -> None:
    clip = clip_that_repeats()
    compress = clip_compressor(-4, clip.nbytes)
    first = compress(clip)
    compress(clip[::-1].copy())
    assert compress(clip) == first == clip_compressor(-4, clip.nbytes)(clip)
