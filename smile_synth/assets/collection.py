"""Backgrounds and objects of a dataset, and the table that describes them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

from smile_synth.assets.backgrounds import Backgrounds
from smile_synth.assets.crops import crops
from smile_synth.assets.cutting import cut_outs, drawings
from smile_synth.assets.digits import digits
from smile_synth.assets.folders import ImageFile, list_backgrounds, list_objects
from smile_synth.assets.objects import Objects
from smile_synth.assets.photographs import PHOTOGRAPHS
from smile_synth.assets.split import part_of
from smile_synth.assets.table import Asset, AssetRow, Kind
from smile_synth.progress import track
from smile_synth.recipe.assets import BUILTIN, CROPS, DIGITS, AssetsParams

# Up to this many images are decoded before anything is rendered, so that a damaged one is found at once; of larger
# folders only the headers are read.
MOST_DECODED_CHECKS = 5000


class Assets:
    """Backgrounds and objects of a dataset, and the table that describes them.

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
    if params.backgrounds == CROPS:
        return crops(params.split)
    return part_of(list_backgrounds(_place(params.backgrounds, folder), params.licence), params.split, "backgrounds")


def _objects(params: AssetsParams, folder: Path) -> Sequence[Asset]:
    if params.objects == BUILTIN:
        # Cut from the photographs of the same part, so that held-out objects show held-out photographs.
        photographs = part_of(PHOTOGRAPHS, params.split, "backgrounds")
        return (*cut_outs(photographs), *part_of(drawings(), params.split, "objects"))
    if params.objects == DIGITS:
        return part_of(digits(), params.split, "objects")
    return part_of(list_objects(_place(params.objects, folder), params.licence), params.split, "objects")


def _place(name: str, folder: Path) -> Path:
    return folder / Path(name).expanduser()
