"""Strip by strip or whole: the same pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image as PilImage

from smile_synth.assets import shrinking
from smile_synth.assets.shrinking import shrink, visible_box
from smile_synth.randomness import stream


def noise(mode: str, height: int, width: int) -> PilImage.Image:
    pixels = stream(0, f"shrinking/{mode}", height, width).integers(0, 256, (height, width, 4), dtype=np.uint8)
    return PilImage.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("size", [(733, 1111), (1601, 402), (90, 3000), (40, 50), (251, 260)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_strips_give_the_pixels_of_the_whole(monkeypatch: pytest.MonkeyPatch, mode: str, size: tuple[int, int]) -> None:
    monkeypatch.setattr(shrinking, "STRIP_PIXELS", 10_000)
    image = noise("RGBA", *size)
    box = (3, 5, image.width - 2, image.height - 7)
    prepare: Callable[[PilImage.Image], PilImage.Image] = lambda part: part.convert(mode)  # noqa: E731
    got = shrink(image, box, 100, prepare)
    whole = prepare(image.crop(box))
    longest = max(whole.size)
    if longest > 100:
        smaller = tuple(max(1, round(side * 100 / longest)) for side in whole.size)
        whole = whole.resize(smaller, PilImage.Resampling.BOX, reducing_gap=2.0)
    assert got.mode == mode
    np.testing.assert_array_equal(np.asarray(got), np.asarray(whole))


def test_no_part_larger_than_a_strip_is_prepared() -> None:
    prepared = []
    image = PilImage.new("L", (3000, 3000))
    shrink(image, (0, 0, 3000, 3000), 100, lambda part: prepared.append(part.size) or part)  # type: ignore[func-returns-value]
    assert sum(height for _, height in prepared) == 3000
    assert max(width * height for width, height in prepared) <= shrinking.STRIP_PIXELS


def test_the_visible_box_is_found_over_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shrinking, "STRIP_PIXELS", 500)
    pixels = np.zeros((120, 80, 4), np.uint8)
    pixels[11, 30, 3] = 1
    pixels[97, 7, 3] = 255
    image = PilImage.fromarray(pixels)
    assert visible_box(image, lambda part: part) == (7, 11, 31, 98)
    assert visible_box(PilImage.new("RGBA", (9, 9)), lambda part: part) is None
