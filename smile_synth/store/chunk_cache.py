"""A cache on the local disk for what was read from an object store: of a limited size, the longest unused goes first.

An entry is named by the seal of its shard, which stands for content and place, so it can never be another store's. It
is checked against the shard's table of checksums like anything that is read, so what a crash left of a file is found,
dropped, and fetched again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smile_synth.errors import StoreError

UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
# What file systems give a file at least.
BLOCK_NBYTES = 4096
# Entries are removed until so much of the limit is left, so that looking through the folder is rare.
KEPT_SHARE = 0.9
# The time of the last use is noted no more often, because every note is a write.
NOTED_EVERY_S = 60
TAG, DRAFTS, LOCK = "CACHEDIR.TAG", "drafts", "lock"
# The signature that backup programs look for.
TAG_TEXT = "Signature: 8a477f597d28d172789f06886806bc55\n# Clips that smile-synth read from an object store.\n"


@dataclass(frozen=True)
class _Entry:
    used_at: float
    nbytes: int
    path: Path


class ChunkCache:
    """Chunks on the local disk, for any number of threads and processes.

    Args:
        folder: new, empty, or a cache already.
        limit_nbytes: what all entries may take together.

    Raises:
        StoreError: the folder holds something else, or cannot be written.
    """

    def __init__(self, folder: Path, limit_nbytes: int) -> None:
        self.folder, self.limit_nbytes = folder, limit_nbytes
        self._thread_lock = threading.Lock()
        with self._reported():
            self._create()

    def __reduce__(self) -> tuple[Any, ...]:
        return ChunkCache, (self.folder, self.limit_nbytes)

    @classmethod
    def parse(cls, text: str) -> ChunkCache:
        """Open the cache that is written like ``/scratch/clips:200GB``.

        Raises:
            StoreError: it is written in another way, or cannot be opened.
        """
        written = re.fullmatch(r"(?P<folder>.+):(?P<size>\d+(\.\d+)?)\s?(?P<unit>[MGT]B)", text)
        size = 0 if written is None else round(float(written["size"]) * UNITS[written["unit"]])
        if written is None or not size:
            raise StoreError(f"a cache is written DIR:SIZE in MB, GB or TB, such as /scratch/clips:200GB, got {text!r}")
        return cls(Path(written["folder"]), size)

    def get(self, name: str, offset: int = 0, nbytes: int | None = None) -> bytes | None:
        """Return an entry or a part of it, or None where there is none.

        Args:
            name: of the entry.
            offset: of the part.
            nbytes: of the part; None for all of it.
        """
        try:
            with self._path(name).open("rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                if time.time() - status.st_mtime > NOTED_EVERY_S:
                    os.utime(file.fileno())
                return os.pread(file.fileno(), status.st_size if nbytes is None else nbytes, offset)
        except FileNotFoundError:
            return None

    def put(self, name: str, data: bytes | memoryview) -> None:
        """Keep an entry, and remove the longest unused where the limit asks for it.

        Raises:
            StoreError: the disk is full, or the folder cannot be written.
        """
        path, nbytes = self._path(name), _allocated(len(data))
        if nbytes > self.limit_nbytes:
            return
        with self._reported(), self._locked() as lock:
            if path.exists():
                return
            total = _total(lock)
            if total + nbytes > self.limit_nbytes:
                total = self._shrink(int(KEPT_SHARE * self.limit_nbytes) - nbytes)
            draft = self.folder / DRAFTS / name
            try:
                draft.write_bytes(data)
                path.parent.mkdir(exist_ok=True)
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
            _set_total(lock, total + nbytes)

    def drop(self, name: str) -> None:
        """Remove an entry that is damaged."""
        with self._reported(), self._locked() as lock, contextlib.suppress(FileNotFoundError):
            nbytes = _allocated(self._path(name).stat().st_size)
            self._path(name).unlink()
            _set_total(lock, max(0, _total(lock) - nbytes))

    def _create(self) -> None:
        tag = self.folder / TAG
        if not tag.is_file():
            if self.folder.exists() and not {path.name for path in self.folder.iterdir()} <= {TAG, DRAFTS, LOCK}:
                raise StoreError(f"{self.folder} is no cache and not empty; give --cache a new folder")
            self.folder.mkdir(parents=True, exist_ok=True)
            tag.write_text(TAG_TEXT)
        (self.folder / DRAFTS).mkdir(exist_ok=True)
        with self._locked() as lock:
            # What killed processes did not count is counted now.
            _set_total(lock, self._shrink(self.limit_nbytes))

    def _shrink(self, wanted_nbytes: int) -> int:
        """Remove the longest unused entries until the others take at most so much; return what they take."""
        entries = sorted(self._entries(), key=lambda entry: entry.used_at)
        total = sum(entry.nbytes for entry in entries)
        for entry in entries:
            if total <= wanted_nbytes:
                break
            entry.path.unlink(missing_ok=True)
            total -= entry.nbytes
        # Whoever writes a draft holds the lock, which we hold: these are of killed processes.
        for draft in (self.folder / DRAFTS).iterdir():
            draft.unlink(missing_ok=True)
        return total

    def _entries(self) -> Iterator[_Entry]:
        with os.scandir(self.folder) as folders:
            names = [folder.path for folder in folders if folder.is_dir() and folder.name != DRAFTS]
        for name in names:
            with os.scandir(name) as files:
                for file in files:
                    status = file.stat()
                    yield _Entry(status.st_mtime, _allocated(status.st_size), Path(file.path))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the cache while a block runs; yield the open file that has the size of all entries."""
        with self._thread_lock:
            handle = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield handle
            finally:
                os.close(handle)

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"the cache {self.folder} cannot be written ({error.strerror}); free some space, give it a smaller "
                f"limit, or leave --cache out"
            ) from error

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / name


def _allocated(nbytes: int) -> int:
    return -(-nbytes // BLOCK_NBYTES) * BLOCK_NBYTES


def _total(lock: int) -> int:
    return int.from_bytes(os.pread(lock, 8, 0), "little")


def _set_total(lock: int, total: int) -> None:
    os.pwrite(lock, total.to_bytes(8, "little"), 0)
