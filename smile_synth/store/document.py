"""JSON documents of a store: one way to write each, read with care, replaced as a whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from smile_synth.errors import DamagedStoreError
from smile_synth.files import create_file, replace_file, sync_folder


def encode(document: Any) -> bytes:
    """Return the one way in which we write ``document``."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False).encode() + b"\n"


def digest(data: bytes) -> str:
    """Return the SHA-256 of ``data`` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def decode(data: bytes, path: object) -> Any:
    """Return the document in ``data``.

    Args:
        data: what was read.
        path: where, for the error.

    Raises:
        DamagedStoreError: it is not JSON, or no document of ours could look so.
    """
    try:
        document = json.loads(data, parse_constant=_refuse)
        # Numbers that cannot be written again, and nesting that cannot be walked, are found here and nowhere else.
        encode(document)
    except (ValueError, RecursionError, OverflowError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DamagedStoreError(f"{path} is not valid JSON ({reason}); the file is damaged") from None
    return document


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def read(path: Path) -> Any:
    """Return the document in a file.

    Raises:
        DamagedStoreError: the file is not JSON.
    """
    return decode(path.read_bytes(), path)


def create(path: Path, data: bytes, *, drafts: Path) -> bool:
    """Put ``data`` in the place of ``path`` at once, unless there is a file; return whether that was done.

    Args:
        path, data, drafts: as for ``replace``.
    """
    make_folder(path.parent)
    return create_file(path, data, drafts=drafts)


def replace(path: Path, data: bytes, *, drafts: Path) -> None:
    """Put ``data`` in the place of ``path`` at once: a reader sees the old file or the new one, never a part.

    Args:
        path: file to write; its folder is made where there is none.
        data: its whole content.
        drafts: folder on the same file system where the file grows.
    """
    make_folder(path.parent)
    replace_file(path, data, drafts=drafts)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, and have them on the disk."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)
