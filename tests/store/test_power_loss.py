"""A power cut at any moment: what was not synced is gone, and nothing that was called complete is lost."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from tiny import TinyDataset, tree

from smile_synth.store import render_store
from smile_synth.store.verify import restore_root, verify_store

Loss = Literal["names and data", "data"]


class Disk:
    """Remembers what is on the disk for sure: a file's bytes at its last fsync, a folder's names at its last fsync.

    Args:
        root: folder that is watched.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data: dict[int, bytes] = {}
        self.names: dict[Path, dict[str, int]] = {}
        self.images: list[Callable[[Path, Loss], None]] = []

    def sync(self, handle: int) -> None:
        status = os.fstat(handle)
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if stat.S_ISDIR(status.st_mode):
            self.names[path] = {child.name: child.stat().st_ino for child in path.iterdir()}
        else:
            self.data[status.st_ino] = path.read_bytes()
        self._remember()

    def _remember(self) -> None:
        data, names = dict(self.data), {folder: dict(children) for folder, children in self.names.items()}
        now = {path: path.stat().st_ino for path in self.root.rglob("*")}
        folders = {path for path in now if path.is_dir()}

        def write(to: Path, loss: Loss) -> None:
            """Write what a power cut now would leave: unsynced bytes gone, and unsynced names too or not."""
            for path, inode in sorted(now.items()):
                parts = [path, *path.parents]
                kept = parts[: parts.index(self.root)]
                if loss == "names and data" and any(names.get(p.parent, {}).get(p.name) != now[p] for p in kept):
                    continue
                target = to / path.relative_to(self.root)
                if path in folders:
                    target.mkdir(parents=True, exist_ok=True)
                else:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(data.get(inode, b""))

        self.images.append(write)


@pytest.mark.parametrize("loss", ["names and data", "data"])
def test_a_power_cut_after_any_sync_resumes_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: Loss
) -> None:
    dataset = TinyDataset(clips=6, shard=3)
    whole = tree(render_store(dataset, tmp_path / "whole", recipe=dataset.recipe()).path)
    watched = tmp_path / "watched"
    watched.mkdir()
    disk, fsync = Disk(watched), os.fsync
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda handle: (fsync(handle), disk.sync(handle)))
        render_store(dataset, watched / "clips", recipe=dataset.recipe())
    assert len(disk.images) > 50
    for number, image in enumerate(disk.images):
        if number % 3 and number < len(disk.images) - 6:
            continue
        after = tmp_path / f"cut-{number}"
        image(after, loss)
        path = after / "clips"
        if (path / "zarr.json").is_file():
            restore_root(path)
        store = render_store(dataset, path, recipe=dataset.recipe())
        assert verify_store(store, threads=1) == [], f"after sync {number}"
        assert tree(path) == whole, f"after sync {number}"
        shutil.rmtree(after)


def test_an_empty_receipt_and_an_empty_job_count_as_absent(tmp_path: Path) -> None:
    dataset = TinyDataset(clips=6, shard=3)
    whole = render_store(dataset, tmp_path / "whole", recipe=dataset.recipe()).path
    path = tmp_path / "clips"
    (path / ".render" / "shards").mkdir(parents=True)
    (path / ".render" / "job.json").write_bytes(b"")
    (path / ".render" / "shards" / "00000000.json").write_bytes(b"")
    (path / ".render" / "shards" / "00000001.json").write_text('{"frames": {"nbytes": true}}')
    assert tree(render_store(dataset, path, recipe=dataset.recipe()).path) == tree(whole)


def test_a_workspace_left_behind_after_sealing_is_cleaned_up(tmp_path: Path) -> None:
    dataset = TinyDataset()
    path = render_store(dataset, tmp_path / "clips", recipe=dataset.recipe()).path
    (path / ".render" / "shards").mkdir(parents=True)
    render_store(dataset, path, recipe=dataset.recipe())
    assert not (path / ".render").exists()
