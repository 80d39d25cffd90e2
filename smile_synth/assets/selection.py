"""The images that a recipe selects, and what became of all others in the folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

from smile_synth.assets.folders import ImageFile, Listing
from smile_synth.assets.images import BadImageError
from smile_synth.assets.split import part_of
from smile_synth.assets.table import Asset, Kind
from smile_synth.errors import AssetError, printable
from smile_synth.progress import track
from smile_synth.recipe.assets import Split

MOST_NAMED = 20
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Selection:
    """The images of one kind that a recipe uses.

    Args:
        kind: ``background`` or ``object``.
        assets: what is used.
        listing: the user's folder that they are from; None for built-in images.
        split: the part that was asked for.
        skipped: how many bad images were left out, by what is wrong with them.
    """

    kind: Kind
    assets: tuple[Asset, ...]
    listing: Listing | None = None
    split: Split = "all"
    skipped: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_folder(cls, kind: Kind, listing: Listing, split: Split) -> Selection:
        """Return one part of the images of a folder.

        Raises:
            AssetError: there are too few images to split.
        """
        return cls(kind, tuple(part_of(listing.files, split, f"{kind}s")), listing, split)

    @property
    def summary(self) -> str:
        """How many images of the user's folder are used and what became of the others, in one line, or nothing."""
        if self.listing is None:
            return ""
        total, num_skipped = len(self.listing.files), sum(self.skipped.values())
        parts = [f"{self.kind}s: {len(self.assets):,} of {total:,} images in {self.listing.folder} used"]
        held_back = total - len(self.assets) - num_skipped
        if held_back:
            parts.append(f"{held_back:,} held back by split {self.split!r}")
        if num_skipped:
            parts.append(f"{num_skipped:,} skipped ({_counts(self.skipped)})")
        if self.listing.others:
            others = sum(self.listing.others.values())
            parts.append(f"{others:,} other file{'' if others == 1 else 's'} ({_counts(self.listing.others)})")
        return printable("; ".join(parts))

    def without_bad(self) -> Selection:
        """Return the selection without the unusable images, after reading every one.

        The split is made before, so repairing an image moves no other to another part.

        Raises:
            AssetError: no image is left, or one cannot be read for a reason that is not its own.
        """
        if self.listing is None:
            return self
        problems = attempt(self.assets, lambda asset: check(asset, decode=True))
        refuse([p for p in problems if isinstance(p, AssetError) and not isinstance(p, BadImageError)])
        bad = [p for p in problems if isinstance(p, BadImageError)]
        if len(bad) == len(self.assets):
            refuse(bad, f"none of the {len(bad):,} {self.kind}s of {self.listing.folder} is usable")
        good = tuple(asset for asset, p in zip(self.assets, problems, strict=True) if p is None)
        return replace(self, assets=good, skipped=Counter(p.kind for p in bad))


def attempt(
    items: Sequence[ItemT], do: Callable[[ItemT], ResultT], notes: Sequence[str] = ()
) -> list[ResultT | AssetError]:
    """Return what ``do`` returns or raises for every item, in order, several at a time, showing progress.

    ``notes`` are shown at the end where nothing was raised.
    """

    def one(item: ItemT) -> ResultT | AssetError:
        try:
            return do(item)
        except AssetError as error:
            return error

    results = []
    with track(len(items), "check images", unit="images") as progress, ThreadPoolExecutor() as pool:
        for result in pool.map(one, items):
            results.append(result)
            progress.advance()
        if not any(isinstance(result, AssetError) for result in results):
            for note in notes:
                progress.note(note)
    return results


def refuse(problems: Sequence[AssetError], what: str = "") -> None:
    """Raise one AssetError that names the files, 20 at most; nothing where there is no problem.

    Args:
        problems: what was found.
        what: the start of the message, in place of how many images are unusable.
    """
    if not problems:
        return
    can_skip = not what and all(isinstance(problem, BadImageError) for problem in problems)
    skipping = ", or set assets.on_bad to 'skip'" if can_skip else ""
    if len(problems) == 1 and not what:
        raise AssetError(f"{problems[0]}{skipping}") from problems[0]
    named = [f"{p.file} {p.problem}" if isinstance(p, BadImageError) else str(p) for p in problems[:MOST_NAMED]]
    if len(problems) > MOST_NAMED:
        named.append(f"and {len(problems) - MOST_NAMED:,} more")
    raise AssetError(
        f"{what or f'{len(problems):,} images cannot be used'}: {'; '.join(named)}; "
        f"replace them, or take them out of the folder{skipping}"
    )


def check(asset: Asset, *, decode: bool) -> None:
    """Raise AssetError where the user's file is unusable; built-in images are known to work."""
    if isinstance(asset, ImageFile):
        asset.check(decode=decode)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(
        f"{count:,} {name}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )
