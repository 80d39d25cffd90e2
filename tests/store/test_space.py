"""A store is begun only where the disk has room for it."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny import TinyDataset

from smile_synth.errors import StoreError
from smile_synth.store import render_store
from smile_synth.store.space import check_space, expected_nbytes
from smile_synth.store.summary import store_nbytes


def with_room(nbytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=nbytes))


def test_the_size_is_known_before(tmp_path: Path) -> None:
    dataset = TinyDataset(clips=32, shard=16, size=32, frames=8)
    render_store(dataset, tmp_path / "s.zarr", recipe={})
    assert expected_nbytes(dataset) == pytest.approx(store_nbytes(tmp_path / "s.zarr"), rel=0.25)


def test_no_room_is_said_before_anything_is_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = TinyDataset(clips=1_000_000)
    with_room(10**7, monkeypatch)
    with pytest.raises(StoreError, match=r"has room for 10 MB, 1000000 clips take about .* lower dataset.clips"):
        check_space(dataset, tmp_path / "s.zarr")
    with_room(10**12, monkeypatch)
    check_space(dataset, tmp_path / "s.zarr")


def test_a_finished_store_needs_no_further_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = TinyDataset(clips=64, size=32)
    render_store(dataset, tmp_path / "s.zarr", recipe={})
    with_room(0, monkeypatch)
    check_space(dataset, tmp_path / "s.zarr")
    with pytest.raises(StoreError, match="has room for 0 B"):
        check_space(dataset, tmp_path / "other.zarr")


def test_what_is_rendered_already_counts_as_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = TinyDataset(clips=64, size=32)
    (tmp_path / "s.zarr").mkdir()
    (tmp_path / "s.zarr" / "rendered").write_bytes(bytes(2 * expected_nbytes(dataset)))
    with_room(0, monkeypatch)
    check_space(dataset, tmp_path / "s.zarr")
