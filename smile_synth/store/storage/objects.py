"""A store under a prefix of an object store: S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage.

An object appears as a whole or not at all, so a shard is one ``put``. A new shard is put only where there is no object
yet; the first writer owns it, and so it is with the document that says what is being rendered. Writers need no lock,
because a second one finds the same bytes or stops.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from smile_synth.errors import StoreError
from smile_synth.store.storage.client import Answer, ask, client_of, obstore
from smile_synth.store.storage.contract import IN_FLIGHT, Item, Result
from smile_synth.store.storage.local import LocalFile
from smile_synth.store.storage.location import StoreUrl
from smile_synth.store.storage.ranges import merged

# What is read through is fetched in pieces of this size, so that a lost connection costs no more than one of them.
PIECE_NBYTES = 8 * 2**20
DELETED_AT_ONCE = 1000
# Seal and index of the largest shard there can be: what lies before them has its digest in the seal.
TAIL_NBYTES = 2 * 2**20
# Of a folder with the drafts of one shard.
DRAFT_NAME = re.compile(r"\d+-(?P<process>\d+)-\w+")


class ObjectFile:
    """One object, read by range requests.

    Args:
        storage: that holds it.
        name: path of the object inside the store.
    """

    def __init__(self, storage: ObjectStorage, name: str) -> None:
        self._storage, self._name = storage, name

    def tail(self, nbytes: int) -> tuple[bytes, int]:
        if self._storage.location.scheme == "az":
            # Azure has no ranges that count from the end.
            size: int = self._storage.head(self._name)["size"]
            start = max(0, size - nbytes)
            return bytes(self._range(start, size - start)) if size else b"", size

        def request() -> tuple[bytes, int]:
            found = obstore().get(self._storage.reading, self._name, options={"range": {"suffix": nbytes}})
            return bytes(found.bytes()), int(found.meta["size"])

        return self._storage.ask(self._name, request)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        data = self._range(offset, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | memoryview]:
        found: dict[tuple[int, int], bytes | memoryview] = {}
        for offset, nbytes, parts in merged(ranges):
            data = self._range(offset, nbytes)
            for part in parts:
                found[part] = data[part[0] - offset :][: part[1]]
        return [found[part] for part in ranges]

    def _range(self, offset: int, nbytes: int) -> memoryview:
        def request() -> memoryview:
            return memoryview(obstore().get_range(self._storage.reading, self._name, start=offset, length=nbytes))

        return self._storage.ask(self._name, request)


class ObjectStorage:
    """See ``Storage``.

    Args:
        location: URL of the store.

    Raises:
        StoreError: obstore is not installed, or its configuration in the environment is not valid.
    """

    is_remote = True

    def __init__(self, location: StoreUrl) -> None:
        self.location = location
        self.reading = client_of(location, writing=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # Credentials stay where they are: another process takes its own environment's.
        return ObjectStorage, (self.location,)

    def ask(self, name: str, request: Callable[[], Answer]) -> Answer:
        """Return the answer to a request about an object or prefix; see ``ask`` of the client."""
        return ask(self.location / name if name else self.location, request)

    def head(self, name: str) -> Mapping[str, Any]:
        """Return size and date of an object."""
        found: Mapping[str, Any] = self.ask(name, lambda: obstore().head(self.reading, name))
        return found

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterable[Result]:
        with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="smile-synth-objects") as pool:
            try:
                yield from pool.map(function, items)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def read(self, name: str) -> bytes:
        return self.ask(name, lambda: bytes(obstore().get(self.reading, name).bytes()))

    def open(self, name: str) -> ObjectFile:
        return ObjectFile(self, name)

    def open_whole(self, name: str) -> LocalFile:
        size = self.head(name)["size"]
        # Every byte is needed once, some twice: fetched in large pieces, it is read from a file without a name.
        file = ObjectFile(self, name)
        with tempfile.TemporaryFile() as copy:
            for offset in range(0, size, PIECE_NBYTES):
                copy.write(file.read_ranges([(offset, min(PIECE_NBYTES, size - offset))])[0])
            copy.flush()
            return LocalFile(os.dup(copy.fileno()))

    def is_empty(self) -> bool:
        return not self._has_any("")

    def exists(self, name: str) -> bool:
        return self._has_any(name) or self.is_file(name)

    def is_file(self, name: str) -> bool:
        try:
            self.head(name)
        except FileNotFoundError:
            return False
        return True

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        wanted = set(names)
        # A page of a listing has a thousand objects: cheaper than asking for each, except for very few.
        return {name: size for name, size in self.list().items() if name in wanted} if wanted else {}

    def modified_at(self, name: str) -> datetime:
        found: datetime = self.head(name)["last_modified"]
        return found

    def list(self, folder: str = "") -> dict[str, int]:
        def request() -> dict[str, int]:
            pages = obstore().list(self.reading, prefix=folder or None)
            return {entry["path"]: int(entry["size"]) for page in pages for entry in page}

        return dict(sorted(self.ask(folder, request).items()))

    def replace(self, name: str, data: bytes) -> None:
        self._put(name, data, mode="overwrite")

    def create(self, name: str, data: bytes) -> bool:
        return self._put(name, data, mode="create")

    def publish(self, drafts: Mapping[str, Path]) -> None:
        # One after the other: the bytes of one shard of frames fill a network, and retries stay simple.
        for name, draft in drafts.items():
            data = _mapped(draft)
            if not self._put(name, data, mode="create"):
                self._compare(name, data)

    def put(self, name: str, draft: Path) -> None:
        self._put(name, _mapped(draft), mode="overwrite")

    def prepare(self) -> None:
        """Do nothing: object stores have no folders."""

    def remove(self, folder: str) -> None:
        names = list(self.list(folder))
        for start in range(0, len(names), DELETED_AT_ONCE):
            some = names[start : start + DELETED_AT_ONCE]
            # The one whose deletion was not answered may be gone already.
            with contextlib.suppress(FileNotFoundError):
                self.ask(folder, partial(obstore().delete, self.reading, some))

    @contextlib.contextmanager
    def drafts(self, part: str, shard: str) -> Iterator[Path]:
        # Whoever gave the command clears the drafts of its own machine only; workers may be on others.
        self.clear_drafts(part)
        folder = Path(tempfile.mkdtemp(prefix=f"{shard}-{os.getpid()}-", dir=self._drafts(part)))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def clear_drafts(self, part: str) -> None:
        for draft in self._drafts(part).iterdir():
            named = DRAFT_NAME.fullmatch(draft.name)
            if named and not _is_alive(named["process"]):
                shutil.rmtree(draft, ignore_errors=True)

    def locked(self, name: str, *, shared: bool, busy: str) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext()

    def _drafts(self, part: str) -> Path:
        store = sha256(str(self.location).encode()).hexdigest()[:16]
        owners = _private(Path(tempfile.gettempdir()) / f"smile-synth-drafts-{os.getuid()}")
        return _private(owners / f"{socket.gethostname()}-{store}-{part}")

    def _has_any(self, prefix: str) -> bool:
        def request() -> bool:
            return any(len(page) for page in obstore().list(self.reading, prefix=prefix or None, chunk_size=1))

        return self.ask(prefix, request)

    def _put(self, name: str, data: bytes | mmap.mmap, *, mode: str) -> bool:
        """Put an object; return False where ``create`` finds one, which may be our own of a try without an answer."""
        writing = client_of(self.location, writing=True)
        try:
            self.ask(name, lambda: obstore().put(writing, name, data, mode=mode, use_multipart=False))
        except FileExistsError:
            return False
        return True

    def _compare(self, name: str, data: mmap.mmap) -> None:
        """Check that the object that is already there is the one that we would have put."""
        nbytes = min(len(data), TAIL_NBYTES)
        found, size = ObjectFile(self, name).tail(nbytes)
        if size != len(data) or found != data[len(data) - nbytes :]:
            raise StoreError(
                f"{self.location / name} was written before, with other bytes: by another version of the packages, or "
                f"for another store; delete it, or give --out another place, and run the same command again"
            )


def _private(folder: Path) -> Path:
    """Return a folder that is ours alone, made if there is none: the temporary folder is mostly everybody's."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise StoreError(
            f"{folder}, where drafts of shards should lie, is not a folder of yours; somebody else made it: set TMPDIR "
            f"to a folder of your own"
        )
    if stat.S_IMODE(status.st_mode) != 0o700:
        folder.chmod(0o700)
    return folder


def _mapped(draft: Path) -> mmap.mmap:
    # Closed when the last one who holds it is gone, which may be a request that was given up.
    with draft.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):
        return True
    return True
