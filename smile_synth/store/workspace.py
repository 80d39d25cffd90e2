"""The folder inside a store that is being rendered: its manifest, its lock, its drafts and its receipts."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from smile_synth.errors import DamagedStoreError, StoreError
from smile_synth.files import sync_all
from smile_synth.store import document
from smile_synth.store.manifest import Manifest

WORKSPACE = ".render"
ROOT = "zarr.json"
# Size in bytes ("nbytes") and seal ("seal") of a shard's file, by array.
Receipt = dict[str, dict[str, Any]]


class Workspace:
    """What an unfinished store keeps beside its shards; gone once the store is sealed.

    A shard is complete when its receipt is there: all its files were in place before.

    Args:
        store: folder of the store.
        part: name of the part of the shards that is being rendered, such as ``3-of-16``; empty means all.
    """

    BUSY = "{folder} is being rendered by {holder}; wait until it ends, or give --out another folder"

    def __init__(self, store: Path, part: str = "") -> None:
        self.store, self.part = store, part
        self.folder = store / WORKSPACE
        self.receipts = self.folder / "shards"

    @property
    def is_sealed(self) -> bool:
        """Whether the store has its root document, which is written last."""
        return (self.store / ROOT).is_file()

    @property
    def is_finished(self) -> bool:
        """Whether the store is finished and nothing of its making is left; reading suffices then."""
        return self.is_sealed and not self.folder.exists()

    def create(self) -> None:
        """Make the folders.

        Raises:
            StoreError: the path is a file, or a folder that holds something else.
        """
        if self.store.exists() and not self.store.is_dir():
            raise StoreError(f"{self.store} is a file; give --out a new folder")
        if self.store.is_dir() and not self.folder.is_dir() and any(self.store.iterdir()) and not self.is_sealed:
            raise StoreError(f"{self.store} holds files that are no store of ours; give --out a new or empty folder")
        document.make_folder(self.receipts)

    def manifest(self) -> Manifest | None:
        """Return the manifest of what is being rendered, None before there is one.

        Raises:
            StoreError: it is damaged, or of another version.
        """
        path = self.folder / "job.json"
        # A file of no bytes is what a power cut leaves of one that was being made.
        if not path.is_file() or not path.stat().st_size:
            return None
        return Manifest.parse(document.read(path), origin=str(path))

    def write_manifest(self, manifest: Manifest) -> None:
        """Keep the manifest of what is being rendered."""
        document.replace(self.folder / "job.json", document.encode(manifest.document()), drafts=self.folder)

    def completed(self) -> dict[int, Receipt]:
        """Return the receipts of the completed shards, by shard; a damaged receipt counts as absent."""
        return {
            int(path.stem): receipt
            for path in sorted(self.receipts.glob("[0-9]*.json"))
            if path.stem.isdecimal() and (receipt := _read_receipt(path)) is not None
        }

    def publish(self, shard: int, drafts: Mapping[str, Path], receipt: Receipt) -> None:
        """Put a shard's files in their places, have that on the disk, then write its receipt.

        Args:
            shard: which.
            drafts: finished files by their path inside the store.
            receipt: what to remember of them.
        """
        targets = {self.store / name: draft for name, draft in drafts.items()}
        folders = {target.parent for target in targets}
        for folder in sorted(folders):
            document.make_folder(folder)
        sync_all(drafts.values())
        for target, draft in targets.items():
            draft.replace(target)
        sync_all(folders)
        document.replace(self.receipts / f"{shard:08d}.json", document.encode(receipt), drafts=self.folder)

    @contextlib.contextmanager
    def drafts(self, shard: int) -> Iterator[Path]:
        """Yield a new folder for the drafts of one shard; it is gone afterwards."""
        folder = self._drafts / f"{shard:08d}-{socket.gethostname()}-{os.getpid()}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def _drafts(self) -> Path:
        return self.folder / "drafts" / self.part

    def clear_drafts(self) -> None:
        """Remove what killed workers left of this part's shards; only for the one who holds the part."""
        shutil.rmtree(self._drafts, ignore_errors=True)

    def remove(self) -> None:
        """Remove the folder: the store is sealed, or nothing was begun."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the part while a block runs; others may hold other parts, and a dead process holds nothing.

        Raises:
            StoreError: another process holds it, or all of them.
        """
        with contextlib.ExitStack() as held:
            held.enter_context(self._lock("lock", shared=bool(self.part)))
            if self.part:
                held.enter_context(self._lock(f"lock-{self.part}", shared=False))
            yield

    @contextlib.contextmanager
    def _lock(self, name: str, *, shared: bool) -> Iterator[None]:
        path = self.folder / name
        with path.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise StoreError(self.BUSY.format(folder=self.store, holder=holder)) from None
            if not shared:
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}")
                file.flush()
            yield


def _read_receipt(path: Path) -> Receipt | None:
    try:
        receipt = document.read(path)
    except (DamagedStoreError, OSError):
        return None
    entries = receipt.values() if isinstance(receipt, dict) else [None]
    return receipt if all(_is_entry(entry) for entry in entries) else None


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("seal"), str) and type(entry.get("nbytes")) is int
