"""Backgrounds and objects of a dataset, and the table that describes them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from smile_synth.assets.backgrounds import Backgrounds
from smile_synth.assets.crops import crops
from smile_synth.assets.cutting import cut_outs, drawings
from smile_synth.assets.digits import digits
from smile_synth.assets.folders import list_backgrounds, list_objects
from smile_synth.assets.objects import Objects
from smile_synth.assets.photographs import PHOTOGRAPHS
from smile_synth.assets.selection import Selection, attempt, check, refuse
from smile_synth.assets.split import part_of
from smile_synth.assets.table import Asset, AssetRow, Kind
from smile_synth.errors import AssetError
from smile_synth.recipe.assets import BUILTIN, CROPS, DIGITS, AssetsParams

# Up to this many images are decoded before anything is rendered, so that damaged ones are found at once; of larger
# folders only the headers are read, unless bad images are to be skipped.
MOST_DECODED_CHECKS = 5000


class Assets:
    """Backgrounds and objects of a dataset, and the table that describes them.

    Ids are places in the table: backgrounds first, objects after them. Building lists names only; images are read
    when they are drawn, and kept decoded in bounded memory. Pickled, it keeps its list of names: wherever it is read,
    the same id is the same image.

    Args:
        backgrounds, objects: the images.
        summaries: a line for each folder of the user's: what is used of it.
        is_checked: every image has been read without a fault.
    """

    def __init__(
        self,
        backgrounds: Sequence[Asset],
        objects: Sequence[Asset],
        *,
        summaries: Sequence[str] = (),
        is_checked: bool = False,
    ) -> None:
        self._background_assets = tuple(backgrounds)
        self._object_assets = tuple(objects)
        self._is_checked = is_checked
        self.summaries = tuple(summary for summary in summaries if summary)
        self.backgrounds = Backgrounds(self._background_assets, first_id=0)
        self.objects = Objects(self._object_assets, first_id=len(self._background_assets))

    @classmethod
    def build(cls, params: AssetsParams, *, folder: Path) -> Assets:
        """List the images that the parameters name.

        Args:
            params: where images come from and which part of them is used.
            folder: what relative folders are relative to.

        Raises:
            AssetError: a folder is missing, is a file, or holds no usable image.
        """
        backgrounds, objects = _backgrounds(params, folder), _objects(params, folder)
        skips = params.on_bad == "skip"
        if skips:
            backgrounds, objects = backgrounds.without_bad(), objects.without_bad()
        summaries = (backgrounds.summary, objects.summary)
        return cls(backgrounds.assets, objects.assets, summaries=summaries, is_checked=skips)

    def __len__(self) -> int:
        """Return the number of rows of the asset table."""
        return len(self._background_assets) + len(self._object_assets)

    @cached_property
    def rows(self) -> tuple[AssetRow, ...]:
        """The asset table; made on first use, because images are checked and digests read every file once.

        Raises:
            AssetError: images are unusable; the message names up to 20 of them.
        """
        pairs: list[tuple[Kind, Asset]] = [("background", asset) for asset in self._background_assets]
        pairs += [("object", asset) for asset in self._object_assets]
        decode = len(self) <= MOST_DECODED_CHECKS

        def checked_row(pair: tuple[Kind, Asset]) -> AssetRow:
            kind, asset = pair
            if not self._is_checked:
                check(asset, decode=decode)
            return asset.row(kind)

        results = attempt(pairs, checked_row, notes=self.summaries)
        refuse([result for result in results if isinstance(result, AssetError)])
        return tuple(result for result in results if isinstance(result, AssetRow))


def _backgrounds(params: AssetsParams, folder: Path) -> Selection:
    if params.backgrounds == BUILTIN:
        return Selection("background", tuple(part_of(PHOTOGRAPHS, params.split, "backgrounds")))
    if params.backgrounds == CROPS:
        return Selection("background", crops(params.split))
    place = _place(params.backgrounds, folder)
    listing = list_backgrounds(place, params.licence, source=_source(params.backgrounds))
    return Selection.from_folder("background", listing, params.split)


def _objects(params: AssetsParams, folder: Path) -> Selection:
    if params.objects == BUILTIN:
        # Cut from the photographs of the same part, so that held-out objects show held-out photographs.
        photographs = part_of(PHOTOGRAPHS, params.split, "backgrounds")
        drawn = part_of(drawings(), params.split, "objects")
        return Selection("object", (*cut_outs(photographs), *drawn))
    if params.objects == DIGITS:
        return Selection("object", tuple(part_of(digits(), params.split, "objects")))
    place = _place(params.objects, folder)
    listing = list_objects(place, params.licence, source=_source(params.objects))
    return Selection.from_folder("object", listing, params.split)


def _place(name: str, folder: Path) -> Path:
    return folder / Path(name).expanduser()


def _source(name: str) -> str:
    # As the recipe names it, wherever that lies on this machine: the same recipe gives the same table everywhere.
    return Path(name).as_posix()
