"""Compressing clips."""

from __future__ import annotations

import numpy as np
import pytest
from numcodecs.zstd import Zstd
from skimage import data

from smile_synth.store.compression import clip_compressor

NUM_FRAMES, SIZE, PATCH = 16, 224, 64


def clip_over_a_photograph() -> np.ndarray:
    """Return a still photograph with a patch of another one that moves over it."""
    background, patch = data.astronaut()[100 : 100 + SIZE, 100 : 100 + SIZE], data.coffee()[50 : 50 + PATCH, 100:164]
    clip = np.repeat(background[None], NUM_FRAMES, axis=0)
    for t in range(NUM_FRAMES):
        corner = 20 + 8 * t
        clip[t, corner : corner + PATCH, corner : corner + PATCH] = patch
    return clip


@pytest.mark.parametrize("level", [-50, -4, 0, 1, 3, 9])
def test_any_zstd_reader_gets_the_clip_back(level: int) -> None:
    clip = clip_over_a_photograph()
    out = np.empty_like(clip)
    Zstd().decode(clip_compressor(level, clip.nbytes)(clip), out)
    np.testing.assert_array_equal(out, clip)


@pytest.mark.parametrize("level", [-4, 1])
def test_what_stands_still_costs_less_than_with_tables_for_one_frame(level: int) -> None:
    clip = clip_over_a_photograph()
    assert len(clip_compressor(level, clip.nbytes)(clip)) < 0.8 * len(Zstd(level=level).encode(clip))


def test_same_clip_gives_the_same_bytes() -> None:
    clip = clip_over_a_photograph()
    compress = clip_compressor(-4, clip.nbytes)
    first = compress(clip)
    compress(clip[::-1].copy())
    assert compress(clip) == first
