"""What lies inside a store that is being rendered: its manifest, its lock, its drafts and its receipts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Any

from smile_synth.errors import DamagedStoreError, StoreError, repair
from smile_synth.store import document
from smile_synth.store.manifest import Manifest
from smile_synth.store.storage import Location, storage_of
from smile_synth.store.storage.contract import WORKSPACE

ROOT = "zarr.json"
JOB = f"{WORKSPACE}/job.json"
RECEIPTS = f"{WORKSPACE}/shards"
# Size in bytes ("nbytes"), seal ("seal") and store ("store") of a shard's file, by array.
Receipt = dict[str, dict[str, Any]]


class Workspace:
    """What an unfinished store keeps beside its shards; gone once the store is sealed.

    A shard is complete when its receipt is there: all its files were in place before.

    Args:
        store: where the store is.
        part: name of the part of the shards that is being rendered, such as ``3-of-16``; empty means all.
    """

    BUSY = "{folder} is being rendered by {holder}; wait until it ends, or give --out another folder"

    def __init__(self, store: Location, part: str = "") -> None:
        self.store, self.part = store, part
        self.storage = storage_of(store)

    @property
    def is_sealed(self) -> bool:
        """Whether the store has its root document, which is written last."""
        return self.storage.is_file(ROOT)

    @property
    def is_finished(self) -> bool:
        """Whether the store is finished and nothing of its making is left; reading suffices then."""
        return self.is_sealed and not self.storage.exists(WORKSPACE)

    def create(self) -> None:
        """Make the folders.

        Raises:
            StoreError: the path is a file, or a folder that holds something else.
        """
        storage = self.storage
        # In this order: a job that starts meanwhile makes the workspace first, and seals the store before that goes.
        if not storage.is_empty() and not storage.exists(WORKSPACE) and not self.is_sealed:
            raise StoreError(f"{self.store} holds files that are no store of ours; give --out a new or empty folder")
        storage.prepare()

    def manifest(self) -> Manifest | None:
        """Return the manifest of what is being rendered, None before there is one.

        Raises:
            StoreError: it is damaged, or of another version.
        """
        try:
            data = self.storage.read(JOB)
        except FileNotFoundError:
            return None
        # A file of no bytes is what a power cut leaves of one that was being made.
        if not data:
            return None
        path = self.store / JOB
        return Manifest.parse(document.decode(data, path), origin=str(path))

    def claim(self, manifest: Manifest) -> Manifest:
        """Keep the manifest of what is being rendered unless there is one, and return the one that is kept.

        Of jobs that start together, one keeps its own, and the others find it.
        """
        if (existing := self.manifest()) is not None:
            return existing
        data = document.encode(manifest.document())
        if not self.storage.create(JOB, data) and self.manifest() is None:
            # What a power cut left is there, but empty.
            self.storage.replace(JOB, data)
        return self.manifest() or manifest

    def completed(self) -> dict[int, Receipt]:
        """Return the receipts of the completed shards, by shard; a damaged receipt counts as absent.

        Raises:
            StoreError: a receipt cannot be read.
        """
        names = {int(stem): name for name in self.storage.list(RECEIPTS) if (stem := _stem(name)).isdecimal()}
        receipts = self.storage.map(self._read_receipt, names.values())
        return {shard: receipt for shard, receipt in zip(names, receipts, strict=True) if receipt is not None}

    def _read_receipt(self, name: str) -> Receipt | None:
        try:
            receipt = document.decode(self.storage.read(name), self.store / name)
        except (DamagedStoreError, FileNotFoundError):
            return None
        except OSError as error:
            # Not taken for absent: what is there would be rendered again.
            raise StoreError(
                f"{self.store / name}, the receipt of a completed shard, cannot be read ({error.strerror}); "
                f"{repair(error)} and run the same command again to resume"
            ) from error
        entries = receipt.values() if isinstance(receipt, dict) else [None]
        return receipt if all(_is_entry(entry) for entry in entries) else None

    def publish(self, shard: int, drafts: Mapping[str, Path], receipt: Receipt) -> None:
        """Put a shard's files in their places, have that on the disk, then write its receipt.

        Args:
            shard: which.
            drafts: finished files by their path inside the store.
            receipt: what to remember of them.
        """
        self.storage.publish(drafts)
        self.storage.replace(f"{RECEIPTS}/{shard:08d}.json", document.encode(receipt))

    def drafts(self, shard: int) -> AbstractContextManager[Path]:
        """Return a new folder of this machine for the drafts of one shard; it is gone after the block."""
        return self.storage.drafts(self.part, f"{shard:08d}")

    def clear_drafts(self) -> None:
        """Remove what killed workers left of this part's shards; only for the one who holds the part."""
        self.storage.clear_drafts(self.part)

    def remove(self) -> None:
        """Remove the folder: the store is sealed, or nothing was begun."""
        self.storage.remove(WORKSPACE)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the part while a block runs; others may hold other parts, and a dead process holds nothing.

        Raises:
            StoreError: another process holds it, or all of them.
        """
        with contextlib.ExitStack() as held:
            lock = self.storage.locked
            held.enter_context(lock("lock", shared=bool(self.part), busy=self.BUSY))
            if self.part:
                held.enter_context(lock(f"lock-{self.part}", shared=False, busy=self.BUSY))
            yield


def _stem(name: str) -> str:
    """Return the name of a JSON document without folder and suffix; empty for another file."""
    path = PurePosixPath(name)
    return path.stem if path.suffix == ".json" else ""


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("seal"), str) and type(entry.get("nbytes")) is int
