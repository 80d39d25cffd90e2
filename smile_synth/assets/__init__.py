"""Backgrounds and objects: built-in ones, or folders of the user's own images."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from pydantic import Field, model_validator

from smile_synth.assets.cache import ImageCache
from smile_synth.assets.cutting import cut_outs, drawings
from smile_synth.assets.folders import ImageFile, list_backgrounds, list_objects
from smile_synth.assets.outlines import OUTLINES
from smile_synth.assets.photographs import PHOTOGRAPHS
from smile_synth.assets.split import Split, part_of
from smile_synth.assets.table import Asset, AssetRow, Image, Kind
from smile_synth.params import StrictParams
from smile_synth.progress import track

__all__ = [
    "OUTLINES",
    "AssetRow",
    "Assets",
    "AssetsParams",
    "Backgrounds",
    "DrawnBackground",
    "DrawnObject",
    "Objects",
    "Split",
]

BUILTIN = "builtin"
BACKGROUND_CACHE_BYTES = 256 * 2**20
OBJECT_CACHE_BYTES = 192 * 2**20
# Up to this many images are decoded before anything is rendered, so that a damaged one is found at once; of larger
# folders only the headers are read.
MOST_DECODED_CHECKS = 5000
# A crop shows at least this part of the largest crop that fits, each way.
MIN_CROP = 0.4


class AssetsParams(StrictParams):
    """Where backgrounds and objects come from."""

    backgrounds: str = Field(
        BUILTIN,
        min_length=1,
        description="'builtin' photographs, or a folder of any images, at any depth; relative to the recipe",
    )
    objects: str = Field(
        BUILTIN,
        min_length=1,
        description="'builtin' cut-outs, or a folder of RGBA files as class/name.png or .webp; relative to the recipe",
    )
    split: Split = Field(
        "all",
        description="which part of the images to use; the parts pretrain, probe-train and probe-test share none",
    )
    licence: str = Field("", description="licence of the images in your own folders, written into the store")

    @model_validator(mode="after")
    def _licence_has_an_effect(self) -> AssetsParams:
        if self.licence and self.backgrounds == self.objects == BUILTIN:
            raise ValueError("licence is that of your own images, and all images are built-in: leave it out")
        return self


@dataclass(frozen=True, eq=False)
class DrawnBackground:
    """A background drawn at random: ``image`` is uint8 (h, w, 3), ``asset_id`` its row of the asset table."""

    image: Image
    asset_id: int


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


class Backgrounds:
    """Images to draw backgrounds from.

    Args:
        assets: at least one.
        first_id: row of the asset table that the first one has.
    """

    def __init__(self, assets: Sequence[Asset], first_id: int) -> None:
        self._assets = tuple(assets)
        self._first_id = first_id
        self._cache = ImageCache(BACKGROUND_CACHE_BYTES)

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


class Objects:
    """Images to draw objects from.

    Args:
        assets: at least one.
        first_id: row of the asset table that the first one has.
    """

    def __init__(self, assets: Sequence[Asset], first_id: int) -> None:
        self._assets = tuple(assets)
        self._first_id = first_id
        self._cache = ImageCache(OBJECT_CACHE_BYTES)

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


class Assets:
    """Backgrounds and objects of a data set, and the table that describes them.

    Ids are places in the table: backgrounds first, objects after them. Building lists names only; images are read
    when they are drawn, and kept decoded in bounded memory.
    """

    def __init__(self, backgrounds: Sequence[Asset], objects: Sequence[Asset]) -> None:
        self._background_assets = tuple(backgrounds)
        self._object_assets = tuple(objects)
        self.backgrounds = Backgrounds(self._background_assets, first_id=0)
        self.objects = Objects(self._object_assets, first_id=len(self._background_assets))

    @classmethod
    def build(cls, params: AssetsParams, *, folder: Path) -> Assets:
        """List the images that the parameters name.

        Args:
            params: where images come from and which part of them is used.
            folder: what relative folders are relative to.

        Raises:
            AssetError: a folder is missing, is a file, or holds no image.
        """
        return cls(_backgrounds(params, folder), _objects(params, folder))

    def __len__(self) -> int:
        """Return the number of rows of the asset table."""
        return len(self._background_assets) + len(self._object_assets)

    @cached_property
    def rows(self) -> tuple[AssetRow, ...]:
        """The asset table; made on first use, because images are checked and digests read every file once.

        Raises:
            AssetError: an image cannot serve; the message names the file.
        """
        decode = len(self) <= MOST_DECODED_CHECKS
        kinds = [("background", asset) for asset in self._background_assets]
        kinds += [("object", asset) for asset in self._object_assets]
        with track(len(kinds), "check images", unit="images") as progress, ThreadPoolExecutor() as pool:
            rows = []
            for row in pool.map(lambda pair: _checked_row(*pair, decode=decode), kinds):
                rows.append(row)
                progress.advance()
        return tuple(rows)


def _checked_row(kind: Kind, asset: Asset, *, decode: bool) -> AssetRow:
    if isinstance(asset, ImageFile):
        asset.check(decode=decode)
    return asset.row(kind)


def _backgrounds(params: AssetsParams, folder: Path) -> Sequence[Asset]:
    if params.backgrounds == BUILTIN:
        return part_of(PHOTOGRAPHS, params.split, "backgrounds")
    return part_of(list_backgrounds(_place(params.backgrounds, folder), params.licence), params.split, "backgrounds")


def _objects(params: AssetsParams, folder: Path) -> Sequence[Asset]:
    if params.objects == BUILTIN:
        # Cut from the photographs of the same part, so that held-out objects show held-out photographs.
        photographs = part_of(PHOTOGRAPHS, params.split, "backgrounds")
        return (*cut_outs(photographs), *part_of(drawings(), params.split, "objects"))
    return part_of(list_objects(_place(params.objects, folder), params.licence), params.split, "objects")


def _place(name: str, folder: Path) -> Path:
    return folder / Path(name).expanduser()


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
