"""Clips of videos in a store: the right frames, and a store like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_training import run_tiny, tiny_recipe
from tiny_videos import counted, counting, write_video
from typer.testing import CliRunner

from smile_synth.cli import app
from smile_synth.errors import StoreError, VideoError
from smile_synth.loader.loader import Loader
from smile_synth.recipe.dataset import StoreParams
from smile_synth.recipe.videos import VideosParams
from smile_synth.store import Store
from smile_synth.store.verify import verify_store
from smile_synth.videos import importing, short
from smile_synth.videos.decoding import decode
from smile_synth.videos.importing import ImportParams, import_videos
from smile_synth.videos.lists import read_videos

READING = VideosParams(frames=4, stride=2, short_side=32)
SHARDS = StoreParams(clips_per_shard=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(8):
        path = tmp_path / "films" / "train" / ("run", "jump")[number % 2] / f"{number}.mkv"
        write_video(path, counting(10 + number, 32, 64), codec="ffv1", pix_fmt="bgr0")
    return tmp_path / "films"


def imported(folder: Path, out: Path, reading: VideosParams = READING, **values: object) -> Store:
    videos = read_videos(reading, "train", folder)
    size = {"height": 32, "width": 64, **values}
    params = ImportParams("films", "train", **size)  # type: ignore[arg-type]
    return import_videos(videos, reading, params, out, root=folder, store=SHARDS)


def test_the_clips_are_the_middles_of_the_videos_to_the_pixel(folder: Path, tmp_path: Path) -> None:
    store = imported(folder, tmp_path / "clips.zarr")
    videos = read_videos(READING, "train", folder)
    assert store.num_clips == 8
    assert verify_store(store, threads=1) == []
    for clip, file in enumerate(videos.files):
        length = int(file.stem) + 10
        # Four frames, stride 2, span 7: half of the rest comes before them.
        wanted = [(length - 7) // 2 + 2 * step for step in range(4)]
        frames = store.read_frames([clip])[0]
        assert counted(frames) == wanted
        expected = decode(file, lambda info, wanted=wanted: np.array(wanted), short_side=None)  # type: ignore[misc]
        np.testing.assert_array_equal(frames, expected)
        row = store.assets[store.column("background")[clip]]
        assert (row.name, row.class_name) == (file.relative_to(folder).as_posix(), file.parent.name)
    assert store.label_specs["class"].classes == ("jump", "run")
    np.testing.assert_array_equal(store.column("labels/class"), videos.labels)
    assert store.motion_cell_px is None
    assert store.max_objects == 0
    assert np.isnan(store.column("boxes")).all()


def test_several_clips_of_a_video_are_spread_over_it(folder: Path, tmp_path: Path) -> None:
    store = imported(folder, tmp_path / "clips.zarr", clips_per_video=2)
    assert store.num_clips == 16
    length = int(Path(store.assets[0].name).stem) + 10
    # Of every second frame, the clips begin at the first one and at the last one that leaves room for four.
    sampled = list(range(0, length, 2))
    assert counted(store.read_frames([0])[0]) == sampled[:4]
    assert counted(store.read_frames([1])[0]) == sampled[-4:]
    np.testing.assert_array_equal(store.column("background"), np.repeat(np.arange(8), 2))


def test_what_is_larger_is_scaled_and_its_centre_taken(folder: Path, tmp_path: Path) -> None:
    frames = imported(folder, tmp_path / "clips.zarr", height=16, width=16).read_frames([0])[0]
    assert frames.shape == (4, 16, 16, 3)


def test_an_interrupted_import_is_resumed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, read = importing.decode_resized, []

    def dies_at_the_fifth(file: Path, *rest: object, **options: object) -> object:
        if len(read) == 4:
            raise KeyboardInterrupt
        read.append(file)
        return real(file, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(importing, "decode_resized", dies_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        imported(folder, tmp_path / "clips.zarr")
    with pytest.raises(StoreError, match="is not finished"):
        Store.open(tmp_path / "clips.zarr")
    read.clear()
    read_now: list[Path] = []

    def watched(file: Path, *rest: object, **options: object) -> object:
        read_now.append(file)
        return real(file, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(importing, "decode_resized", watched)
    store = imported(folder, tmp_path / "clips.zarr")
    assert len(read_now) == 5, "the first shard of 3 was complete"
    monkeypatch.setattr(importing, "decode_resized", real)
    assert store.digest == imported(folder, tmp_path / "undisturbed.zarr").digest


@pytest.mark.slow
def test_processes_import_the_same(folder: Path, tmp_path: Path) -> None:
    one = imported(folder, tmp_path / "one.zarr")
    videos = read_videos(READING, "train", folder)
    params = ImportParams("films", "train", 32, 64)
    two = import_videos(videos, READING, params, tmp_path / "two.zarr", root=folder, store=SHARDS, workers=2)
    assert one.digest == two.digest


def test_other_settings_do_not_resume(folder: Path, tmp_path: Path) -> None:
    imported(folder, tmp_path / "clips.zarr")
    with pytest.raises(StoreError, match="holds other clips: canvas"):
        imported(folder, tmp_path / "clips.zarr", height=16)
    with pytest.raises(StoreError, match=r"holds other clips: imported\.stride is 2 in the store and 1 now"):
        imported(folder, tmp_path / "clips.zarr", READING.model_copy(update={"stride": 1}))
    write_video(folder / "train" / "run" / "new.mkv", counting(9, 32, 64), codec="ffv1", pix_fmt="bgr0")
    with pytest.raises(StoreError, match="holds other clips: num_clips is 8 in the store and 9 now"):
        imported(folder, tmp_path / "clips.zarr")


def test_a_broken_video_stops_the_import_and_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "train" / "run" / "0.mkv").write_text("no video")
    with pytest.raises(VideoError, match=r"video .*0\.mkv cannot be read"):
        imported(folder, tmp_path / "clips.zarr")


def test_the_store_trains_and_loads_as_any_other(folder: Path, tmp_path: Path) -> None:
    store = imported(folder, tmp_path / "clips.zarr", width=32)
    with Loader([store], batch_size=4, seed=0) as loader:
        assert next(iter(loader)).frames_BTHWC.shape == (4, 4, 32, 32, 3)
    summary = run_tiny(store, tmp_path / "run", tiny_recipe(max_steps=3, mask={"kind": "tube"}))
    assert (summary.steps, summary.reason) == (3, "")


def test_a_list_that_is_named_is_the_one_that_is_read(folder: Path, tmp_path: Path) -> None:
    for name, files in (("holdout.csv", range(2)), ("test.csv", range(8))):
        lines = [f"train/{('run', 'jump')[number % 2]}/{number}.mkv {number % 2}" for number in files]
        (folder / name).write_text("\n".join(lines) + "\n")
    few = ["--set", "videos={frames: 4, stride: 2, short_side: 32}", "--workers", "0", "--part", "test"]
    out = str(tmp_path / "c.zarr")
    done = CliRunner().invoke(app, ["import-videos", str(folder / "holdout.csv"), "--out", out, *few])
    assert done.exit_code == 0, done.stderr
    assert Store.open(out).num_clips == 2


def test_the_commands_know_an_imported_store(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (folder / "train" / "run" / "0.mkv").write_text("no video")
    few = ["--set", "videos={frames: 4, stride: 2, short_side: 32}", "--workers", "0"]
    done = CliRunner().invoke(app, ["import-videos", "films", "--out", "c.zarr", *few])
    assert done.exit_code == 2
    assert "0.mkv cannot be read" in done.stderr
    few += ["--set", "videos.on_error=skip", "--licence", "CC0-1.0"]
    done = CliRunner().invoke(app, ["import-videos", "films", "--out", "d.zarr", *few])
    assert done.exit_code == 0, done.stderr
    assert "1 of 8 videos were missing or broken, and were left out." in done.stdout
    assert "Store d.zarr: 7 clips of 4 frames, 32x32" in done.stdout
    shown = CliRunner().invoke(app, ["info", "d.zarr"]).stdout
    assert "imported    1 clips of each of 7 videos of films, train, dense" in shown
    assert CliRunner().invoke(app, ["verify", "d.zarr"]).exit_code == 0
    done = CliRunner().invoke(app, ["report", "d.zarr", "--out", "report"])
    assert done.exit_code == 0, done.stderr
    shard = next((tmp_path / "d.zarr" / "frames").glob("c.0.*"))
    data = bytearray(shard.read_bytes())
    data[100] ^= 255
    shard.write_bytes(data)
    again = (
        "import them again: smile-synth import-videos films --part train --clips 1 --size 32x32 "
        "--set videos.decoder=pyav --set videos.frames=4 --set videos.sampling=dense --set videos.stride=2 --out NEW"
    )
    done = CliRunner().invoke(app, ["verify", "d.zarr"])
    assert (done.exit_code, again in done.stderr) == (1, True)
    done = CliRunner().invoke(app, ["verify", "d.zarr", "--repair"])
    assert (done.exit_code, again in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ("frames: 16, stride: 4", "8 of 8 videos that were read show fewer than the 61 frames that a clip spans"),
        ("frames: 16, stride: 4", "such as --set videos.frames=10 --set videos.stride=1 for the shortest (10 frames)."),
        (
            "frames: 12, sampling: uniform",
            "2 of 8 videos that were read show fewer than the 12 frames that a clip spans",
        ),
        ("frames: 12, sampling: uniform", "such as --set videos.frames=10 for the shortest (10 frames)."),
        ("frames: 10, stride: 1", ""),
    ],
)
def test_an_import_says_how_many_videos_are_shorter_than_a_clip(
    folder: Path, tmp_path: Path, settings: str, line: str
) -> None:
    few = ["--set", f"videos={{{settings}, short_side: 32}}", "--workers", "0"]
    done = CliRunner().invoke(app, ["import-videos", str(folder), "--out", str(tmp_path / "c.zarr"), *few])
    assert done.exit_code == 0, done.stderr
    assert (line or "Store ") in done.stdout
    assert ("fewer than" in done.stdout) == bool(line)


def test_lengths_are_of_a_bounded_number_of_videos_and_broken_ones_count_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = list(read_videos(READING, "train", folder).files)
    assert sorted(short.video_lengths(files, "pyav", threads=2)) == list(range(10, 18))
    monkeypatch.setattr(short, "LOOKED_AT", 2)
    assert len(short.video_lengths(files, "opencv", threads=1)) == 2
    files[0].write_text("no video")
    assert len(short.video_lengths(files, "pyav", threads=1)) == 1
