"""Finding the files that official lists name without folder or suffix."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from smile_synth.errors import VideoListError
from smile_synth.recipe.videos import VideosParams
from smile_synth.videos.frames import VIDEO_SUFFIXES

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Listed:
    """A video of a list: where it is, or would be, and the name of its class."""

    file: Path
    label: str


class Layout(Protocol):
    """One way in which a dataset lists its videos."""

    def is_there(self, params: VideosParams, folder: Path) -> bool:
        """Whether the files of the layout lie in ``folder``."""

    def parts(self, params: VideosParams, folder: Path) -> tuple[Part, ...]:
        """Return the parts that are videos of their own."""

    def read(self, params: VideosParams, part: Part, folder: Path) -> tuple[list[Listed], tuple[str, ...]]:
        """Return the videos of a part, and the names of all classes in order of their numbers."""


class VideoFiles:
    """The video files below a folder, found by name whatever folder and suffix they have got.

    Args:
        root: the folder; it is listed once.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise VideoListError(f"there is no folder of videos {root}; set videos.root")
        self._root = root
        self._by_stem: defaultdict[str, list[Path]] = defaultdict(list)
        for path in walk_videos(root):
            self._by_stem[path.stem].append(path)

    def find(self, name: str, folders: Sequence[str] = ()) -> Path:
        """Return the file of a name.

        Args:
            name: as the list has it, with or without folder and suffix.
            folders: names of folders, nearest to the file first, that tell files of one name from each other.

        Returns:
            The file, or where it would be if it were there.

        Raises:
            VideoListError: several files fit.
        """
        exact = self._root / name
        stem = exact.stem if exact.suffix.lower() in VIDEO_SUFFIXES else exact.name
        found = self._by_stem.get(stem, [])
        if exact in found:
            return exact
        for part in folders:
            fitting = [path for path in found if part in path.relative_to(self._root).parts[:-1]]
            found = fitting or found
        if len(found) > 1:
            raise VideoListError(
                f"{name} may be {found[0]} or {found[1]}; remove one of them, or set videos.root to the right folder"
            )
        return found[0] if found else exact


def walk_videos(folder: Path) -> Iterator[Path]:
    """Yield the video files below a folder in order of their names; hidden folders and files are left out.

    Raises:
        OSError: a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise error

    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            # A link back into what was walked already.
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if Path(name).suffix.lower() in VIDEO_SUFFIXES and not name.startswith("."):
                yield Path(place, name)


def video_root(params: VideosParams, folder: Path) -> Path:
    """Return the folder that the video files are in."""
    return folder / params.root if params.root else folder


def read_lines(file: Path) -> list[tuple[int, str]]:
    """Return the lines of a text file that hold something, with their numbers.

    Raises:
        VideoListError: it is missing, or no text.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoListError(f"{file} cannot be read as a list of videos: {reason[0].lower()}{reason[1:]}") from None
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def first_file(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the first of some paths below ``folder`` that is a file."""
    return next((folder / name for name in names if (folder / name).is_file()), None)
