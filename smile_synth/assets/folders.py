"""Folders of the user's own images: backgrounds of any kind, objects in class folders."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from smile_synth.assets.images import OBJECT_SUFFIXES, SUFFIXES, check_header, read_background, read_object
from smile_synth.assets.table import Asset, Image, Kind
from smile_synth.errors import AssetError

_BUILTIN = {"assets.backgrounds": "'builtin' or 'crops'", "assets.objects": "'builtin' or 'digits'"}


@dataclass(frozen=True)
class ImageFile(Asset):
    """An image in the user's folder."""

    folder: Path
    kind: Kind

    def read(self) -> Image:
        """Return the image, uint8, RGB for a background and RGBA for an object."""
        return read_object(self._file()) if self.kind == "object" else read_background(self._file())

    def check(self, *, decode: bool) -> None:
        """Raise AssetError where the file's header, or all of it with ``decode``, cannot be read."""
        if decode:
            self.read()
        else:
            check_header(self._file(), needs_alpha=self.kind == "object")

    def digest(self) -> str:
        """Return the digest of the file's bytes."""
        with self._file().open("rb") as opened:
            return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()

    def _file(self) -> Path:
        return self.folder / self.name


@dataclass(frozen=True)
class Listing:
    """What a folder of the user's holds.

    Args:
        folder: which.
        files: its images, in order of their names.
        others: how many files are no images that could serve here, by suffix.
    """

    folder: Path
    files: tuple[ImageFile, ...]
    others: Mapping[str, int]


def list_backgrounds(folder: Path, licence: str, *, source: str) -> Listing:
    """Return every image under ``folder``, at any depth.

    Args:
        folder: where the images lie.
        licence: of all of them.
        source: what the asset table calls the folder.

    Raises:
        AssetError: the folder does not exist, is a file, or holds no image.
    """
    names, others = _names(folder, SUFFIXES, "assets.backgrounds")
    files = tuple(ImageFile(name, "", licence, source, folder, "background") for name in names)
    return Listing(folder, files, others)


def list_objects(folder: Path, licence: str, *, source: str) -> Listing:
    """Return every ``class/name.png|webp`` under ``folder``; arguments as of ``list_backgrounds``.

    Raises:
        AssetError: as ``list_backgrounds``; also for an object that lies in no class folder.
    """
    names, others = _names(folder, OBJECT_SUFFIXES, "assets.objects")
    stray = next((name for name in names if "/" not in name), None)
    if stray is not None:
        raise AssetError(
            f"object {folder / stray} lies in no class folder; objects are laid out as class/name.png: "
            f"move it to {folder / 'some_class' / stray}"
        )
    files = tuple(ImageFile(name, name.split("/")[0], licence, source, folder, "object") for name in names)
    return Listing(folder, files, others)


def _names(folder: Path, suffixes: Collection[str], key: str) -> tuple[list[str], Mapping[str, int]]:
    if not folder.exists():
        raise AssetError(f"{key}: the folder {folder} does not exist; name an existing folder, or {_BUILTIN[key]}")
    if not folder.is_dir():
        raise AssetError(f"{key}: {folder} is a file; name the folder that holds the images")
    names, others = [], Counter[str]()
    for name in _walk(folder):
        suffix = os.path.splitext(name)[1].lower()
        if suffix in suffixes:
            names.append(name)
        else:
            others[suffix or "without suffix"] += 1
    if not names:
        kinds = ", ".join(sorted(suffixes))
        layout = f"class/name with {kinds}" if key == "assets.objects" else f"any of {kinds}"
        found = (
            f"; it holds {', '.join(f'{count:,} {kind}' for kind, count in others.most_common(5))}" if others else ""
        )
        raise AssetError(
            f"{key}: the folder {folder} holds no image ({layout}){found}; add some, or name another folder"
        )
    return sorted(names), dict(sorted(others.items()))


def _walk(folder: Path) -> Iterator[str]:
    visited = set()
    for path, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        # A link back to a folder above would otherwise be followed for ever.
        place = os.path.realpath(path)
        if place in visited:
            folders.clear()
            continue
        visited.add(place)
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(path).relative_to(folder).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        for name in files:
            if not name.startswith("."):
                yield f"{prefix}{name}"


def _refuse(error: OSError) -> None:
    raise AssetError(f"the folder {error.filename} cannot be read ({error.strerror})") from error
