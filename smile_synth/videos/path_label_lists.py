"""Lists of ``path label`` lines, as VideoMAE writes them: separated by a space, a comma or a tab."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from smile_synth.errors import VideoListError
from smile_synth.recipe.videos import VideosParams
from smile_synth.videos.class_folders import class_order
from smile_synth.videos.frames import VIDEO_SUFFIXES
from smile_synth.videos.search import Listed, Part, first_file, read_lines, video_root

USUAL_NAMES: dict[Part, tuple[str, ...]] = {
    "train": ("train.csv", "train.txt", "train_list.txt"),
    "validation": ("val.csv", "val.txt", "val_list.txt", "validation.csv", "validation.txt"),
    "test": ("test.csv", "test.txt", "test_list.txt"),
}
MAX_CLASSES = 100_000


@dataclass(frozen=True)
class ListLine:
    """One line of a list.

    Args:
        number: of the line, from 1.
        path: as it is written.
        label: its last field.
    """

    number: int
    path: str
    label: str


def read_list(file: Path) -> list[ListLine]:
    """Return the lines of a list. The label is the last field: a path may hold spaces and commas.

    Raises:
        VideoListError: it cannot be read, a line is not ``path label``, or there is none.
    """
    lines = []
    for number, line in read_lines(file):
        path, label = _fields(line)
        if not path or not label:
            raise VideoListError(f"{file}, line {number}: a line must be 'path label', got {line!r}")
        lines.append(ListLine(number, path, label))
    if not lines:
        raise VideoListError(f"{file} lists no video; write a line 'path label' for each")
    return lines


def _fields(line: str) -> tuple[str, str]:
    if line.startswith('"'):
        fields = next(csv.reader([line]))
        return (fields[0].strip(), fields[-1].strip()) if len(fields) > 1 else ("", "")
    # A comma parts the fields only right behind a video's suffix: both fields may hold commas and spaces.
    place = line.rfind(",")
    if "\t" not in line and place > 0 and Path(line[:place].strip()).suffix.lower() in VIDEO_SUFFIXES:
        return line[:place].strip(), line[place + 1 :].strip()
    path, _, label = line.rpartition("\t" if "\t" in line else " ")
    return path.strip(), label.strip()


class PathLabel:
    """``train.csv`` and ``val.csv`` with a line ``path label`` for each video."""

    def is_there(self, params: VideosParams, folder: Path) -> bool:
        """Whether there is a list of the training part."""
        return (
            (folder / params.train).is_file() if params.train else first_file(folder, USUAL_NAMES["train"]) is not None
        )

    def parts(self, params: VideosParams, folder: Path) -> tuple[Part, ...]:
        """Return the parts that have a list."""
        return tuple(part for part in USUAL_NAMES if self._file(params, part, folder) is not None)

    def read(self, params: VideosParams, part: Part, folder: Path) -> tuple[list[Listed], tuple[str, ...]]:
        """Return the videos of a part; numbered classes are 0 to the largest number in any part."""
        files = {name: self._file(params, name, folder) for name in USUAL_NAMES}
        file = files[part] or (files["validation"] if part == "test" else None)
        if file is None:
            raise VideoListError(
                f"{folder} has no list of the {part} part; wanted {' or '.join(USUAL_NAMES[part])}, or videos.{part}"
            )
        lists = {name: read_list(path) for name, path in files.items() if path is not None}
        classes, name_of = _classes(params, folder, [line for lines in lists.values() for line in lines])
        root = video_root(params, folder)
        chosen = lists[part] if files[part] is not None else lists["validation"]
        return [Listed(root / line.path, name_of[line.label]) for line in chosen], classes

    def _file(self, params: VideosParams, part: Part, folder: Path) -> Path | None:
        named = getattr(params, part)
        if not named:
            return first_file(folder, USUAL_NAMES[part])
        if not (folder / named).exists():
            raise VideoListError(f"there is no list {folder / named}, which videos.{part} names")
        return folder / named if (folder / named).is_file() else None


PATH_LABEL = PathLabel()


def _classes(params: VideosParams, folder: Path, lines: list[ListLine]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the names of all classes, and what name each label of the lists has."""
    labels = sorted({line.label for line in lines}, key=class_order)
    names = [line for _, line in read_lines(folder / params.class_names)] if params.class_names else []
    are_numbers = all(label.isascii() and label.isdigit() for label in labels)
    if not are_numbers:
        unknown = sorted(set(labels) - set(names)) if names else []
        if unknown:
            raise VideoListError(f"class {unknown[0]!r} is not among the {len(names)} of {params.class_names}")
        return tuple(names or labels), {label: label for label in labels}
    count = len(names) or int(labels[-1]) + 1
    if int(labels[-1]) >= min(count, MAX_CLASSES):
        raise VideoListError(
            f"class {labels[-1]} is none of the {min(count, MAX_CLASSES)} that there may be; they are counted from 0"
        )
    numbered = names or [str(number) for number in range(count)]
    if len(set(numbered)) < len(numbered):
        raise VideoListError(f"{params.class_names} names a class twice")
    return tuple(numbered), {label: numbered[int(label)] for label in labels}
