"""The dataset of actions: its classes are what its files show, and training and test share no image."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from smile_synth.errors import VideoError
from smile_synth.recipe.dataset import CanvasParams
from smile_synth.recipe.videos import VideosParams
from smile_synth.render import render
from smile_synth.videos.decoding import decode
from smile_synth.videos.lists import find_layout, read_videos
from smile_synth.videos.writing import VideoFormat, psnr_db

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CANVAS = CanvasParams(height=64, width=64, frames=16)
FORM = VideoFormat()


@pytest.fixture(scope="module")
def actions() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module("actions")
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_the_files_are_in_ucf101s_layout_and_resume(actions: ModuleType, tmp_path: Path) -> None:
    counts, small = {"train": 4, "test": 1}, CanvasParams(height=16, width=16, frames=4)
    actions.FAMILIES, before = actions.FAMILIES[-3:-2], actions.FAMILIES
    actions.CLASSES, classes = actions.FAMILIES[0].classes, actions.CLASSES
    try:
        assert actions.make(tmp_path, counts, small, FORM) == 5
        times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mp4")}
        first = min(times)
        first.unlink()
        assert actions.make(tmp_path, counts, small, FORM) == 5
        assert [path for path, time in times.items() if path.stat().st_mtime_ns != time] == [first]
        with pytest.raises(VideoError, match="of other settings"):
            actions.make(tmp_path, {"train": 5, "test": 1}, small, FORM)
    finally:
        actions.FAMILIES, actions.CLASSES = before, classes
    assert find_layout(VideosParams(), tmp_path) == "ucf101"
    train, test = (read_videos(VideosParams(), part, tmp_path) for part in ("train", "test"))
    assert (len(train), len(test), train.classes) == (4, 1, ("Bounces",))
    assert not train.missing()
    assert not set(train.files) & set(test.files)
    few = VideosParams(train="ucfTrainTestlist/trainlist-4.txt")
    assert read_videos(few, "train", tmp_path).files == train.files


def test_every_class_is_drawn_and_train_and_test_share_no_image(actions: ModuleType) -> None:
    shown: dict[str, set[Any]] = {}
    for part in ("train", "test"):
        names: Counter[str] = Counter()
        shown[part] = set()
        for family in actions.FAMILIES:
            for name, number, scene in actions.scenes_of(family, part, 2, CANVAS):
                assert number == names[name]
                names[name] += 1
                shown[part].add(scene.background.tobytes())
                shown[part].add(scene.layers[0].texture.tobytes())
        assert names == dict.fromkeys(actions.CLASSES, 2)
    assert len(actions.CLASSES) == 15
    assert not shown["train"] & shown["test"]


def test_what_a_class_is_called_is_what_the_pixels_do(actions: ModuleType) -> None:
    centres: dict[str, list[np.ndarray]] = {}
    areas: dict[str, list[float]] = {}
    for family in actions.FAMILIES:
        for name, _, scene in actions.scenes_of(family, "train", 3, CANVAS):
            boxes_T4 = render(scene).boxes_KT4[0].astype(float)
            centres.setdefault(name, []).append((boxes_T4[:, :2] + boxes_T4[:, 2:]) / 2)
            areas.setdefault(name, []).append(np.divide(*[np.prod(boxes_T4[t, 2:] - boxes_T4[t, :2]) for t in (-1, 0)]))
    moved = {name: np.array([path[-1] - path[0] for path in paths]) for name, paths in centres.items()}
    assert (moved["MovesRight"][:, 0] > 8).all()
    assert (moved["MovesDown"][:, 1] > 8).all(), "y grows downwards"
    assert ((moved["MovesUpLeft"] < -5).all(axis=1)).all()
    assert np.abs(moved["StandsStill"]).max() < 1
    assert min(areas["Grows"]) > 1.3
    assert max(areas["Shrinks"]) < 1 / 1.3
    turned_back = [np.ptp(np.sign(np.diff(path, axis=0).round(1)), axis=0).max() for path in centres["Bounces"]]
    assert min(turned_back) == 2, "it comes back from a border"


def test_the_files_show_what_was_rendered(actions: ModuleType, tmp_path: Path) -> None:
    _, _, scene = next(actions.scenes_of(actions.FAMILIES[0], "test", 1, CANVAS))
    actions.write_video(tmp_path / "a.mp4", render(scene).frames_THWC, FORM)
    read = decode(tmp_path / "a.mp4", lambda info: np.arange(info.num_frames), short_side=None)
    assert psnr_db(render(scene).frames_THWC, read) > 25
