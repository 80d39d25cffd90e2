"""Labelled videos as their authors list them, by layout and part."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from smile_synth.errors import VideoListError
from smile_synth.recipe.videos import LayoutName, VideosParams
from smile_synth.videos import class_folders, official_lists, path_label_lists
from smile_synth.videos.search import Layout, Part

# In the order in which they are looked for.
LAYOUTS: dict[LayoutName, Layout] = {
    "ucf101": official_lists.UCF101,
    "hmdb51": official_lists.HMDB51,
    "ssv2": official_lists.SSV2,
    "kinetics": official_lists.KINETICS,
    "list": path_label_lists.PATH_LABEL,
    "folders": class_folders.FOLDERS,
}


@dataclass(frozen=True)
class LabelledVideos:
    """Video files and the class of each.

    Args:
        files: whether they exist or not; see ``missing``.
        labels: int64 (files,): number of each file's class.
        classes: names of the classes, the same for every part of a dataset.
    """

    files: tuple[Path, ...]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.labels.dtype != np.int64 or self.labels.shape != (len(self.files),):
            raise VideoListError(
                f"labels must be int64 ({len(self.files)},), got {self.labels.dtype} {self.labels.shape}"
            )
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise VideoListError(
                f"labels must lie in 0 to {len(self.classes) - 1}, got {self.labels.min()} to {self.labels.max()}"
            )

    def __len__(self) -> int:
        return len(self.files)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of names, labels and classes, whatever folder the videos lie in."""
        names = ["/".join(file.parts[-2:]) for file in self.files]
        return hashlib.sha256(repr([names, self.labels.tolist(), self.classes]).encode()).hexdigest()

    def missing(self) -> list[int]:
        """Return the numbers of the files that do not exist."""
        return [number for number, file in enumerate(self.files) if not file.is_file()]

    def without(self, numbers: Iterable[int]) -> LabelledVideos:
        """Return them without some, which ``numbers`` names; the classes stay."""
        dropped = set(numbers)
        kept = [number for number in range(len(self)) if number not in dropped]
        return LabelledVideos(tuple(self.files[number] for number in kept), self.labels[kept], self.classes)


def read_videos(params: VideosParams, part: Part, folder: Path) -> LabelledVideos:
    """Return the videos of one part of a dataset; no video is opened.

    UCF101 and HMDB51 have no validation part, and the test answers of Something-Something v2 are not public: there,
    validation and test are the same videos, as in the papers. So they are wherever there is no test part.

    Args:
        params: layout, names and split.
        part: which part.
        folder: of the dataset.

    Raises:
        VideoListError: nothing is there, or a list is not written as its layout wants; names file and line.
    """
    layout = find_layout(params, folder)
    listed, classes = LAYOUTS[layout].read(params, part, folder)
    if not listed:
        raise VideoListError(f"the {part} part of {folder} (layout {layout}) lists no video")
    number = {name: place for place, name in enumerate(classes)}
    labels = np.array([number[video.label] for video in listed], np.int64)
    return LabelledVideos(tuple(video.file for video in listed), labels, classes)


def parts_there(params: VideosParams, folder: Path) -> tuple[Part, ...]:
    """Return the parts of a dataset that are videos of their own: without a test part that is the validation part.

    Raises:
        VideoListError: as ``read_videos``.
    """
    return LAYOUTS[find_layout(params, folder)].parts(params, folder)


def find_layout(params: VideosParams, folder: Path) -> LayoutName:
    """Return the layout of a dataset, by what lies in its folder unless the recipe says.

    Raises:
        VideoListError: no layout fits.
    """
    if not folder.is_dir():
        raise VideoListError(f"there is no folder {folder}; name the folder that holds the videos and their lists")
    if params.layout != "auto":
        return params.layout
    for name, layout in LAYOUTS.items():
        if layout.is_there(params, folder):
            return name
    raise VideoListError(
        f"{folder} holds no videos in a layout that is known; wanted: class folders (train/CLASS/NAME.mp4), lists of "
        "'path label' (train.csv), or the official files of UCF101, HMDB51, Something-Something v2 or Kinetics; "
        "set videos.layout to hear what is missing"
    )


def usable(videos: LabelledVideos, params: VideosParams) -> tuple[LabelledVideos, int]:
    """Return the videos whose files exist, and how many were left out.

    Raises:
        VideoListError: some do not exist, and ``on_error`` is ``stop``.
    """
    missing = videos.missing()
    if missing and params.on_error == "stop":
        raise VideoListError(
            f"{len(missing)} of {len(videos)} listed videos are missing, such as {videos.files[missing[0]]}; fetch "
            "them, name their folder (videos.root), or leave them out (videos.on_error: skip)"
        )
    if len(missing) == len(videos):
        raise VideoListError(f"all {len(videos)} listed videos are missing, such as {videos.files[0]}")
    return videos.without(missing), len(missing)
