"""Random pieces of images, to stand behind a scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from smile_synth.assets.cache import ImageCache
from smile_synth.assets.table import Asset, Image

CACHE_BYTES = 160 * 2**20
# A crop shows at least this part of the height and width of the largest crop that fits.
MIN_CROP = 0.4


@dataclass(frozen=True, eq=False)
class DrawnBackground:
    """A background drawn at random: ``image`` is uint8 (h, w, 3), ``asset_id`` its row of the asset table."""

    image: Image
    asset_id: int


class Backgrounds:
    """Images to draw backgrounds from.

    Args:
        assets: at least one.
        first_id: row of the asset table that the first one has.
    """

    def __init__(self, assets: Sequence[Asset], first_id: int) -> None:
        self._assets = tuple(assets)
        self._first_id = first_id
        self._cache = ImageCache(CACHE_BYTES)

    def __len__(self) -> int:
        return len(self._assets)

    def sample(self, height: int, width: int, *, rng: np.random.Generator) -> DrawnBackground:
        """Draw a random crop of a random image, mirrored half of the time.

        Args:
            height, width: pixels of the result.
            rng: decides image, place, scale and mirroring.

        Returns:
            uint8 (height, width, 3) and the row of the image.

        Raises:
            AssetError: the image cannot be read.
        """
        index = int(rng.integers(len(self._assets)))
        levels = self._cache.get(index, lambda: _pyramid(self._assets[index].read()))
        crop = _random_crop(levels, height, width, rng)
        if rng.random() < 0.5:
            # Many times quicker than numpy's reversed view made contiguous.
            crop = np.asarray(cv2.flip(crop, 1), dtype=np.uint8)
        return DrawnBackground(crop, self._first_id + index)


def _pyramid(image: Image) -> tuple[Image, ...]:
    """Return the image and its halvings, each the exact integer mean of 2 x 2 pixels of the one before."""
    levels = [image]
    while min(levels[-1].shape[:2]) >= 64:
        height, width = (n // 2 * 2 for n in levels[-1].shape[:2])
        even = levels[-1][:height, :width].astype(np.uint16)
        sums = even[0::2, 0::2] + even[1::2, 0::2] + even[0::2, 1::2] + even[1::2, 1::2]
        levels.append(((sums + 2) >> 2).astype(np.uint8))
    return tuple(levels)


def _random_crop(levels: Sequence[Image], height: int, width: int, rng: np.random.Generator) -> Image:
    """Return a crop of random scale and place, resized to (height, width) from the nearest larger level.

    ``INTER_LINEAR_EXACT`` works in integers: the same pixels on every machine.
    """
    full_height, full_width = levels[0].shape[:2]
    largest = min(full_height / height, full_width / width)
    scale = largest * rng.uniform(MIN_CROP, 1.0)
    top_part, left_part = rng.random(2)
    # A crop is not magnified where the image has more to give.
    scale = min(largest, max(scale, 1.0))
    level = min(int(np.log2(max(scale, 1.0))), len(levels) - 1)
    source = levels[level]
    h = min(max(1, round(height * scale / 2**level)), source.shape[0])
    w = min(max(1, round(width * scale / 2**level)), source.shape[1])
    top, left = int(top_part * (source.shape[0] - h + 1)), int(left_part * (source.shape[1] - w + 1))
    crop = source[top : top + h, left : left + w]
    return np.array(cv2.resize(crop, (width, height), interpolation=cv2.INTER_LINEAR_EXACT), dtype=np.uint8)
