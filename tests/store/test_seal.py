"""Seals: a shard is known to belong to its store, array and place before a clip of it is handed on."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny import TinyDataset, tree

from smile_synth.errors import DamagedStoreError, StoreError
from smile_synth.loader.loader import Loader
from smile_synth.store import Store, render_store
from smile_synth.store.layout import shard_file
from smile_synth.store.root import COPY
from smile_synth.store.verify import repair_store, restore_root, verify_store


def rendered(folder: Path, seed: int) -> Path:
    dataset = TinyDataset(clips=12, seed=seed)
    return render_store(dataset, folder / f"seed-{seed}", recipe=dataset.recipe()).path


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rendered(tmp_path_factory.mktemp("ours"), 7)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rendered(tmp_path_factory.mktemp("foreign"), 8)


@pytest.fixture
def path(ours: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ours, tmp_path / "clips"))


def shards_of(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("c.*") if file.is_file())


def test_every_swap_of_two_shards_of_an_array_is_found(path: Path) -> None:
    swaps = [(a, b) for a, b in itertools.combinations(shards_of(path), 2) if a.parent == b.parent]
    assert len(swaps) >= 30
    for a, b in swaps:
        one, other = a.read_bytes(), b.read_bytes()
        a.write_bytes(other)
        b.write_bytes(one)
        found = {damage.file for damage in verify_store(Store.open(path), threads=1)}
        assert found == {file.relative_to(path).as_posix() for file in (a, b)}
        a.write_bytes(one)
        b.write_bytes(other)


def test_every_foreign_shard_is_found(path: Path, foreign: Path) -> None:
    for file in shards_of(path):
        before, name = file.read_bytes(), file.relative_to(path)
        file.write_bytes((foreign / name).read_bytes())
        (damage,) = verify_store(Store.open(path), threads=1)
        assert (damage.file, damage.reason) == (name.as_posix(), "the shard belongs to another store")
        file.write_bytes(before)


@pytest.mark.parametrize("array", ["frames", "boxes"])
@pytest.mark.parametrize("kind", ["swapped", "foreign"])
def test_the_loader_hands_out_no_clip_of_a_misplaced_shard(path: Path, foreign: Path, array: str, kind: str) -> None:
    spec = Store.open(path).layout.array(array)
    one, other = (path / shard_file(spec, shard) for shard in (0, 1))
    source = other if kind == "swapped" else foreign / shard_file(spec, 0)
    one.write_bytes(source.read_bytes())
    with Loader([Store.open(path)], batch_size=12, seed=0) as loader, pytest.raises(DamagedStoreError, match="belongs"):
        next(iter(loader))


def test_chunks_swapped_inside_a_shard_are_not_handed_out(path: Path) -> None:
    store = Store.open(path)
    spec = store.layout.array("camera")
    file, size = path / shard_file(spec, 0), spec.item_nbytes + 4
    data = file.read_bytes()
    poses = Store.open(path).layout.array("poses")
    pose_file, pose_size = path / shard_file(poses, 0), poses.item_nbytes + 4
    chunks = [pose_file.read_bytes()[slot * pose_size :][:pose_size] for slot in range(4)]
    a, b = next((a, b) for a, b in itertools.combinations(range(4), 2) if chunks[a] != chunks[b])
    chunks[a], chunks[b] = chunks[b], chunks[a]
    pose_file.write_bytes(b"".join(chunks) + pose_file.read_bytes()[4 * pose_size :])
    with pytest.raises(DamagedStoreError, match="the chunk fails its checksum"):
        store.reader("poses").read_into(a, np.empty(poses.item_shape, np.float32))
    with pytest.raises(DamagedStoreError):
        store.column("poses")
    assert len(data) > size


def test_digest_changes_with_a_bit_of_any_shard(ours: Path, foreign: Path) -> None:
    seals = [Store.open(path).manifest.shard_seals for path in (ours, foreign)]
    assert all(a != b for name in ("frames", "poses") for a, b in zip(*(s[name] for s in seals), strict=True))
    assert len({seal for values in seals[0].values() for seal in values}) == len(shards_of(ours))


def test_a_foreign_root_is_refused_and_repaired_to_our_own(path: Path, ours: Path, foreign: Path) -> None:
    shutil.copyfile(foreign / "zarr.json", path / "zarr.json")
    found = verify_store(Store.open(path), threads=1)
    assert len({damage.file for damage in found if damage.shard is not None}) == len(shards_of(path))
    assert restore_root(path)
    assert tree(path) == tree(ours)


def test_a_foreign_root_with_its_copy_is_not_repaired_into_a_mixture(path: Path, foreign: Path) -> None:
    for name in ("zarr.json", COPY):
        shutil.copyfile(foreign / name, path / name)
    before = tree(path)
    with pytest.raises(DamagedStoreError, match="not those of the shards"):
        restore_root(path)
    assert tree(path) == before


@pytest.mark.parametrize("damage", ["absent", "empty", "cut", "bit"])
def test_a_lost_root_is_written_again_from_its_copy(path: Path, ours: Path, damage: str) -> None:
    root = path / "zarr.json"
    data = root.read_bytes()
    if damage == "absent":
        root.unlink()
    else:
        root.write_bytes({"empty": b"", "cut": data[:99], "bit": bytes([data[0] ^ 1]) + data[1:]}[damage])
    with pytest.raises(StoreError, match="repair it with: smile-synth verify"):
        Store.open(path)
    assert restore_root(path)
    assert tree(path) == tree(ours)
    assert not restore_root(path)


def test_a_lost_copy_is_found_and_repaired(path: Path, ours: Path) -> None:
    (path / COPY).unlink()
    store = Store.open(path)
    found = verify_store(store, threads=1)
    assert [damage.file for damage in found] == [COPY]
    assert repair_store(store, TinyDataset(clips=12), found) == []
    assert tree(path) == tree(ours)


def test_extra_files_are_reported(path: Path) -> None:
    (path / "frames" / "c.9.0.0.0.0").write_bytes(b"x")
    (path / "labels" / "speed" / "notes.txt").write_text("x")
    found = verify_store(Store.open(path), threads=1)
    assert {damage.file for damage in found} == {"frames/c.9.0.0.0.0", "labels/speed/notes.txt"}


def test_a_sealed_store_without_its_frames_is_not_complete(path: Path) -> None:
    shutil.rmtree(path / "frames")
    dataset = TinyDataset(clips=12)
    with pytest.raises(DamagedStoreError, match="sealed, but lacks frames; repair it with"):
        render_store(dataset, path, recipe=dataset.recipe())


def test_a_store_of_format_1_says_how_to_render_it_again(path: Path) -> None:
    root = json.loads((path / "zarr.json").read_text())
    root["attributes"]["smile_synth"]["format_version"] = 1
    (path / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(StoreError, match=r"has format 1, .* Render it again: smile-synth render tiny --out NEW"):
        Store.open(path)


def test_the_same_seed_gives_the_same_bytes_whatever_the_version_of_python(
    ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smile_synth.store.manifest.platform.python_version", lambda: "3.99.1")
    other = rendered(tmp_path, 7)
    assert {n: d for n, d in tree(ours).items() if ".json" not in n} == {
        n: d for n, d in tree(other).items() if ".json" not in n
    }
