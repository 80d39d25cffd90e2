"""The root document of a finished store: its account, and the checksums of every other file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smile_synth.errors import DamagedStoreError, StoreError
from smile_synth.store import document
from smile_synth.store.manifest import FORMAT_VERSION
from smile_synth.store.workspace import ROOT, Workspace

KEY = "smile_synth"


def root_document(
    account: Mapping[str, Any], documents: Mapping[str, bytes], shard_crcs: Mapping[str, Sequence[str]]
) -> bytes:
    """Return the bytes of a store's root document.

    Args:
        account: where the store comes from.
        documents: every other metadata document, by its path.
        shard_crcs: CRC-32C of every shard file, by array.
    """
    content = {
        **account,
        "metadata_checksums": {name: document.crc_hex(data) for name, data in documents.items()},
        "shard_checksums": {name: list(crcs) for name, crcs in shard_crcs.items()},
    }
    return root_bytes({**content, "digest": digest(content)})


def _zarr_group(content: Mapping[str, Any]) -> dict[str, Any]:
    return {"attributes": {KEY: content}, "node_type": "group", "zarr_format": 3}


def digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 over everything that a root document says but this digest itself.

    The checksums of all files are part of it, so that it stands for the whole store.
    """
    rest = {key: value for key, value in content.items() if key != "digest"}
    return hashlib.sha256(document.encode(rest)).hexdigest()


def read_root(path: Path) -> dict[str, Any]:
    """Return what a finished store says of itself.

    Args:
        path: folder of the store.

    Raises:
        StoreError: there is no store, it is not finished, or it is of another kind or a newer format.
        DamagedStoreError: the document is damaged.
    """
    file = path / ROOT
    if not file.is_file():
        raise StoreError(_why_no_root(path))
    root = document.read(file)
    content = root.get("attributes", {}).get(KEY) if isinstance(root, dict) else None
    if not isinstance(content, dict):
        raise StoreError(f"{path} is no smile-synth store: {file} has no attribute {KEY!r}")
    version = content.get("format_version")
    if version != FORMAT_VERSION and isinstance(version, int) and version > FORMAT_VERSION:
        raise StoreError(f"{path} has format {version}, this version reads up to {FORMAT_VERSION}; update smile-synth")
    if content.get("digest") != digest(content):
        raise DamagedStoreError(f"{file} fails its own checksum; restore it from a copy, or render the store again")
    return content


def root_bytes(content: Mapping[str, Any]) -> bytes:
    """Return the root document that says ``content``, as we write it."""
    return document.encode(_zarr_group(content))


def is_as_written(path: Path, content: Mapping[str, Any]) -> bool:
    """Whether the root document on disk is byte for byte what we wrote."""
    return (path / ROOT).read_bytes() == root_bytes(content)


def holds_only_ours(path: Path) -> bool:
    """Whether nobody added attributes of their own to the root document."""
    return list(document.read(path / ROOT)["attributes"]) == [KEY]


def _why_no_root(path: Path) -> str:
    workspace = Workspace(path)
    if not path.is_dir():
        return f"there is no store at {path}; render one with: smile-synth render RECIPE --out {path}"
    if workspace.folder.is_dir():
        return (
            f"{path} is not finished ({len(workspace.completed())} shards are complete); go on with the command that "
            f"began it, or, if it was rendered in parts: smile-synth render --finish --out {path}"
        )
    return f"{path} is no smile-synth store: it has no {ROOT}"
