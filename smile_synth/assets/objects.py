"""Random images of objects, with transparency around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from smile_synth.assets.cache import ImageCache
from smile_synth.assets.table import Asset, Image

CACHE_BYTES = 128 * 2**20


@dataclass(frozen=True, eq=False)
class DrawnObject:
    """An object drawn at random.

    Args:
        texture: uint8 (h, w, 4), cut to what is visible of it.
        asset_id: row of the asset table.
        class_name: class folder, or kind of outline for built-in objects.
        outline: kind of outline for built-in objects, else empty.
    """

    texture: Image
    asset_id: int
    class_name: str
    outline: str


class Objects:
    """Images to draw objects from.

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

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes that occur, in alphabetical order."""
        return tuple(sorted({asset.class_name for asset in self._assets}))

    def sample(self, *, rng: np.random.Generator, class_names: Sequence[str] = ()) -> DrawnObject:
        """Draw a random object.

        Args:
            rng: decides which.
            class_names: draw from these classes only, each equally often; empty means from all objects.

        Returns:
            uint8 RGBA texture, the row of the object, and its class.

        Raises:
            AssetError: the image cannot be read.
        """
        if class_names:
            members = self._members[class_names[int(rng.integers(len(class_names)))]]
            index = members[int(rng.integers(len(members)))]
        else:
            index = int(rng.integers(len(self._assets)))
        asset = self._assets[index]
        (texture,) = self._cache.get(index, lambda: (asset.read(),))
        return DrawnObject(texture.copy(), self._first_id + index, asset.class_name, asset.outline)

    @cached_property
    def _members(self) -> dict[str, list[int]]:
        members: dict[str, list[int]] = {}
        for index, asset in enumerate(self._assets):
            members.setdefault(asset.class_name, []).append(index)
        return members
