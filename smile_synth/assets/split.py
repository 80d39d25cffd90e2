"""Parts of a set of images that share none: to pretrain on, to fit probes on, to test them on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

from smile_synth.assets.table import Asset
from smile_synth.errors import AssetError
from smile_synth.recipe.assets import Split

AssetT = TypeVar("AssetT", bound=Asset)

# One round assigns five images of a class; three images are enough for every part to get one.
_TURN: tuple[Split, ...] = ("pretrain", "probe-train", "probe-test", "pretrain", "pretrain")


def part_of(assets: Sequence[AssetT], split: Split, what: str) -> Sequence[AssetT]:
    """Return the images of one part, assigned class by class in the order of their hashed names.

    Args:
        assets: the whole set.
        split: which part; ``all`` returns the set as it is.
        what: name of the set, for the error.

    Returns:
        Three fifths for ``pretrain``, one fifth for each other part; never empty.

    Raises:
        AssetError: there are fewer than three images to split.
    """
    if split == "all":
        return assets
    if len(assets) < 3:
        raise AssetError(f"assets.split {split!r} needs at least 3 {what}, got {len(assets)}; add images, or use 'all'")
    ordered = sorted(assets, key=lambda asset: (asset.class_name, _hashed(asset.name)))
    chosen = {asset.name for n, asset in enumerate(ordered) if _TURN[n % len(_TURN)] == split}
    return tuple(asset for asset in assets if asset.name in chosen)


def _hashed(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
