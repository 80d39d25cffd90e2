"""Textures fill any size, differ from draw to draw, and are never flat."""

from __future__ import annotations

import numpy as np
import pytest

from smile_synth.randomness import stream
from smile_synth.sampling.textures import draw_gradient, draw_leaves, draw_marble, draw_texture, sample_palette


@pytest.mark.parametrize("size", [(2, 3), (5, 40), (97, 64)])
def test_any_size_can_be_filled(size: tuple[int, int]) -> None:
    for n in range(12):
        for draw in (draw_texture, draw_gradient, draw_leaves):
            picture = draw(*size, rng=stream(n, "texture"))
            assert picture.shape == (*size, 3)
            assert picture.dtype == np.uint8
    assert draw_marble(*size, rng=stream(0, "marble")).shape == size


def test_no_texture_is_flat() -> None:
    for n in range(60):
        assert draw_texture(64, 64, rng=stream(n, "texture")).std(axis=(0, 1)).max() > 4


def test_palettes_have_contrast() -> None:
    for n in range(100):
        palette = sample_palette(rng=stream(n, "palette")).astype(int)
        assert np.ptp(palette, axis=0).max() >= 85


def test_leaves_cover_the_ground() -> None:
    picture = draw_leaves(128, 128, rng=stream(0, "leaves")).reshape(-1, 3)
    colours, counts = np.unique(picture, axis=0, return_counts=True)
    assert len(colours) > 60
    assert counts.max() < 0.5 * len(picture)
