"""What a store needs of the place where its files lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from smile_synth.store.storage.location import Location

Item = TypeVar("Item")
Result = TypeVar("Result")
Buffer = bytes | memoryview
# The folder of what is unfinished, inside the store.
WORKSPACE = ".render"
# Requests to an object store that are under way together.
IN_FLIGHT = 32


class StoredFile(Protocol):
    """One file, opened for reading from any thread; closed when nobody holds it any more."""

    def tail(self, nbytes: int) -> tuple[bytes, int]:
        """Return the last bytes, all where there are fewer, and the size of the file."""

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Read from ``offset`` until the buffer is full or the file ends; return how many bytes were read."""

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[Buffer]:
        """Return several ranges, given by offset and size, in few requests; a range that ends too early is short."""


class Storage(Protocol):
    """The files of one store, by their path inside it (``frames/zarr.json``).

    All methods raise OSError, with a ``strerror`` for people, where the place cannot be reached, read or written;
    FileNotFoundError where a file is missing.
    """

    @property
    def location(self) -> Location:
        """Where the store is."""

    @property
    def is_remote(self) -> bool:
        """Whether every read is a request that takes its time, so that many should be under way."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterable[Result]:
        """Yield ``function`` of every item, in their order; many at a time where that helps."""

    def read(self, name: str) -> bytes:
        """Return a whole file."""

    def open(self, name: str) -> StoredFile:
        """Open a file for reading parts of it."""

    def open_whole(self, name: str) -> StoredFile:
        """Open a file for reading all of it once."""

    def is_empty(self) -> bool:
        """Whether there is no file at all."""

    def exists(self, name: str) -> bool:
        """Whether there is such a file, or such a folder with files in it."""

    def is_file(self, name: str) -> bool:
        """Whether there is such a file."""

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Return the sizes of those of the files that exist."""

    def modified_at(self, name: str) -> datetime:
        """Return when a file was last written."""

    def list(self, folder: str = "") -> dict[str, int]:
        """Return all files below a folder with their sizes."""

    def replace(self, name: str, data: bytes) -> None:
        """Give a file new content at once: a reader sees the old content or the new, never a part."""

    def create(self, name: str, data: bytes) -> bool:
        """Make a file at once, unless there is one; return False then, or where our own of a lost answer is there."""

    def publish(self, drafts: Mapping[str, Path]) -> None:
        """Put finished new files in their places, each as a whole, and have them there for good.

        Args:
            drafts: files of ``drafts()``, by the path that they get.

        Raises:
            StoreError: another writer put other bytes there.
        """

    def put(self, name: str, draft: Path) -> None:
        """Put a finished file in its place, whatever was there."""

    def prepare(self) -> None:
        """Make what the workspace needs.

        Raises:
            StoreError: there is something in the way.
        """

    def remove(self, folder: str) -> None:
        """Remove a folder with all that is in it, as far as that is possible."""

    def drafts(self, part: str, shard: str) -> AbstractContextManager[Path]:
        """Yield a new folder of this machine for the drafts of one shard; it is gone afterwards."""

    def clear_drafts(self, part: str) -> None:
        """Remove drafts that killed processes left."""

    def locked(self, name: str, *, shared: bool, busy: str) -> AbstractContextManager[Any]:
        """Hold a lock while a block runs; a place where writers cannot harm each other has none.

        Raises:
            StoreError: another process holds it; the message is ``busy`` with its name as ``{holder}``.
        """
