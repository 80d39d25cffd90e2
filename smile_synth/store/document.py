"""JSON documents of a store: one way to write each, a checksum inside, replaced as a whole."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import google_crc32c

from smile_synth.errors import DamagedStoreError


def encode(document: Any) -> bytes:
    """Return the one way in which we write ``document``."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False).encode() + b"\n"


def crc_hex(data: bytes) -> str:
    """Return the CRC-32C of ``data`` as eight hex digits."""
    return f"{google_crc32c.value(data):08x}"


def read(path: Path) -> Any:
    """Return the document in a file.

    Raises:
        DamagedStoreError: the file is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise DamagedStoreError(f"{path} is not valid JSON ({error}); the file is damaged") from None


def replace(path: Path, data: bytes, *, drafts: Path) -> None:
    """Put ``data`` in the place of ``path`` at once: a reader sees the old file or the new one, never a part.

    Args:
        path: file to write; its folder is made where there is none.
        data: its whole content.
        drafts: folder on the same file system where the file grows.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = drafts / f".{path.name}.{socket.gethostname()}.{os.getpid()}"
    draft.write_bytes(data)
    draft.replace(path)
