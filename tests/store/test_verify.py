"""Verifying, rendering again and repairing stores."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from tiny import TinyDataset, TinyParams, tree

from smile_synth.errors import DamagedStoreError, StoreError
from smile_synth.scene import Scene
from smile_synth.store import Store, render_store
from smile_synth.store.layout import shard_file
from smile_synth.store.verify import Damage, repair_store, rerender, verify_store


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dataset = TinyDataset()
    return render_store(dataset, tmp_path_factory.mktemp("sound") / "clips", recipe=dataset.recipe()).path


@pytest.fixture
def store(sound: Path, tmp_path: Path) -> Store:
    shutil.copytree(sound, tmp_path / "clips")
    return Store.open(tmp_path / "clips")


def damages_of(path: Path) -> list[Damage]:
    """Return what is found, a root document that does not open included."""
    try:
        return verify_store(Store.open(path), threads=1)
    except (DamagedStoreError, StoreError) as error:
        return [Damage("zarr.json", str(error))]


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def test_sound_store_has_no_findings(store: Store) -> None:
    assert verify_store(store, threads=2) == []


def test_200_flipped_bits_are_all_found(store: Store) -> None:
    files = sorted(path for path in store.path.rglob("*") if path.is_file())
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for number in range(200):
        # By turns: any file alike, and any byte alike, which means mostly frames.
        weights = [path.stat().st_size if number % 2 else 1 for path in files]
        path = chance.choices(files, weights)[0]
        bit = chance.randrange(8 * path.stat().st_size)
        flip(path, bit)
        found = damages_of(store.path)
        assert found, f"bit {bit} of {path.name} was not found (seed {seed})"
        name = str(path.relative_to(store.path))
        assert any(damage.file == name for damage in found)
        if path.name.startswith("c."):
            assert {(f.array, f.shard) for f in found} == {
                (path.parent.relative_to(store.path).as_posix(), _shard(path))
            }
        flip(path, bit)
    assert damages_of(store.path) == []


def _shard(path: Path) -> int:
    return int(path.name.split(".")[1])


def test_damaged_chunk_is_named_by_array_shard_and_clip(store: Store) -> None:
    flip(store.path / shard_file(store.layout.array("opacity"), 2), 8 * 3)
    (damage,) = verify_store(store, threads=1)
    assert str(damage) == "array opacity, shard 2, clip 8: the chunk fails its checksum (opacity/c.2.0.0)"


def test_swapped_shards_are_found(store: Store) -> None:
    spec = store.layout.array("frames")
    one, two = (store.path / shard_file(spec, shard) for shard in (0, 1))
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)
    assert [(f.array, f.shard, f.clip) for f in verify_store(store, threads=1)] == [
        ("frames", 0, None),
        ("frames", 1, None),
    ]


def test_attributes_added_by_others_are_reported_and_survive_a_repair(store: Store) -> None:
    zarr.open_group(store.path, mode="r+").attrs["note"] = "mine"
    found = verify_store(store, threads=1)
    assert [str(damage) for damage in found] == ["metadata: it was changed since the store was sealed (zarr.json)"]
    assert repair_store(store, TinyDataset(), found) == found
    assert zarr.open_group(store.path, mode="r").attrs["note"] == "mine"


def test_repair_brings_back_every_byte(sound: Path, store: Store) -> None:
    flip(store.path / shard_file(store.layout.array("frames"), 0), 100)
    flip(store.path / shard_file(store.layout.array("frames"), 2), 100)
    (store.path / shard_file(store.layout.array("boxes"), 0)).unlink()
    shutil.rmtree(store.path / "labels")
    flip(store.path / "poses" / "zarr.json", 100)
    (store.path / "zarr.json").write_bytes((store.path / "zarr.json").read_bytes() + b" ")
    found = verify_store(store, threads=1)
    assert repair_store(store, TinyDataset(), found) == []
    assert tree(store.path) == tree(sound)


def test_repair_keeps_its_hands_off_when_clips_come_out_otherwise(store: Store) -> None:
    file = store.path / shard_file(store.layout.array("frames"), 0)
    flip(file, 100)
    damaged = file.read_bytes()
    found = verify_store(store, threads=1)
    assert repair_store(store, TinyDataset(seed=8), found) == found
    assert file.read_bytes() == damaged


def test_rerender_finds_nothing_in_its_own_clips(store: Store) -> None:
    assert rerender(store, TinyDataset(), 10) == []


def test_rerender_names_what_came_out_otherwise(store: Store) -> None:
    class Other(TinyDataset):
        def sample(self, clip: int) -> Scene:
            scene = super().sample(clip)
            if clip == 5:
                scene.background[0, 0, 0] ^= 1
            return scene

    found = rerender(store, Other(), 10)
    assert [(f.array, f.shard, f.clip) for f in found] == [("frames", 1, 5)]


def test_ids_outside_their_tables_are_inconsistent(tmp_path: Path) -> None:
    class Careless(TinyDataset):
        def sample(self, clip: int) -> Scene:
            scene = super().sample(clip)
            object.__setattr__(scene, "background_id", 99 if clip == 6 else 0)
            return scene

    dataset = Careless()
    store = render_store(dataset, tmp_path / "clips", recipe=dataset.recipe())
    assert [str(damage) for damage in verify_store(store, threads=1)] == ["array background, clip 6: no such asset"]


def test_boxes_of_every_clip_fit_the_canvas(tmp_path: Path) -> None:
    dataset = TinyDataset(clips=64, params=TinyParams())
    store = render_store(dataset, tmp_path / "clips", recipe=dataset.recipe())
    assert verify_store(store, threads=1) == []
    assert np.nanmax(store.column("boxes")) <= 8
