"""The root document of a finished store: its manifest, and what seals every other file. It is written twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from smile_synth.errors import DamagedStoreError, StoreError
from smile_synth.params import shown
from smile_synth.store import document
from smile_synth.store.layout import shard_file
from smile_synth.store.manifest import FORMAT_VERSION, Hex, Manifest
from smile_synth.store.shard import store_id_of
from smile_synth.store.storage import Location, storage_of
from smile_synth.store.storage.contract import WORKSPACE
from smile_synth.store.workspace import ROOT, Workspace

KEY = "smile_synth"
# The same bytes again, where no Zarr library looks for a group or an array.
COPY = "frames/root-copy.json"
# Of a virtual store, which has no frames.
VIRTUAL_COPY = "boxes/root-copy.json"


class Root(Manifest):
    """What a finished store says of itself: its manifest, and the seals of its files."""

    id: Hex = Field(description="stands for everything that makes the clips; every shard names it")
    metadata_digests: dict[str, Hex] = Field(description="SHA-256 of every other metadata document, by path")
    shard_seals: dict[str, tuple[Hex, ...]] = Field(description="seals of the shards of every array")
    digest: Hex = Field(description="SHA-256 of all of the above: stands for every byte of the store")

    @classmethod
    def sealing(
        cls, manifest: Manifest, documents: Mapping[str, bytes], shard_seals: Mapping[str, Sequence[str]]
    ) -> Self:
        """Return the root of a store whose shards are complete.

        Args:
            manifest: where the store comes from.
            documents: every other metadata document, by its path.
            shard_seals: seals of the shards, by array.
        """
        content = {
            **manifest.document(),
            "id": manifest.store_id,
            "metadata_digests": {name: document.digest(data) for name, data in documents.items()},
            "shard_seals": {name: list(seals) for name, seals in shard_seals.items()},
        }
        return cls.parse({**content, "digest": _digest(content)}, origin="the root document")

    @model_validator(mode="after")
    def _fits_itself(self) -> Self:
        arrays = {spec.name for spec in self.layout.arrays}
        if self.id != self.store_id:
            raise ValueError("the id does not stand for what the document says")
        if set(self.shard_seals) != arrays or set(self.metadata_digests) != set(self.layout.metadata_files()):
            raise ValueError("it names other arrays than its own")
        if any(len(seals) != self.layout.num_shards for seals in self.shard_seals.values()):
            raise ValueError(f"every array must have {self.layout.num_shards} seals")
        return self

    @property
    def copy_file(self) -> str:
        """Path of the document's copy inside the store."""
        return COPY if self.virtual is None else VIRTUAL_COPY

    def to_bytes(self) -> bytes:
        """Return the document as we write it."""
        return document.encode({"attributes": {KEY: self.document()}, "node_type": "group", "zarr_format": 3})


def _digest(content: Mapping[str, Any]) -> str:
    return document.digest(document.encode({key: value for key, value in content.items() if key != "digest"}))


def read_root(path: Location) -> Root:
    """Return what a finished store says of itself.

    Args:
        path: where the store is.

    Raises:
        StoreError: there is no store, it is not finished, or it is of another kind or format.
        DamagedStoreError: the document is damaged.
    """
    storage = storage_of(path)
    try:
        return _parse(path, storage.read(ROOT))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise StoreError(_why_no_root(path)) from None
    except DamagedStoreError as error:
        raise DamagedStoreError(f"{error}; repair it with: smile-synth verify {path} --repair") from None


def _parse(path: Location, data: bytes) -> Root:
    file = path / ROOT
    root = document.decode(data, file)
    attributes = root.get("attributes") if isinstance(root, dict) else None
    content = attributes.get(KEY) if isinstance(attributes, dict) else None
    if not isinstance(content, dict):
        raise StoreError(f"{path} is no smile-synth store: {file} has no attribute {KEY!r}")
    version = content.get("format_version")
    if version == 1:
        raise StoreError(_old_format(path, content))
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise StoreError(f"{path} has format {shown(version)}, this version reads {FORMAT_VERSION}; update smile-synth")
    if content.get("digest") != _digest(content):
        raise DamagedStoreError(f"{file} fails its own checksum")
    return Root.parse(content, origin=str(file))


def _old_format(path: Location, content: Mapping[str, Any]) -> str:
    recipe = content.get("recipe")
    name = recipe.get("name") if isinstance(recipe, dict) else None
    known = f" {name}" if isinstance(name, str) and name.isidentifier() else " RECIPE"
    return (
        f"{path} has format 1, whose checksums could not tell a shard from another; this version reads "
        f"{FORMAT_VERSION}. Render it again: smile-synth render{known} --out NEW"
    )


def is_as_written(path: Location, root: Root) -> bool:
    """Whether the root document in its place is byte for byte what we wrote."""
    return storage_of(path).read(ROOT) == root.to_bytes()


def holds_only_ours(path: Location) -> bool:
    """Whether nobody added attributes of their own to the root document."""
    return list(document.decode(storage_of(path).read(ROOT), path / ROOT)["attributes"]) == [KEY]


def read_copy(path: Location) -> Root | None:
    """Return the root that was written beside the first; None where it is absent or damaged.

    Raises:
        OSError: it cannot be read.
    """
    for name in (COPY, VIRTUAL_COPY):
        try:
            return _parse(path, storage_of(path).read(name))
        except (StoreError, FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
    return None


def restorable_root(path: Location) -> Root:
    """Return the root of a store whose root document is lost, damaged or another store's.

    The copy is taken if the shards say that they belong to its store.

    Raises:
        DamagedStoreError: there is no such copy.
    """
    copy = read_copy(path)
    if copy is None:
        raise DamagedStoreError(
            f"{path / ROOT} is lost, and so is its copy {COPY}; restore one of them, or render the store again"
        )
    if not shards_belong_to(path, copy):
        raise DamagedStoreError(
            f"the root document and its copy {COPY} are not those of the shards in {path}; restore {ROOT} from a "
            f"backup, or render the store again"
        )
    return copy


def shards_belong_to(path: Location, root: Root) -> bool:
    """Whether most of the shards that can be read, if any can, say that they belong to a root's store."""
    layout, storage = root.layout, storage_of(path)
    slots = layout.place(layout.stored[0], 0).num_slots
    files = [shard_file(spec, shard) for spec in layout.stored for shard in range(min(layout.num_shards, 64))]
    said = storage.map(lambda file: store_id_of(storage, file, slots), files)
    ids = [store_id for store_id in said if store_id]
    return not ids or 2 * sum(store_id == root.id for store_id in ids) > len(ids)


def _why_no_root(path: Location) -> str:
    if isinstance(path, Path) and path.is_file():
        is_recipe = path.suffix in (".yaml", ".yml")
        advice = f"render it with: smile-synth render {path} --out STORE" if is_recipe else "a store is a folder"
        return f"there is no store at {path}, which is a file; {advice}"
    workspace, storage = Workspace(path), storage_of(path)
    if not path.is_dir() if isinstance(path, Path) else storage.is_empty():
        return f"there is no store at {path}; render one with: smile-synth render RECIPE --out {path}"
    if storage.exists(WORKSPACE):
        return (
            f"{path} is not finished ({len(workspace.completed())} shards are complete); resume with the command that "
            f"began it, or, if it was rendered in parts: smile-synth render --finish --out {path}"
        )
    if any(storage.is_file(name) for name in (COPY, VIRTUAL_COPY)):
        return f"{path / ROOT} is lost; repair it with: smile-synth verify {path} --repair"
    return f"{path} is no smile-synth store: it has no {ROOT}"
