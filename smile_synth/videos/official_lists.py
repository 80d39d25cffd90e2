"""The lists of UCF101, HMDB51, Something-Something v2 and Kinetics, as they are downloaded."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from smile_synth.errors import VideoListError
from smile_synth.params import shown
from smile_synth.recipe.videos import VideosParams
from smile_synth.videos.search import Listed, Part, VideoFiles, first_file, read_lines, video_root

TRAIN_AND_TEST: tuple[Part, ...] = ("train", "validation")


class Ucf101:
    """``classInd.txt``, ``trainlist01.txt`` with ``CLASS/NAME.avi NUMBER``, ``testlist01.txt`` without the number."""

    FOLDERS = ("", "ucfTrainTestlist/", "annotations/")

    def is_there(self, params: VideosParams, folder: Path) -> bool:
        """Whether the list of classes is there."""
        return first_file(folder, [f"{place}classInd.txt" for place in self.FOLDERS]) is not None

    def parts(self, params: VideosParams, folder: Path) -> tuple[Part, ...]:
        """Return the parts; the test part is the validation part."""
        return TRAIN_AND_TEST

    def read(self, params: VideosParams, part: Part, folder: Path) -> tuple[list[Listed], tuple[str, ...]]:
        """Return the videos of a part of the split; classes in the order of ``classInd.txt``."""
        classes = self._classes(_wanted(folder, self.FOLDERS, ["classInd.txt"], "UCF101"))
        kind = "trainlist" if part == "train" else "testlist"
        file = folder / getattr(params, part) if getattr(params, part) else None
        file = file or _wanted(folder, self.FOLDERS, [f"{kind}{params.split:02d}.txt"], "UCF101")
        videos = VideoFiles(video_root(params, folder))
        listed = []
        for number, line in read_lines(file):
            path = line.rpartition(" ")[0] if line.rpartition(" ")[2].isdigit() else line
            label = path.partition("/")[0]
            if label not in classes or not path.partition("/")[2]:
                raise VideoListError(f"{file}, line {number}: wanted 'CLASS/NAME.avi NUMBER', got {line!r}")
            listed.append(Listed(videos.find(path, [label]), label))
        return listed, classes

    def _classes(self, file: Path) -> tuple[str, ...]:
        rows = [line.split() for _, line in read_lines(file)]
        if any(len(row) != 2 or not row[0].isdigit() for row in rows):
            raise VideoListError(f"{file}: wanted lines 'NUMBER CLASS'")
        if sorted(int(row[0]) for row in rows) != list(range(1, len(rows) + 1)):
            raise VideoListError(f"{file}: classes must be numbered from 1 to {len(rows)}")
        return tuple(name for _, name in sorted((int(number), name) for number, name in rows))


class Hmdb51:
    """``CLASS_test_split1.txt`` with ``NAME.avi 1``: 1 is for training, 2 for testing, 0 for neither."""

    FOLDERS = ("", "testTrainMulti_7030_splits/", "test_train_splits/", "annotations/")

    def is_there(self, params: VideosParams, folder: Path) -> bool:
        """Whether the files of the split are there."""
        return bool(self._files(params, folder))

    def parts(self, params: VideosParams, folder: Path) -> tuple[Part, ...]:
        """Return the parts; the test part is the validation part."""
        return TRAIN_AND_TEST

    def read(self, params: VideosParams, part: Part, folder: Path) -> tuple[list[Listed], tuple[str, ...]]:
        """Return the videos of a part of the split; classes in order of their names."""
        files = self._files(params, folder)
        if not files:
            raise VideoListError(f"{folder} has no files CLASS_test_split{params.split}.txt, as HMDB51 has them")
        videos, wanted = VideoFiles(video_root(params, folder)), "1" if part == "train" else "2"
        listed = []
        for label, file in files.items():
            for number, line in read_lines(file):
                name, _, use = line.rpartition(" ")
                if not name or use not in ("0", "1", "2"):
                    raise VideoListError(f"{file}, line {number}: wanted 'NAME.avi' and 0, 1 or 2, got {line!r}")
                if use == wanted:
                    listed.append(Listed(videos.find(f"{label}/{name.strip()}", [label]), label))
        return listed, tuple(files)

    def _files(self, params: VideosParams, folder: Path) -> dict[str, Path]:
        ending = f"_test_split{params.split}.txt"
        for place in self.FOLDERS:
            files = {file.name.removesuffix(ending): file for file in (folder / place).glob(f"*{ending}")}
            if files:
                return dict(sorted(files.items()))
        return {}


class SomethingV2:
    """``labels.json`` from template to number, ``train.json`` and ``validation.json`` with id and template."""

    FOLDERS = ("", "labels/", "annotations/")
    OLD = "something-something-v2-"

    def is_there(self, params: VideosParams, folder: Path) -> bool:
        """Whether the list of classes is there."""
        return (
            first_file(folder, [f"{at}{old}labels.json" for at in self.FOLDERS for old in ("", self.OLD)]) is not None
        )

    def parts(self, params: VideosParams, folder: Path) -> tuple[Part, ...]:
        """Return the parts; the answers of the test part are not public."""
        return TRAIN_AND_TEST

    def read(self, params: VideosParams, part: Part, folder: Path) -> tuple[list[Listed], tuple[str, ...]]:
        """Return the videos of a part; classes in order of their numbers."""
        name = "Something-Something v2"
        classes = self._classes(_wanted(folder, self.FOLDERS, ["labels.json", f"{self.OLD}labels.json"], name))
        kind = "train" if part == "train" else "validation"
        file = folder / getattr(params, part) if getattr(params, part) else None
        file = file or _wanted(folder, self.FOLDERS, [f"{kind}.json", f"{self.OLD}{kind}.json"], name)
        videos, known, listed = VideoFiles(video_root(params, folder)), set(classes), []
        for number, entry in enumerate(_json(file, list), start=1):
            label = str(entry.get("template", "")).replace("[", "").replace("]", "") if isinstance(entry, dict) else ""
            if label not in known or "id" not in entry:
                raise VideoListError(
                    f"{file}, entry {number}: wanted 'id' and a 'template' of labels.json, got {entry!r}"
                )
            listed.append(Listed(videos.find(f"{entry['id']}.webm"), label))
        return listed, classes

    def _classes(self, file: Path) -> tuple[str, ...]:
        numbers = _json(file, dict)
        if sorted(str(number) for number in numbers.values()) != sorted(str(n) for n in range(len(numbers))):
            raise VideoListError(f"{file}: wanted an object from template to number, 0 to {len(numbers) - 1}")
        return tuple(sorted(numbers, key=lambda name: int(numbers[name])))


class Kinetics:
    """``train.csv`` with label, youtube_id, time_start, time_end and split; files ``ID_000010_000020.mp4``."""

    FOLDERS = ("", "annotations/", "k400/annotations/")
    NAMES: ClassVar[dict[Part, tuple[str, ...]]] = {
        "train": ("train.csv", "kinetics_train.csv"),
        "validation": ("val.csv", "validate.csv", "validation.csv", "kinetics_val.csv"),
        "test": ("test.csv", "kinetics_test.csv"),
    }
    COLUMNS = ("label", "youtube_id", "time_start", "time_end")

    def is_there(self, params: VideosParams, folder: Path) -> bool:
        """Whether there is a training list whose first line names Kinetics' columns."""
        file = self._file(params, "train", folder) or self._file(params, "validation", folder)
        return file is not None and file.is_file() and set(self.COLUMNS) <= set(_header(file))

    def parts(self, params: VideosParams, folder: Path) -> tuple[Part, ...]:
        """Return the parts that have a list with labels."""
        files = {part: self._file(params, part, folder) for part in self.NAMES}
        return tuple(
            part for part, file in files.items() if file is not None and file.is_file() and "label" in _header(file)
        )

    def read(self, params: VideosParams, part: Part, folder: Path) -> tuple[list[Listed], tuple[str, ...]]:
        """Return the videos of a part; classes in order of their names."""
        there = self.parts(params, folder)
        chosen = "validation" if part == "test" and "test" not in there else part
        if chosen not in there:
            raise VideoListError(
                f"{folder} has no list of Kinetics' {part} part; wanted {' or '.join(self.NAMES[part])} with the "
                f"columns {', '.join(self.COLUMNS)}"
            )
        rows = {name: self._rows(params, name, folder) for name in there}
        classes = tuple(sorted({row["label"] for part_rows in rows.values() for row in part_rows}))
        videos = VideoFiles(video_root(params, folder))
        aliases = {"validation": ["val", "validation", "validate"]}.get(chosen, [chosen])
        return [self._find(videos, row, aliases) for row in rows[chosen]], classes

    def _find(self, videos: VideoFiles, row: dict[str, str], aliases: Sequence[str]) -> Listed:
        label = row["label"]
        name = f"{row['youtube_id']}_{int(row['time_start']):06d}_{int(row['time_end']):06d}.mp4"
        return Listed(videos.find(name, [*aliases, label, label.replace(" ", "_")]), label)

    def _rows(self, params: VideosParams, part: Part, folder: Path) -> list[dict[str, str]]:
        file = self._file(params, part, folder)
        assert file is not None
        try:
            with file.open(encoding="utf-8-sig", newline="") as lines:
                rows = list(csv.DictReader(lines))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise _unreadable(file, error) from None
        for number, row in enumerate(rows, start=2):
            if not all(row.get(column) for column in self.COLUMNS) or not (
                row["time_start"].isdigit() and row["time_end"].isdigit()
            ):
                raise VideoListError(f"{file}, line {number}: wanted {', '.join(self.COLUMNS)}, got {shown(row)}")
        return rows

    def _file(self, params: VideosParams, part: Part, folder: Path) -> Path | None:
        if getattr(params, part):
            return Path(folder / getattr(params, part))
        return first_file(folder, [f"{place}{name}" for place in self.FOLDERS for name in self.NAMES[part]])


UCF101, HMDB51, SSV2, KINETICS = Ucf101(), Hmdb51(), SomethingV2(), Kinetics()


def _wanted(folder: Path, places: Iterable[str], names: Sequence[str], dataset: str) -> Path:
    file = first_file(folder, [f"{place}{name}" for place in places for name in names])
    if file is None:
        raise VideoListError(f"{folder} has no {' or '.join(names)}, as {dataset} has it; put the official lists there")
    return file


def _header(file: Path) -> list[str]:
    try:
        with file.open(encoding="utf-8-sig") as lines:
            return [column.strip() for column in lines.readline().split(",")]
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: Exception) -> VideoListError:
    return VideoListError(f"{file} cannot be read as a list of videos: {error}")


def _json(file: Path, kind: type[Any]) -> Any:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VideoListError(f"{file} cannot be read as JSON: {error}") from None
    if not isinstance(content, kind):
        raise VideoListError(f"{file}: wanted a JSON {'object' if kind is dict else 'list'}")
    return content
