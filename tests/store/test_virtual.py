"""Virtual stores: everything that is not stored is rendered with the same bytes, or not at all."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from tiny import tree

from smile_synth.errors import DamagedStoreError, StoreError, UntrustedCodeError
from smile_synth.generator.dataset import Dataset
from smile_synth.recipe.recipe import Recipe, parse_recipe
from smile_synth.store import Store, code, convert, render_store
from smile_synth.store.convert import materialise, slim
from smile_synth.store.layout import CLIPS_PER_CHUNK, shard_file
from smile_synth.store.manifest import virtual_document
from smile_synth.store.reader import NoSuchClipError
from smile_synth.store.verify import repair_store, rerender, verify_store

CLIPS = 70
GENERATOR = """
import numpy as np
from smile_synth.generator import Generator
from smile_synth.params import StrictParams
from smile_synth.scene import Scene

class Params(StrictParams):
    pass

class Mine(Generator[Params]):
    "Noise."
    Params = Params
    max_objects = 0
    label_specs = {}

    def sample(self, *, rng):
        canvas = self.context.canvas
        return Scene(canvas, rng.integers(0, 256, (canvas.height, canvas.width, 3), dtype=np.uint8))
"""


def recipe(folder: Path = Path(), **changes: Any) -> Recipe:
    dataset = {
        "generator": "shapes",
        "clips": CLIPS,
        "canvas": {"height": 16, "width": 16, "frames": 3},
        "store": {"clips_per_shard": 16, "truth": ["visibility"]},
        **changes,
    }
    return parse_recipe({"name": "tiny", "seed": 5, "dataset": dataset}, folder=folder, origin="test")


def render(path: Path, made_from: Recipe | None = None, **how: Any) -> Store:
    chosen = made_from or recipe()
    return render_store(Dataset.of(chosen), path, recipe=chosen.resolved(), **how)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    folder = tmp_path_factory.mktemp("stores")
    return render(folder / "full"), render(folder / "virtual", is_virtual=True)


@pytest.fixture
def virtual(both: tuple[Store, Store], tmp_path: Path) -> Store:
    shutil.copytree(both[1].path, tmp_path / "clips")
    return Store.open(tmp_path / "clips")


def test_every_array_reads_as_from_a_full_store(both: tuple[Store, Store]) -> None:
    full, virtual = both
    assert not (virtual.path / "motion").exists()
    assert virtual.manifest.id == full.manifest.id
    for spec in full.layout.arrays:
        if not spec.compressed:
            np.testing.assert_array_equal(virtual.column(spec.name), full.column(spec.name))
        for clip in (0, 63, 64, 69, 3):
            ours, theirs = (np.empty(spec.item_shape, spec.dtype) for _ in range(2))
            virtual.reader(spec.name).read_into(clip, ours)
            full.reader(spec.name).read_into(clip, theirs)
            assert ours.tobytes() == theirs.tobytes(), (spec.name, clip)


@pytest.mark.parametrize("number", [-1, CLIPS])
def test_no_array_has_clips_outside_of_the_store(both: tuple[Store, Store], number: int) -> None:
    for store in both:
        for read in (store.read_frames, store.read_motion, lambda clips, store=store: store.rows("boxes", clips)):
            with pytest.raises(NoSuchClipError, match=f"clip must be 0 to 69 in .*, got {number}"):
                read([0, number])


def test_any_zarr_library_reads_the_small_arrays(both: tuple[Store, Store]) -> None:
    full, virtual = (zarr.open_group(store.path, mode="r") for store in both)
    assert set(dict(full.arrays())) - set(dict(virtual.arrays())) == {"frames", "motion"}
    for name, array in virtual.arrays():
        np.testing.assert_array_equal(np.asarray(array[:]), np.asarray(full[name][:]))  # type: ignore[index]


@pytest.mark.slow
def test_workers_write_the_same_bytes(both: tuple[Store, Store], tmp_path: Path) -> None:
    render(tmp_path / "clips", is_virtual=True, workers=2)
    assert tree(tmp_path / "clips") == tree(both[1].path)
    materialise(Store.open(tmp_path / "clips"), workers=2)
    assert tree(tmp_path / "clips") == tree(both[0].path)
    slim(Store.open(tmp_path / "clips"), workers=2)
    assert tree(tmp_path / "clips") == tree(both[1].path)


def test_two_objects_of_a_large_canvas_take_less_than_two_kilobytes(tmp_path: Path) -> None:
    made_from = recipe(
        generator="cutouts",
        clips=64,
        canvas={"height": 32, "width": 32, "frames": 16},
        params={
            "num_objects": [2, 2],
            "background": {"kind": "photograph", "camera": {"motion": {"slide": 1, "zoom": 1, "affine": 1}}},
        },
        store={},
    )
    store = render(tmp_path / "clips", made_from, is_virtual=True)
    shards = [store.path / shard_file(spec, 0) for spec in store.layout.stored]
    assert sum(file.stat().st_size for file in shards) / 64 < 2000


def test_a_sound_store_verifies_and_rerenders(virtual: Store) -> None:
    assert verify_store(virtual, threads=1) == []
    assert rerender(virtual, Dataset.of(recipe()), 5) == []


def test_a_digest_that_does_not_fit_is_named(virtual: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    seals = {**virtual.manifest.shard_seals}
    first, *rest = seals["motion"]
    seals["motion"] = ("00" * 16 + first[32:], *rest)
    monkeypatch.setitem(virtual.manifest.__dict__, "shard_seals", seals)
    (found,) = [damage for damage in verify_store(virtual, threads=1) if damage.array]
    assert (found.array, found.shard) == ("motion", 0)
    assert "rendering it gives other values" in found.reason


def test_damage_of_a_small_array_is_found_and_repaired(virtual: Store, both: tuple[Store, Store]) -> None:
    file = virtual.path / shard_file(virtual.layout.array("boxes"), 1)
    data = bytearray(file.read_bytes())
    data[20] ^= 1
    file.write_bytes(data)
    with pytest.raises(DamagedStoreError, match="array boxes, shard 1, clip 65"):
        Store.open(virtual.path).reader("boxes").read_into(65, np.empty(virtual.layout.array("boxes").item_shape))
    found = verify_store(virtual, threads=1)
    assert [(damage.array, damage.shard) for damage in found] == [("boxes", 1)]
    assert repair_store(virtual, Dataset.of(recipe()), found) == []
    assert tree(virtual.path) == tree(both[1].path)


def test_code_that_changes_no_pixel_is_let_pass(
    virtual: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(code, "_own_digests", lambda: dict.fromkeys(code.PARTS, "00"))
    virtual.read_frames([0])
    assert "a sample of its clips still has the same bytes" in caplog.text


def test_code_that_changes_pixels_is_named(virtual: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from smile_synth.store import clip_values

    monkeypatch.setattr(code, "_own_digests", lambda: dict.fromkeys(code.PARTS, "00"))
    before = clip_values.render_into

    def other(scene: Any, frames: Any, motion: Any = None) -> Any:
        boxes = before(scene, frames, motion)
        frames[0, 0, 0, 0] ^= 1
        return boxes

    monkeypatch.setattr(clip_values, "render_into", other)
    with pytest.raises(StoreError, match=r"no longer rendered as they were \(array frames, clip \d+\): the code of"):
        virtual.read_frames([0])


def test_materialised_is_byte_for_byte_what_rendering_writes(both: tuple[Store, Store], virtual: Store) -> None:
    full = materialise(virtual)
    assert tree(virtual.path) == tree(both[0].path)
    assert not full.is_virtual
    assert [path.name for path in virtual.path.parent.iterdir()] == ["clips"]


def test_slimmed_is_byte_for_byte_the_virtual_store(both: tuple[Store, Store], tmp_path: Path) -> None:
    shutil.copytree(both[0].path, tmp_path / "clips")
    slim(Store.open(tmp_path / "clips"))
    assert tree(tmp_path / "clips") == tree(both[1].path)


def test_slim_keeps_a_store_whose_clips_come_out_otherwise(
    both: tuple[Store, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(both[0].path, tmp_path / "clips")
    before = convert.stored_dataset

    def other(*of: Any, **how: Any) -> Dataset:
        dataset = before(*of, **how)
        sample = dataset.sample
        monkeypatch.setattr(dataset, "sample", lambda clip: sample(clip if clip != 41 else 40))
        return dataset

    monkeypatch.setattr(convert, "stored_dataset", other)
    with pytest.raises(StoreError, match="clip 41 rendered again has other frames; nothing was changed"):
        slim(Store.open(tmp_path / "clips"))
    assert tree(tmp_path / "clips") == tree(both[0].path)


def test_slim_refuses_a_damaged_store(both: tuple[Store, Store], tmp_path: Path) -> None:
    shutil.copytree(both[0].path, tmp_path / "clips")
    (tmp_path / "clips" / shard_file(both[0].layout.array("poses"), 0)).unlink()
    with pytest.raises(StoreError, match="1 damaged places, the first: array poses, shard 0"):
        slim(Store.open(tmp_path / "clips"))


def test_killed_before_and_after_the_exchange_it_resumes(
    both: tuple[Store, Store], virtual: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_of: Any) -> None:
        raise Killed

    before = convert.exchange
    monkeypatch.setattr(convert, "exchange", kill)
    with pytest.raises(Killed):
        materialise(Store.open(virtual.path))
    assert tree(virtual.path) == tree(both[1].path), "the virtual store is as it was"

    def exchange_and_kill(one: Path, other: Path) -> None:
        before(one, other)
        raise Killed

    monkeypatch.setattr(convert, "exchange", exchange_and_kill)
    with pytest.raises(Killed):
        materialise(Store.open(virtual.path))
    assert tree(virtual.path) == tree(both[0].path)
    assert virtual.path.with_name("clips.materialising").exists()
    materialise(Store.open(virtual.path))
    assert [path.name for path in virtual.path.parent.iterdir()] == ["clips"]


def test_a_full_and_a_virtual_store_are_not_taken_for_each_other(virtual: Store) -> None:
    with pytest.raises(StoreError, match=r"is a virtual store, and a stored one is asked for; .* materialise"):
        render(virtual.path)


def test_code_of_a_file_is_run_only_if_trusted_and_its_folder_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(GENERATOR)
    made_from = recipe(tmp_path, generator="mine.py:Mine", clips=3, store={})
    render(tmp_path / "full", made_from)
    render(tmp_path / "virtual", made_from, is_virtual=True)
    monkeypatch.chdir("/")
    with pytest.raises(UntrustedCodeError, match="--trust-code"):
        Store.open(tmp_path / "virtual").read_frames([0])
    trusted = Store.open(tmp_path / "virtual", trust_code=True)
    np.testing.assert_array_equal(trusted.read_frames([2]), Store.open(tmp_path / "full").read_frames([2]))


def test_shards_of_a_virtual_store_are_large_where_it_is(both: tuple[Store, Store]) -> None:
    dataset = Dataset.of(recipe())

    def clips_per_shard(clips: int) -> int:
        dataset.params = dataset.params.model_copy(update={"clips": clips})
        return virtual_document(dataset).clips_per_shard

    assert [clips_per_shard(n) for n in (1, 4096, 4097, 100_000, 10_000_000)] == [64, 64, 128, 2048, 16384]
    assert virtual_document(dataset).folder == ""
    assert dataclasses.replace(both[1].layout).place(both[1].layout.array("boxes"), 0).num_slots == 1
    assert CLIPS_PER_CHUNK == 64
