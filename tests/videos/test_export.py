"""A store's clips as videos, and back."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import TinyDataset
from typer.testing import CliRunner

from smile_synth.cli import app
from smile_synth.errors import VideoError
from smile_synth.recipe.videos import VideosParams
from smile_synth.store import Store, render_store
from smile_synth.videos import export
from smile_synth.videos.decoding import decode
from smile_synth.videos.export import ExportParams, export_videos
from smile_synth.videos.lists import read_videos
from smile_synth.videos.writing import VideoFormat, psnr_db, write_video


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    dataset = TinyDataset(clips=12, size=32, frames=5)
    return render_store(dataset, tmp_path_factory.mktemp("store") / "clips.zarr", recipe=dataset.recipe())


def everything(info: Any) -> np.ndarray:
    return np.arange(info.num_frames)


@pytest.mark.parametrize("name", ["mp4", "webm"])
def test_lossless_videos_equal_their_clips_to_the_pixel(store: Store, tmp_path: Path, name: Any) -> None:
    done = export_videos(
        store, tmp_path / "out", ExportParams("half", form=VideoFormat(name, lossless=True)), threads=2
    )
    assert done.psnr_db == (math.inf, math.inf)
    found = read_videos(VideosParams(class_names="classes.txt"), "train", tmp_path / "out")
    assert found.classes == ("left", "right")
    assert len(found) == 12
    np.testing.assert_array_equal(found.labels, store.column("labels/half"))
    for clip, file in enumerate(found.files):
        assert file.parent.name == found.classes[found.labels[clip]]
        np.testing.assert_array_equal(decode(file, everything, short_side=None), store.read_frames([clip])[0])


@pytest.mark.parametrize("name", ["mp4", "webm"])
@pytest.mark.parametrize(("height", "width"), [(32, 48), (31, 33)])
def test_a_smaller_rate_factor_is_nearer_to_the_clip(tmp_path: Path, name: Any, height: int, width: int) -> None:
    gradient = np.add.outer(np.arange(height), np.arange(width)) * 3
    frames = np.stack([np.repeat(((gradient + 5 * t) % 256)[..., None], 3, -1) for t in range(6)]).astype(np.uint8)
    ratios = []
    for quality in (8, 45):
        path = tmp_path / f"{quality}.{name}"
        write_video(path, frames, VideoFormat(name, quality=quality))
        ratios.append(psnr_db(frames, decode(path, everything, short_side=None)))
    assert ratios[0] > 38
    assert ratios[1] < ratios[0] - 3


def test_the_stated_psnr_is_that_of_the_files(store: Store, tmp_path: Path) -> None:
    done = export_videos(store, tmp_path, ExportParams(), threads=1)
    files = read_videos(VideosParams(), "train", tmp_path).files
    ratios = [
        psnr_db(store.read_frames([clip])[0], decode(file, everything, short_side=None))
        for clip, file in enumerate(files)
    ]
    np.testing.assert_allclose(done.psnr_db, (np.mean(ratios), min(ratios)))


def test_an_interrupted_export_is_resumed(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    real = export.write_video

    def dies_at_the_fifth(path: Path, frames: np.ndarray, form: VideoFormat) -> None:
        if len(written) == 4:
            raise KeyboardInterrupt
        real(path, frames, form)
        written.append(path)

    monkeypatch.setattr(export, "write_video", dies_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        export_videos(store, tmp_path, ExportParams("half"), threads=1)
    assert not (tmp_path / "train.csv").exists()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mp4")}
    assert len(before) == 4
    monkeypatch.setattr(export, "write_video", real)
    assert export_videos(store, tmp_path, ExportParams("half"), threads=1).videos == 12
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert len(list(tmp_path.rglob("*.mp4"))) == 12


def test_numbers_are_binned_and_clips_without_them_left_out(tmp_path: Path) -> None:
    dataset = TinyDataset(clips=40, size=16, frames=2)
    store = render_store(dataset, tmp_path / "clips.zarr", recipe=dataset.recipe())
    with pytest.raises(VideoError, match=r"label 'speed' is one of each object, and clip \d+ has it for 2 objects"):
        export_videos(store, tmp_path / "no", ExportParams("speed"), threads=1)
    is_single = np.isfinite(store.column("labels/speed")).sum(axis=1) < 2
    column = store.column("labels/speed").copy()
    column[~is_single] = np.nan
    store._columns["labels/speed"] = column
    done = export_videos(store, tmp_path / "out", ExportParams("speed", bins=3, validation_share=0.4), threads=1)
    singles = np.isfinite(column).sum(axis=1) == 1
    assert (done.videos, done.unlabelled) == (singles.sum(), 40 - singles.sum())
    assert len(done.classes) == 3
    assert all(name.startswith("speed ") and name.endswith("px/frame") for name in done.classes)
    train, held_out = (read_videos(VideosParams(), part, tmp_path / "out") for part in ("train", "validation"))
    assert len(train) + len(held_out) == done.videos
    assert np.bincount(train.labels, minlength=3).min() > 0
    assert np.bincount(held_out.labels, minlength=3).min() > 0
    assert " " not in (tmp_path / "out" / "train.csv").read_text().splitlines()[0].rpartition(" ")[0]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (ExportParams("halves"), r"have no label 'halves'\. Did you mean 'half'\?"),
        (ExportParams("half", form=VideoFormat(lossless=True)), r"holds an export of other settings \(form\)"),
    ],
)
def test_what_does_not_fit_is_refused(store: Store, tmp_path: Path, params: ExportParams, message: str) -> None:
    export_videos(store, tmp_path, ExportParams("half"), threads=1)
    with pytest.raises(VideoError, match=message):
        export_videos(store, tmp_path, params, threads=1)


def test_a_folder_of_something_else_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(VideoError, match="is not empty and holds no export"):
        export_videos(store, tmp_path, ExportParams(), threads=1)


def test_the_command_says_what_it_wrote(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "videos"
    done = CliRunner().invoke(
        app, ["export-videos", str(store.path), "--out", str(out), "--label", "half", "--lossless"]
    )
    assert done.exit_code == 0, done.stderr
    assert "12 videos of 2 classes" in done.stdout
    assert "equal to their clips" in done.stdout
    assert (out / "train.csv").read_text().count("\n") == 12
    done = CliRunner().invoke(app, ["export-videos", str(store.path), "-o", str(out), "--format", "avi"])
    assert (done.exit_code, done.stderr) == (2, "smile-synth: a video format is mp4 or webm, got 'avi'\n")
