"""Replacing a file as a whole: after a crash, a full disk or Ctrl-C it holds all of the new content or the old."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SYNCS_AT_ONCE = 16


def replace_file(path: Path, write: bytes | str | Callable[[Path], object], *, drafts: Path | None = None) -> None:
    """Give ``path`` new content, and have it on the disk when this returns.

    Args:
        path: its folder exists; what it held stays as it is until the new content is complete.
        write: the content (text as UTF-8), or what writes it to the file whose path it is given.
        drafts: folder of the unfinished file, on the same file system; by default that of ``path``.

    Raises:
        OSError: it cannot be written; names ``path``, and no unfinished file is left behind.
    """
    # The draft keeps the suffix, by which many writers choose their format, and its name is this process's own.
    draft = (drafts or path.parent) / f".{path.stem}.{os.getpid()}-{uuid.uuid4().hex[:8]}.unfinished{path.suffix}"
    try:
        if callable(write):
            write(draft)
        else:
            draft.write_bytes(write.encode("utf-8") if isinstance(write, str) else write)
        sync_file(draft)
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        if error.filename is None or Path(error.filename) == draft:
            error.filename = str(path)
        raise
    finally:
        draft.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Have a file's content on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_all(paths: Iterable[Path]) -> None:
    """Have files or folders on the disk; together, because a disk commits many at once as fast as one."""
    with ThreadPoolExecutor(SYNCS_AT_ONCE, thread_name_prefix="sync") as pool:
        list(pool.map(sync_file, paths))


def sync_folder(path: Path) -> None:
    """Have a folder's list of files on the disk."""
    sync_file(path)
