"""Replacing a file as a whole: after a crash, a full disk or Ctrl-C it holds all of the new content or the old."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SYNCS_AT_ONCE = 16
# Of renameat2(2).
AT_FDCWD, RENAME_EXCHANGE = -100, 2


# What file systems without hard links answer.
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def replace_file(path: Path, write: bytes | str | Callable[[Path], object], *, drafts: Path | None = None) -> None:
    """Give ``path`` new content, and have it on the disk when this returns.

    Args:
        path: its folder exists; what it held stays as it is until the new content is complete.
        write: the content (text as UTF-8), or what writes it to the file whose path it is given.
        drafts: folder of the unfinished file, on the same file system; by default that of ``path``.

    Raises:
        OSError: it cannot be written; names ``path``, and no unfinished file is left behind.
    """
    with _draft_of(path, write, drafts) as draft:
        draft.replace(path)
        sync_folder(path.parent)


def create_file(path: Path, content: bytes, *, drafts: Path) -> bool:
    """Make a file at once, and have it on the disk, unless there is one: of several who try, one succeeds.

    On a file system without hard links, several who try at the same moment may all succeed; the last one's stays.

    Args:
        path: its folder exists.
        content: of the new file.
        drafts: folder of the unfinished file, on the same file system.

    Returns:
        Whether it was made.

    Raises:
        OSError: it cannot be written; names ``path``, and no unfinished file is left behind.
    """
    with _draft_of(path, content, drafts) as draft:
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            if path.exists():
                return False
            draft.replace(path)
        sync_folder(path.parent)
        return True


@contextlib.contextmanager
def _draft_of(path: Path, write: bytes | str | Callable[[Path], object], drafts: Path | None) -> Iterator[Path]:
    """Yield the file that is to become ``path``, on the disk; it is gone afterwards, and errors name ``path``."""
    # The draft keeps the suffix, by which many writers choose their format, and its name is this process's own.
    draft = (drafts or path.parent) / f".{path.stem}.{os.getpid()}-{uuid.uuid4().hex[:8]}.unfinished{path.suffix}"
    try:
        if callable(write):
            write(draft)
        else:
            draft.write_bytes(write.encode("utf-8") if isinstance(write, str) else write)
        sync_file(draft)
        yield draft
    except OSError as error:
        if error.filename is None or Path(error.filename) == draft:
            error.filename = str(path)
        raise
    finally:
        draft.unlink(missing_ok=True)


def exchange(one: Path, other: Path) -> None:
    """Let two folders or files of one file system change places, at once: both paths exist at every moment.

    Raises:
        OSError: the system or the file system cannot do that.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOTSUP, "this system cannot exchange two folders at once", str(one))
    if rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(one))
    for folder in {one.absolute().parent, other.absolute().parent}:
        sync_folder(folder)


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
