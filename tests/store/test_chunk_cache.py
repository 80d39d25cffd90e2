"""The local cache: never another content, never above its limit, whoever is killed."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from tiny import TinyDataset

from smile_synth.errors import StoreError
from smile_synth.store import Store, render_store
from smile_synth.store.chunk_cache import ChunkCache
from smile_synth.store.storage.objects import ObjectFile

BLOCK = 4096


def taken(folder: Path) -> int:
    sizes = []
    for path in folder.glob("*/*"):
        # Others remove files meanwhile.
        with contextlib.suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return sum(-(-size // BLOCK) * BLOCK for size in sizes)


def test_entries_come_back_whole_and_in_part(tmp_path: Path) -> None:
    cache = ChunkCache.parse(f"{tmp_path / 'new' / 'cache'}:1MB")
    cache.put("aa-1", bytes(range(100)))
    assert cache.get("aa-1") == bytes(range(100))
    assert cache.get("aa-1", 10, 3) == bytes([10, 11, 12])
    assert cache.get("aa-2") is None
    cache.drop("aa-1")
    assert cache.get("aa-1") is None
    assert ChunkCache(tmp_path / "new" / "cache", 10**6).get("aa-1") is None


def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    cache = ChunkCache(tmp_path / "cache", 10 * BLOCK)
    for number in range(10):
        cache.put(f"{number}", bytes(BLOCK))
        os.utime(tmp_path / "cache" / f"{number}" / f"{number}", (number, number))
    assert cache.get("3") is not None
    cache.put("10", bytes(BLOCK))
    assert [number for number in range(11) if cache.get(f"{number}") is None] == [0, 1]
    assert taken(tmp_path / "cache") <= 10 * BLOCK
    cache.put("large", bytes(11 * BLOCK))
    assert cache.get("large") is None


def fill(folder: Path, process: int) -> None:
    cache = ChunkCache(folder, 50 * BLOCK)
    for number in range(10**6):
        name = f"{number % 70:02}-{process}"
        data = cache.get(name)
        assert data in (None, name.encode() * 1000)
        if data is None:
            cache.put(name, name.encode() * 1000)


def test_several_processes_and_kills_keep_the_limit(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    ChunkCache(folder, 50 * BLOCK)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=fill, args=(folder, number)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        time.sleep(0.3)
        assert taken(folder) <= 50 * BLOCK + BLOCK
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    cache = ChunkCache(folder, 50 * BLOCK)
    assert 0 < taken(folder) <= 50 * BLOCK
    cache.put("after", b"a kill")
    assert cache.get("after") == b"a kill"


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(StoreError, match="is no cache and not empty; give --cache a new folder"):
        ChunkCache(tmp_path, 10**9)
    with pytest.raises(StoreError, match="a cache is written DIR:SIZE in MB, GB or TB"):
        ChunkCache.parse(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_store_is_fetched_once_and_damage_in_the_cache_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = TinyDataset()
    url = f"memory://{tmp_path.name}"
    local = render_store(dataset, tmp_path / "clips", recipe=dataset.recipe())
    render_store(dataset, url, recipe=dataset.recipe())
    fetched: list[str] = []
    ranges = ObjectFile._range
    monkeypatch.setattr(ObjectFile, "_range", lambda file, *part: (fetched.append(file._name), ranges(file, *part))[1])

    def read() -> int:
        fetched.clear()
        store = Store.open(url, cache=ChunkCache(tmp_path / "cache", 10**7))
        np.testing.assert_array_equal(store.read_frames(range(10)), local.read_frames(range(10)))
        return len(fetched)

    assert read() == 3
    assert read() == 0
    entries = sorted(path for path in (tmp_path / "cache").rglob("*-*") if path.is_file())
    assert len(entries) == 10
    damaged = bytearray(entries[0].read_bytes())
    damaged[0] ^= 1
    entries[0].write_bytes(damaged)
    entries[1].write_bytes(entries[1].read_bytes()[:5])
    # Neighbours share a request.
    assert read() == 1
    assert read() == 0
