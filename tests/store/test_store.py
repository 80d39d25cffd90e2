"""Stores: layout, provenance, resuming and refusing."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr
from tiny import TinyDataset, TinyParams, tree

from smile_synth.errors import DamagedStoreError, GeneratorError, StoreError
from smile_synth.render import render
from smile_synth.store import Store, render_store
from smile_synth.store.layout import shard_file
from smile_synth.store.shard import ShardWriter
from smile_synth.store.storage.local import LocalStorage
from smile_synth.store.workspace import Workspace
from smile_synth.store.writer import ShardPart, fill_store, finish_store, in_this_process


@pytest.fixture(scope="module")
def dataset() -> TinyDataset:
    return TinyDataset()


@pytest.fixture(scope="module")
def store(dataset: TinyDataset, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return render_store(dataset, tmp_path_factory.mktemp("store") / "clips", recipe=dataset.recipe())


def fill(dataset: TinyDataset, path: Path, part: str = "1/1") -> int:
    return fill_store(
        dataset, path, recipe=dataset.recipe(), engine=in_this_process, part=ShardPart.parse(part), label="test"
    )


def test_store_opens_with_plain_zarr(dataset: TinyDataset, store: Store) -> None:
    group = zarr.open_group(store.path, mode="r")
    assert group["frames"].shape == (10, 2, 8, 8, 3)
    assert group["frames"].shards == (4, 2, 8, 8, 3)
    assert group["frames"].chunks == (1, 2, 8, 8, 3)
    assert {name: array.shape for name, array in group.arrays()} == {
        "frames": (10, 2, 8, 8, 3),
        "boxes": (10, 2, 2, 4),
        "poses": (10, 2, 2, 6),
        "opacity": (10, 2, 2),
        "object": (10, 2),
        "background": (10,),
        "generator": (10,),
        "camera": (10, 2, 3, 3),
        "motion": (10, 2, 1, 1, 2),
    }
    assert {array.shards[0] for _, array in group.arrays()} == {4}
    for clip in range(10):
        scene = dataset.sample(clip)
        drawn = render(scene)
        np.testing.assert_array_equal(group["frames"][clip], drawn.frames_THWC)
        np.testing.assert_array_equal(group["boxes"][clip, : len(scene.layers)], drawn.boxes_KT4)
        assert np.isnan(group["boxes"][clip, len(scene.layers) :]).all()
        np.testing.assert_array_equal(group["labels/speed"][clip, : len(scene.layers)], scene.labels["speed"])
        assert group["labels/half"][clip] == scene.labels["half"]
    assert group["labels/speed"].attrs["unit"] == "px/frame"
    assert group.attrs["smile_synth"]["seed"] == 7


def test_store_opens_with_tensorstore(store: Store) -> None:
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(store.path / "frames")}}
    frames = tensorstore.open(spec, read=True).result()
    np.testing.assert_array_equal(frames[3:7].read().result(), store.read_frames(range(3, 7)))


def test_columns_equal_what_zarr_reads(store: Store) -> None:
    group = zarr.open_group(store.path, mode="r")
    for spec in store.layout.arrays:
        if spec.compressed:
            continue
        np.testing.assert_array_equal(store.column(spec.name), group[spec.name][:])
        assert store.column(spec.name).dtype == group[spec.name].dtype


def test_no_codec_but_zstd_on_frames_and_motion_and_a_checksum_on_every_chunk(store: Store) -> None:
    for spec in store.layout.arrays:
        codecs = json.loads((store.path / spec.name / "zarr.json").read_text())["codecs"][0]["configuration"]["codecs"]
        names = [codec["name"] for codec in codecs]
        assert names == (["bytes", "zstd", "crc32c"] if spec.name in ("frames", "motion") else ["bytes", "crc32c"])


def test_attributes_say_where_the_clips_come_from(dataset: TinyDataset, store: Store) -> None:
    assert store.recipe == dataset.recipe()
    assert store.seed == 7
    assert store.generators == ("tiny",)
    assert store.label_specs == dataset.label_specs
    assert store.assets == list(dataset.assets.rows)
    for key in ("format_version", "versions", "asset_digest", "licences", "code", "id", "digest"):
        assert getattr(store.manifest, key)


def test_two_workers_write_the_same_bytes_as_none(dataset: TinyDataset, store: Store, tmp_path: Path) -> None:
    render_store(dataset, tmp_path / "clips", recipe=dataset.recipe(), workers=2)
    assert tree(tmp_path / "clips") == tree(store.path)


def test_parts_in_any_order_and_finish_write_the_same_bytes(dataset: TinyDataset, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "clips"
    for part in ("3/3", "1/3"):
        fill(dataset, path, part)
    with pytest.raises(StoreError, match=r"lacks 1 of 3 shards \(1\)"):
        finish_store(path)
    fill(dataset, path, "2/3")
    finish_store(path)
    assert tree(path) == tree(store.path)


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "a/b", "1/0", "-1/3"])
def test_part_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(StoreError, match="part of the shards"):
        ShardPart.parse(text)


def test_finished_store_is_left_as_it_is(dataset: TinyDataset, tmp_path: Path) -> None:
    path = tmp_path / "clips"
    render_store(dataset, path, recipe=dataset.recipe())
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    assert fill(dataset, path) == 0
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file()} == {
        file: time_ns for file, time_ns in before.items() if file.is_file()
    }


def test_lost_file_of_a_completed_shard_is_made_again(dataset: TinyDataset, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "clips"
    fill(dataset, path)
    (path / "boxes" / "c.1.0.0.0").write_bytes(b"cut off")
    with pytest.raises(StoreError, match="lacks 1 of 3"):
        finish_store(path)
    assert fill(dataset, path) == 4
    finish_store(path)
    assert tree(path) == tree(store.path)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (TinyDataset(seed=8), "seed is 7 in the store and 8 now"),
        (TinyDataset(clips=11), "dataset.clips is 10 in the store and 11 now"),
        (TinyDataset(size=16), "dataset.canvas.height is 8 in the store and 16 now"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_other_recipe_or_seed_is_refused_by_its_difference(
    dataset: TinyDataset, tmp_path: Path, other: TinyDataset, named: str, finished: bool
) -> None:
    path = tmp_path / "clips"
    fill(dataset, path, "1/2")
    if finished:
        fill(dataset, path, "2/2")
        finish_store(path)
    before = tree(path)
    with pytest.raises(StoreError, match=named):
        fill(other, path)
    assert {name: data for name, data in tree(path).items() if "lock" not in name} == {
        name: data for name, data in before.items() if "lock" not in name
    }


def test_training_section_of_the_recipe_may_change(dataset: TinyDataset, tmp_path: Path) -> None:
    path = tmp_path / "clips"
    fill(dataset, path, "1/2")
    recipe = {**dataset.recipe(), "pretrain": {"epochs": 3}}
    fill_store(dataset, path, recipe=recipe, engine=in_this_process)
    assert finish_store(path).recipe == dataset.recipe()


def test_second_render_at_the_same_time_is_refused(dataset: TinyDataset, tmp_path: Path) -> None:
    path = tmp_path / "clips"
    fill(dataset, path, "1/2")
    with Workspace(path).locked(), pytest.raises(StoreError, match=rf"is being rendered by process {os.getpid()}"):
        fill(dataset, path)
    with Workspace(path, "1-of-2").locked():
        fill(dataset, path, "2/2")
        with pytest.raises(StoreError, match="is being rendered"):
            fill(dataset, path, "1/2")
        with pytest.raises(StoreError, match="is being rendered"):
            finish_store(path)
    finish_store(path)


def test_unfinished_store_does_not_open(dataset: TinyDataset, tmp_path: Path) -> None:
    path = tmp_path / "clips"
    fill(dataset, path)
    with pytest.raises(StoreError, match=r"not finished.*--finish"):
        Store.open(path)
    with pytest.raises(FileNotFoundError):
        zarr.open_group(path, mode="r")


@pytest.mark.parametrize("what", ["nothing", "file", "other", "zarr"])
def test_what_is_no_store_does_not_open(tmp_path: Path, what: str) -> None:
    path = tmp_path / "clips"
    if what == "file":
        path.write_text("hello")
    elif what == "other":
        path.mkdir()
        (path / "notes.txt").write_text("hello")
    elif what == "zarr":
        zarr.create_group(path)
    with pytest.raises(StoreError, match=r"no store at|no smile-synth store"):
        Store.open(path)


def test_folder_with_other_files_is_not_rendered_into(dataset: TinyDataset, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(StoreError, match="holds files that are no store"):
        fill(dataset, tmp_path)
    with pytest.raises(StoreError, match="is a file"):
        fill(dataset, tmp_path / "notes.txt")


def test_newer_format_is_refused(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "clips"
    path.mkdir()
    text = (store.path / "zarr.json").read_text()
    (path / "zarr.json").write_text(text.replace('"format_version": 2', '"format_version": 99'))
    with pytest.raises(StoreError, match="has format 99, this version reads 2; update"):
        Store.open(path)


def test_damaged_chunk_is_named(dataset: TinyDataset, tmp_path: Path) -> None:
    store = render_store(dataset, tmp_path / "clips", recipe=dataset.recipe())
    file = store.path / shard_file(store.layout.array("frames"), 1)
    data = bytearray(file.read_bytes())
    data[3] ^= 1
    file.write_bytes(data)
    with pytest.raises(DamagedStoreError, match=r"array frames, shard 1, clip 4: the chunk fails its checksum"):
        store.read_frames([4])
    assert store.read_frames([5]).shape == (1, 2, 8, 8, 3)
    file.unlink()
    with pytest.raises(DamagedStoreError, match=r"array frames, shard 1, clip 6: the file is missing"):
        Store.open(store.path).read_frames([6])


def test_file_that_cannot_be_opened_is_not_called_damaged(
    dataset: TinyDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = render_store(dataset, tmp_path / "clips", recipe=dataset.recipe())

    def too_many(path: Path, flags: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("smile_synth.store.storage.local.os.open", too_many)
    with pytest.raises(StoreError, match=r"shard 1, clip 4: cannot be read \(Too many open files\)") as caught:
        store.read_frames([4])
    assert not isinstance(caught.value, DamagedStoreError)


@pytest.mark.parametrize("is_linking", [True, False])
def test_of_jobs_that_start_together_one_decides(
    dataset: TinyDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_linking: bool
) -> None:
    def no_links(source: object, target: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not is_linking:
        monkeypatch.setattr("smile_synth.files.os.link", no_links)
    path = tmp_path / "clips"
    fill(dataset, path, "1/2")
    manifest, looks = Workspace.manifest, iter([True])
    # The second job looked before the first one had written.
    monkeypatch.setattr(Workspace, "manifest", lambda self: None if next(looks, False) else manifest(self))
    with pytest.raises(StoreError, match="holds other clips: seed is 7 in the store and 8 now"):
        fill(TinyDataset(seed=8), path, "2/2")
    assert fill(dataset, path, "2/2") == 4
    assert tree(finish_store(path).path) == tree(
        render_store(dataset, tmp_path / "whole", recipe=dataset.recipe()).path
    )


def test_a_job_that_starts_meanwhile_is_not_taken_for_foreign_files(
    dataset: TinyDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, looks = tmp_path / "clips", iter([True])

    def meanwhile(look: Callable[..., bool]) -> Callable[..., bool]:
        def looking(*arguments: object) -> bool:
            found = look(*arguments)
            if next(looks, False):
                fill(dataset, path, "1/2")
            return found

        return looking

    for name in ("exists", "is_empty"):
        monkeypatch.setattr(LocalStorage, name, meanwhile(getattr(LocalStorage, name)))
    assert fill(dataset, path, "2/2") == 4
    finish_store(path)


def test_shards_of_another_store_are_not_complete(dataset: TinyDataset, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "clips"
    fill(dataset, path)
    receipts = sorted(path.glob(".render/shards/*.json"))
    foreign = json.loads(receipts[1].read_text())
    for entry in foreign.values():
        entry["store"] = "0" * 32
    receipts[1].write_text(json.dumps(foreign))
    with pytest.raises(StoreError, match=r"lacks 1 of 3 shards \(1\)"):
        finish_store(path)
    # Earlier versions did not say which store.
    for receipt in (receipts[0], receipts[2]):
        entries = json.loads(receipt.read_text())
        receipt.write_text(
            json.dumps({name: {k: v for k, v in e.items() if k != "store"} for name, e in entries.items()})
        )
    assert fill(dataset, path) == 4
    finish_store(path)
    assert tree(path) == tree(store.path)


def test_a_receipt_that_cannot_be_read_is_not_called_absent(
    dataset: TinyDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clips"
    fill(dataset, path, "1/3")
    read = Path.read_bytes

    def failing(file: Path) -> bytes:
        if file.parent.name == "shards":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(file))
        return read(file)

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(StoreError, match=r"00000000\.json, the receipt .* cannot be read \(Input/output error\)"):
        fill(dataset, path)


def test_what_went_wrong_is_not_hidden_by_clearing_up(
    dataset: TinyDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(self: Workspace) -> bool:
        raise OSError(errno.ETIMEDOUT, "the server did not answer in time")

    def interrupted(*_: object, advance: object) -> None:
        monkeypatch.setattr(Workspace, "is_sealed", property(unreachable))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill_store(dataset, tmp_path / "clips", recipe=dataset.recipe(), engine=interrupted)


def test_clip_outside_the_store_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match=r"clip must be 0 to 9 in .*, got 10"):
        store.read_frames([10])
    with pytest.raises(StoreError, match="has no array 'label/speed'"):
        store.column("label/speed")


@pytest.mark.parametrize("workers", [0, 1])
def test_error_of_a_generator_arrives_as_it_is(tmp_path: Path, workers: int) -> None:
    dataset = TinyDataset(params=TinyParams(fails_at=5))
    with pytest.raises(GeneratorError, match=r"^generator 'tiny' failed in clip 5 \(seed 7\): as it was told$"):
        render_store(dataset, tmp_path / "clips", recipe=dataset.recipe(), workers=workers)
    assert 0 in Workspace(tmp_path / "clips").completed()


def test_clip_that_hangs_in_compiled_code_is_named_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smile_synth.store.engines.workers.GRACE_S", -56.0)
    dataset = TinyDataset(params=TinyParams(hangs_at=5))
    with pytest.raises(GeneratorError, match=r"clip 5 \(seed 7\) did not end within 4 s"):
        render_store(dataset, tmp_path / "clips", recipe=dataset.recipe(), workers=1)
    assert list(Workspace(tmp_path / "clips").completed()) == [0]


def test_dying_worker_is_named_and_completed_shards_stay(store: Store, tmp_path: Path) -> None:
    dataset = TinyDataset(params=TinyParams(dies_at=9))
    path = tmp_path / "clips"
    with pytest.raises(StoreError, match="a worker process ended with exit code 3 in clip 9 of shard 2"):
        render_store(dataset, path, recipe=dataset.recipe(), workers=1)
    assert list(Workspace(path).completed()) == [0, 1]
    assert fill(TinyDataset(), path) == 2
    finish_store(path)
    assert tree(path) == tree(store.path)


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.ENOSPC, "free some space"), (errno.EACCES, "give yourself the right to it")]
)
def test_full_disk_and_lost_permission_are_named_and_completed_shards_stay(
    dataset: TinyDataset, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    path = tmp_path / "clips"
    fill(dataset, path, "1/3")

    def fail(writer: ShardWriter, data: bytes) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(ShardWriter, "_write", fail)
        with pytest.raises(StoreError, match=f"shard 1 of .* {os.strerror(number)}.*{advice} and run"):
            fill(dataset, path)
    assert list(Workspace(path).completed()) == [0]
    assert not (path / ".render" / "drafts").exists()
    fill(dataset, path)
    finish_store(path)
    assert tree(path) == tree(store.path)


CRASHES = Path(__file__).parents[1] / "store_crashes.py"


def run_crashes(*arguments: str) -> str:
    command = [sys.executable, str(CRASHES), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_killed_at_20_random_moments_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    assert "20 stores killed, 20 the same" in run_crashes("moments", str(tmp_path))


@pytest.mark.slow
def test_killed_at_every_step_of_publishing_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    assert "the same" in run_crashes("steps", str(tmp_path))


@pytest.mark.slow
def test_killed_with_its_workers_at_random_moments_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    assert "5 stores killed, 5 the same" in run_crashes("workers", str(tmp_path))


def test_ctrl_c_leaves_completed_shards_and_no_drafts(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "clips"
    process = subprocess.Popen(
        [sys.executable, str(CRASHES), "render", str(path)], stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not (path / ".render" / "shards" / "00000000.json").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1] == b"interrupted"
    assert b"Traceback" not in errors
    assert 0 in Workspace(path).completed()
    assert not (path / ".render" / "drafts").exists()
    fill(TinyDataset(), path)
    finish_store(path)
    assert tree(path) == tree(store.path)
