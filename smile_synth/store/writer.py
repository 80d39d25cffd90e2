"""Rendering a dataset into a store, resuming what was begun, and sealing it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from smile_synth.errors import DamagedStoreError, StoreError
from smile_synth.generator.dataset import Dataset
from smile_synth.progress import track
from smile_synth.store import document
from smile_synth.store.build import build_shard, writing_failed
from smile_synth.store.engines.workers import build_with_processes
from smile_synth.store.layout import Layout, shard_file
from smile_synth.store.manifest import Manifest, first_difference
from smile_synth.store.reader import Store
from smile_synth.store.root import Root, read_root
from smile_synth.store.storage import Location, locate, storage_of
from smile_synth.store.workspace import ROOT, Receipt, Workspace


class Engine(Protocol):
    """What builds shards: this process, a pool of processes, or a cluster."""

    def __call__(
        self,
        dataset: Dataset,
        layout: Layout,
        workspace: Workspace,
        shards: Sequence[int],
        *,
        advance: Callable[[int], None],
    ) -> None:
        """Build ``shards``, and call ``advance`` with the number of clips begun since the last call."""


@dataclass(frozen=True)
class ShardPart:
    """Every ``count``-th shard, from the ``place``-th one on, so that many hosts fill one store without communicating.

    Args:
        place: 1 to ``count``.
        count: number of parts.
    """

    place: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.place <= self.count:
            raise StoreError(f"a part of the shards is written 1/4 to 4/4, got {self.place}/{self.count}")

    @classmethod
    def parse(cls, text: str) -> ShardPart:
        """Return the part that is written like ``3/16``.

        Raises:
            StoreError: it is written in another way.
        """
        place, slash, count = text.partition("/")
        if not (slash and place.isdecimal() and count.isdecimal() and place.isascii() and count.isascii()):
            raise StoreError(f"a part of the shards is written like 3/16, got {text!r}")
        return cls(int(place), int(count))

    @property
    def name(self) -> str:
        """Name of the part, empty for the whole."""
        return f"{self.place}-of-{self.count}" if self.count > 1 else ""

    def shards(self, num_shards: int) -> range:
        """Return the shards of this part."""
        return range(self.place - 1, num_shards, self.count)


def render_store(
    dataset: Dataset,
    path: str | Location,
    *,
    recipe: Mapping[str, Any],
    workers: int = 0,
    is_virtual: bool = False,
    label: str = "render",
) -> Store:
    """Render a dataset into a store, or resume what was begun there, and seal it.

    Args:
        dataset: what to render.
        path: folder or URL of the store: new, empty, unfinished or finished.
        recipe: the whole resolved recipe.
        workers: processes; 0 renders in this process.
        is_virtual: keep no frames, motion and truth; they are rendered when they are read.
        label: what the progress bar says.

    Returns:
        The finished store.

    Raises:
        GeneratorError: a generator failed.
        StoreError: the path holds something else, or cannot be written.
    """
    engine = in_this_process if workers == 0 else in_processes(workers)
    fill_store(dataset, path, recipe=recipe, engine=engine, is_virtual=is_virtual, label=label)
    return finish_store(path)


def in_processes(num_workers: int) -> Engine:
    """Return the engine that builds shards in ``num_workers`` processes."""

    def engine(
        dataset: Dataset,
        layout: Layout,
        workspace: Workspace,
        shards: Sequence[int],
        *,
        advance: Callable[[int], None],
    ) -> None:
        build_with_processes(dataset, layout, workspace, shards, num_workers=num_workers, advance=advance)

    return engine


def in_this_process(
    dataset: Dataset,
    layout: Layout,
    workspace: Workspace,
    shards: Sequence[int],
    *,
    advance: Callable[[int], None],
) -> None:
    """Build shards one after the other, here."""
    for shard in shards:
        build_shard(dataset, layout, workspace, shard, lambda clip: advance(1))


def fill_store(
    dataset: Dataset,
    path: str | Location,
    *,
    recipe: Mapping[str, Any],
    engine: Engine,
    part: ShardPart = ShardPart(),
    is_virtual: bool = False,
    label: str = "render",
) -> int:
    """Render the shards that a store still lacks, without sealing it.

    Args:
        dataset: what to render.
        path: folder or URL of the store.
        recipe: the whole resolved recipe.
        engine: what builds the shards.
        part: which shards; all of them by default.
        is_virtual: keep no frames, motion and truth; they are rendered when they are read.
        label: what the progress bar says.

    Returns:
        Number of clips that were rendered.

    Raises:
        GeneratorError: a generator failed.
        StoreError: the path holds something else, another recipe's clips, or cannot be written.
    """
    manifest = Manifest.of(dataset, recipe, is_virtual=is_virtual)
    return fill_as(manifest, dataset, locate(path), engine=engine, part=part, label=label)


def fill_as(
    manifest: Manifest, dataset: Dataset, path: Location, *, engine: Engine, part: ShardPart = ShardPart(), label: str
) -> int:
    """Do what ``fill_store`` does, for a store that says of itself what ``manifest`` says."""
    layout = manifest.layout
    if Workspace(path).is_finished:
        _refuse_other(path, _whole(path), manifest)
        return 0
    with _opened(path, part.name) as workspace:
        if workspace.is_sealed:
            _refuse_other(path, _whole(path), manifest)
            return 0
        _claim(workspace, manifest)
        completed = completed_shards(workspace, layout)
        shards = [shard for shard in part.shards(layout.num_shards) if shard not in completed]
        clips = sum(len(layout.clips_of(shard)) for shard in shards)
        if shards:
            with track(clips, label) as progress:
                if completed:
                    progress.note(f"resuming: {len(completed)} of {layout.num_shards} shards are complete")
                engine(dataset, layout, workspace, shards, advance=progress.advance)
        return clips


def finish_store(path: str | Location) -> Store:
    """Check that every shard is there, write the store's metadata, and open it.

    Args:
        path: folder or URL of the store; one that is finished already stays as it is.

    Raises:
        StoreError: shards are missing; the message says which.
    """
    path = locate(path)
    if not path.is_dir() if isinstance(path, Path) else storage_of(path).is_empty():
        raise StoreError(f"there is no store at {path}; render it with: smile-synth render RECIPE --out {path}")
    if not Workspace(path).is_finished:
        with _opened(path, "") as workspace:
            if not workspace.is_sealed:
                _seal(workspace)
    return Store.open(path)


@contextlib.contextmanager
def _opened(path: Location, part: str) -> Iterator[Workspace]:
    workspace = Workspace(path, part)
    try:
        workspace.create()
    except OSError as error:
        raise StoreError(writing_failed(error, f"store {path}")) from error
    with workspace.locked():
        workspace.clear_drafts()
        try:
            yield workspace
        finally:
            workspace.clear_drafts()
        # Not after a failure: asking a server that is down takes minutes, and would hide what went wrong.
        if workspace.is_sealed:
            workspace.remove()


def _whole(path: Location) -> Root:
    """Return the root of a sealed store none of whose folders is lost."""
    root, storage = read_root(path), storage_of(path)
    lost = [spec.name for spec in root.layout.stored if not storage.exists(spec.name)]
    if lost:
        raise DamagedStoreError(
            f"{path} is sealed, but lacks {', '.join(lost)}; repair it with: smile-synth verify {path} --repair"
        )
    return root


def _claim(workspace: Workspace, manifest: Manifest) -> None:
    _refuse_other(workspace.store, workspace.claim(manifest), manifest)


def _refuse_other(path: Location, existing: Manifest, manifest: Manifest) -> None:
    if (existing.virtual is None) != (manifest.virtual is None):
        kind, asked = ("stored", "virtual") if existing.virtual is None else ("virtual", "stored")
        raise StoreError(
            f"{path} is a {kind} store, and a {asked} one is asked for; give --out another folder, or turn it into one "
            f"once it is finished: smile-synth {'materialise' if asked == 'stored' else 'slim'} {path}"
        )
    difference = first_difference(existing, manifest)
    if difference:
        raise StoreError(f"{path} holds other clips: {difference}; give --out another folder, or change it back")


def completed_shards(workspace: Workspace, layout: Layout) -> set[int]:
    """Return the shards whose receipt is there, of this store, and whose files have the sizes that it says."""
    receipts = {shard: receipt for shard, receipt in workspace.completed().items() if shard < layout.num_shards}
    sizes = workspace.storage.sizes(shard_file(spec, shard) for shard in receipts for spec in layout.stored)
    return {shard for shard, receipt in receipts.items() if _has_files(sizes, layout, shard, receipt)}


def _has_files(sizes: Mapping[str, int], layout: Layout, shard: int, receipt: Receipt) -> bool:
    if not {spec.name for spec in layout.arrays} <= set(receipt):
        return False
    # Jobs with other packages make other stores. Earlier versions did not say which.
    if any(receipt[spec.name].get("store", layout.store_id) != layout.store_id for spec in layout.arrays):
        return False
    return all(sizes.get(shard_file(spec, shard)) == receipt[spec.name]["nbytes"] for spec in layout.stored)


def _seal(workspace: Workspace) -> None:
    manifest = workspace.manifest()
    if manifest is None:
        raise StoreError(f"nothing was rendered into {workspace.store}; run: smile-synth render RECIPE --out STORE")
    layout = manifest.layout
    missing = sorted(set(range(layout.num_shards)) - completed_shards(workspace, layout))
    if missing:
        named = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
        raise StoreError(
            f"{workspace.store} lacks {len(missing)} of {layout.num_shards} shards ({named}); "
            f"run the rendering command again, with the same --shards if it had one"
        )
    receipts = workspace.completed()
    seals = {
        spec.name: [receipts[shard][spec.name]["seal"] for shard in range(layout.num_shards)] for spec in layout.arrays
    }
    try:
        documents = {name: document.encode(value) for name, value in layout.metadata().items()}
        for name, data in documents.items():
            workspace.storage.replace(name, data)
        root = Root.sealing(manifest, documents, seals)
        # Everything is on the disk before the one file that calls the store finished, and that before receipts go.
        for name in (root.copy_file, ROOT):
            workspace.storage.replace(name, root.to_bytes())
    except OSError as error:
        raise StoreError(writing_failed(error, f"the metadata of {workspace.store}")) from error
