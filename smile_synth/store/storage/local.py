"""A store in a folder of this machine, or of a file system that it has mounted."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from smile_synth.errors import StoreError
from smile_synth.files import sync_all, sync_folder
from smile_synth.store import document
from smile_synth.store.storage.contract import WORKSPACE, Item, Result


class LocalFile:
    """A file of this machine.

    Args:
        file: its path, or the descriptor of an open file, which is closed with this object.
    """

    def __init__(self, file: Path | int) -> None:
        self._fd = -1
        self._fd = file if isinstance(file, int) else os.open(file, os.O_RDONLY)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def tail(self, nbytes: int) -> tuple[bytes, int]:
        size = os.fstat(self._fd).st_size
        return os.pread(self._fd, nbytes, max(0, size - nbytes)), size

    def read_into(self, buffer: memoryview, offset: int) -> int:
        return os.preadv(self._fd, [buffer], offset)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | memoryview]:
        return [os.pread(self._fd, nbytes, offset) for offset, nbytes in ranges]


class LocalStorage:
    """See ``Storage``.

    Args:
        location: folder of the store.
    """

    is_remote = False

    def __init__(self, location: Path) -> None:
        self.location = location

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterable[Result]:
        return map(function, items)

    def read(self, name: str) -> bytes:
        return (self.location / name).read_bytes()

    def open(self, name: str) -> LocalFile:
        return LocalFile(self.location / name)

    def open_whole(self, name: str) -> LocalFile:
        return self.open(name)

    def is_empty(self) -> bool:
        return not self.location.is_dir() or not any(self.location.iterdir())

    def exists(self, name: str) -> bool:
        return (self.location / name).exists()

    def is_file(self, name: str) -> bool:
        return (self.location / name).is_file()

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        files = ((name, self.location / name) for name in names)
        return {name: file.stat().st_size for name, file in files if file.is_file()}

    def modified_at(self, name: str) -> datetime:
        return datetime.fromtimestamp((self.location / name).stat().st_mtime, tz=UTC)

    def list(self, folder: str = "") -> dict[str, int]:
        files = sorted(path for path in (self.location / folder).rglob("*") if not path.is_dir())
        sizes = (path.stat().st_size if path.is_file() else 0 for path in files)
        return {path.relative_to(self.location).as_posix(): size for path, size in zip(files, sizes, strict=True)}

    def replace(self, name: str, data: bytes) -> None:
        document.replace(self.location / name, data, drafts=self._workspace)

    def create(self, name: str, data: bytes) -> bool:
        return document.create(self.location / name, data, drafts=self._workspace)

    def publish(self, drafts: Mapping[str, Path]) -> None:
        targets = {self.location / name: draft for name, draft in drafts.items()}
        folders = {target.parent for target in targets}
        for folder in sorted(folders):
            document.make_folder(folder)
        sync_all(drafts.values())
        for target, draft in targets.items():
            draft.replace(target)
        sync_all(folders)

    def put(self, name: str, draft: Path) -> None:
        target = self.location / name
        document.make_folder(target.parent)
        sync_all([draft])
        draft.replace(target)
        sync_folder(target.parent)

    def prepare(self) -> None:
        if self.location.exists() and not self.location.is_dir():
            raise StoreError(f"{self.location} is a file; give --out a new folder")
        document.make_folder(self._workspace / "shards")

    def remove(self, folder: str) -> None:
        shutil.rmtree(self.location / folder, ignore_errors=True)

    @contextlib.contextmanager
    def drafts(self, part: str, shard: str) -> Iterator[Path]:
        folder = self._drafts(part) / f"{shard}-{socket.gethostname()}-{os.getpid()}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def clear_drafts(self, part: str) -> None:
        shutil.rmtree(self._drafts(part), ignore_errors=True)

    @contextlib.contextmanager
    def locked(self, name: str, *, shared: bool, busy: str) -> Iterator[None]:
        path = self._workspace / name
        with path.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise StoreError(busy.format(folder=self.location, holder=holder)) from None
            if not shared:
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}")
                file.flush()
            yield

    @property
    def _workspace(self) -> Path:
        return self.location / WORKSPACE

    def _drafts(self, part: str) -> Path:
        return self._workspace / "drafts" / part
