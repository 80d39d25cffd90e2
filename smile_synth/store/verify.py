"""Checking every byte of a store, rendering clips again to compare, and repairing what is damaged."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from smile_synth.errors import DamagedStoreError, StoreError
from smile_synth.generator.dataset import Dataset
from smile_synth.progress import track
from smile_synth.randomness import stream
from smile_synth.store import document
from smile_synth.store.build import draft_shard, writing_failed
from smile_synth.store.clip_values import DrawnClip, empty_values, fill_clip
from smile_synth.store.consistency import inconsistencies
from smile_synth.store.layout import shard_file
from smile_synth.store.manifest import Manifest, first_difference
from smile_synth.store.reader import Store
from smile_synth.store.rendering import differing_clips
from smile_synth.store.root import (
    holds_only_ours,
    is_as_written,
    read_copy,
    read_root,
    restorable_root,
    shards_belong_to,
)
from smile_synth.store.shard import ShardFile
from smile_synth.store.spec import ArraySpec
from smile_synth.store.storage import Location, locate
from smile_synth.store.workspace import ROOT, Workspace


@dataclass(frozen=True)
class Damage:
    """Something wrong with a store.

    Args:
        file: path inside the store.
        reason: what is wrong.
        array: name of the array, empty for what belongs to none.
        shard: number of the shard, or None.
        clip: number of the clip, or None when it is the whole shard.
    """

    file: str
    reason: str
    array: str = ""
    shard: int | None = None
    clip: int | None = None

    def __str__(self) -> str:
        place = [f"array {self.array}"] if self.array else []
        place += [f"shard {self.shard}"] if self.shard is not None else []
        place += [f"clip {self.clip}"] if self.clip is not None else []
        where = f" ({self.file})" if self.file else ""
        return f"{', '.join(place) or 'metadata'}: {self.reason}{where}"


def verify_store(store: Store, *, threads: int) -> list[Damage]:
    """Read and check every byte of a store, decode every clip, and check that its arrays fit together.

    Args:
        store: opened; a damaged root document is found by opening it.
        threads: how many files are read at a time.

    Returns:
        What is wrong, in the order of arrays and shards; empty for a sound store.
    """
    damages = [*_check_root(store), *_check_documents(store), *_extra_files(store)]
    jobs = [(spec, shard) for spec in store.layout.stored for shard in range(store.layout.num_shards)]
    clips = sum(len(store.layout.clips_of(shard)) for _, shard in jobs)
    with track(clips, "verify", unit="chunks") as progress, ThreadPoolExecutor(threads) as pool:
        for (_, shard), found in zip(jobs, pool.map(lambda job: _check_shard(store, *job), jobs), strict=True):
            progress.advance(len(store.layout.clips_of(shard)))
            damages += found
    if store.is_virtual:
        damages += _check_sample(store)
    if not any(damage.array for damage in damages):
        damages += [Damage("", reason, array, clip=clip) for array, clip, reason in inconsistencies(store)]
    return damages


def _check_sample(store: Store) -> Iterator[Damage]:
    """Render the sampled clips of a virtual store, and compare them with the digests that were made with it."""
    layout = store.layout
    with track(layout.num_shards, "render the sample", unit="shards") as progress:
        for shard in range(layout.num_shards):
            for array, clip in differing_clips(store.renderer, store.manifest, shard):
                yield Damage("", "rendering it gives other values than when the store was made", array, shard, clip)
            progress.advance()


def _check_root(store: Store) -> Iterator[Damage]:
    if not is_as_written(store.path, store.manifest):
        yield Damage(ROOT, "it was changed since the store was sealed")
    copy, name = read_copy(store.path), store.manifest.copy_file
    if copy is None:
        yield Damage(name, "the copy of the root document is missing or damaged")
    elif copy != store.manifest:
        lost = ROOT if shards_belong_to(store.path, copy) else name
        yield Damage(lost, f"{ROOT} and its copy {name} are those of two stores")


def _check_documents(store: Store) -> Iterator[Damage]:
    digests = store.manifest.metadata_digests
    found = store.storage.map(lambda name: _digest_of(store, name), digests)
    for (name, digest), actual in zip(digests.items(), found, strict=True):
        if not actual:
            yield Damage(name, "the file is missing", array=_array_of(name))
        elif actual != digest:
            yield Damage(name, "the metadata fails its checksum", array=_array_of(name))


def _digest_of(store: Store, name: str) -> str:
    """Return the digest of a metadata document; empty where there is none."""
    try:
        return document.digest(store.storage.read(name))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""


def _extra_files(store: Store) -> Iterator[Damage]:
    layout = store.layout
    ours = {ROOT, store.manifest.copy_file, *store.manifest.metadata_digests}
    ours |= {shard_file(spec, shard) for spec in layout.stored for shard in range(layout.num_shards)}
    for folder in sorted({name.partition("/")[0] for name in ours} - {ROOT}):
        for name in store.storage.list(folder):
            if name not in ours:
                yield Damage(name, "no file of this store; move it away")


def _array_of(name: str) -> str:
    return name.removesuffix(f"/{ROOT}")


def _check_shard(store: Store, spec: ArraySpec, shard: int) -> list[Damage]:
    name = shard_file(spec, shard)
    reader = store.array_reader(spec)
    try:
        file = reader.open_shard(shard, whole=True)
        found = [Damage(name, text, spec.name, shard, clip) for clip, text in _check_chunks(store, file, spec, shard)]
        if not found:
            file.check_payload()
        if not found and file.tail.seal != store.manifest.shard_seals[spec.name][shard]:
            found = [Damage(name, "it holds other clips than were sealed", spec.name, shard)]
    except OSError as error:
        return [Damage(name, f"the file cannot be read ({error.strerror})", spec.name, shard)]
    except DamagedStoreError as error:
        return [Damage(name, str(error), spec.name, shard)]
    return found


def _check_chunks(store: Store, file: ShardFile, spec: ArraySpec, shard: int) -> Iterator[tuple[int, str]]:
    reader = store.array_reader(spec)
    out = reader.chunk()
    for slot, clip in enumerate(store.layout.clips_of(shard)[:: spec.clips_per_chunk]):
        try:
            reader.decode(file, slot, out)
        except DamagedStoreError as error:
            yield clip, str(error)


def restore_root(path: str | Location) -> bool:
    """Write the root document again from its copy where it is lost, damaged or another store's.

    Args:
        path: folder or URL of the store.

    Returns:
        Whether that was needed.

    Raises:
        DamagedStoreError: it is needed, and there is no copy that belongs to the shards.
        StoreError: there is no store, or it cannot be written.
    """
    path = locate(path)
    try:
        if shards_belong_to(path, read_root(path)):
            return False
    except DamagedStoreError:
        pass
    except StoreError:
        if read_copy(path) is None:
            raise
    root = restorable_root(path)
    workspace = Workspace(path)
    try:
        workspace.storage.prepare()
        with workspace.locked():
            workspace.storage.replace(ROOT, root.to_bytes())
            workspace.remove()
    except OSError as error:
        raise StoreError(writing_failed(error, f"store {path}")) from error
    return True


def difference_now(store: Store, dataset: Dataset) -> str:
    """Return what is not as it was when the store was rendered, such as a version; empty if nothing."""
    return first_difference(store.manifest, Manifest.of(dataset, store.recipe))


def rerender(store: Store, dataset: Dataset, count: int) -> list[Damage]:
    """Render random clips again from recipe and seed, and compare every value with the store.

    Args:
        store: opened.
        dataset: from ``stored_dataset``.
        count: how many clips, at most all.

    Returns:
        The clips that differ.
    """
    chosen = stream(secrets.randbits(63), "rerender").permutation(store.num_clips)[:count]
    damages = []
    with track(len(chosen), "rerender") as progress:
        for clip in sorted(chosen.tolist()):
            damages += [
                Damage("", "rendering it again gives other values", name, clip // store.layout.clips_per_shard, clip)
                for name in _arrays_that_differ(store, dataset, clip)
            ]
            progress.advance()
    return damages


def _arrays_that_differ(store: Store, dataset: Dataset, clip: int) -> list[str]:
    scene = dataset.sample(clip)
    drawn = DrawnClip(store.layout)
    values = empty_values(store.layout.arrays, 1)
    fill_clip(values, 0, scene, drawn.draw(scene), dataset.generator_names)
    now = {**drawn.arrays, **{name: value[0] for name, value in values.items()}}
    then = {}
    for spec in store.layout.stored:
        then[spec.name] = np.empty(spec.item_shape, spec.dtype)
        store.reader(spec.name).read_into(clip, then[spec.name])
    return [name for name in then if np.ascontiguousarray(now[name]).tobytes() != then[name].tobytes()]


def repair_store(store: Store, dataset: Dataset, damages: Sequence[Damage]) -> list[Damage]:
    """Render lost and damaged shards again, and write damaged metadata again.

    Nothing is replaced unless the new file has exactly the checksum that the store was sealed with.

    Args:
        store: opened.
        dataset: from ``stored_dataset``.
        damages: from ``verify_store``.

    Returns:
        What could not be repaired.

    Raises:
        StoreError: another process holds the store, or it cannot be written.
    """
    workspace = Workspace(store.path)
    try:
        workspace.create()
        with workspace.locked():
            left = [
                *_repair_documents(store, damages),
                *_repair_shards(store, dataset, workspace, damages),
            ]
            workspace.remove()
    except OSError as error:
        raise StoreError(writing_failed(error, f"store {store.path}")) from error
    return left


def _repair_documents(store: Store, damages: Sequence[Damage]) -> Iterator[Damage]:
    documents = {name: document.encode(value) for name, value in store.layout.metadata().items()}
    documents[store.manifest.copy_file] = store.manifest.to_bytes()
    if holds_only_ours(store.path):
        documents[ROOT] = store.manifest.to_bytes()
    for damage in damages:
        if damage.shard is not None or not damage.file:
            continue
        data = documents.get(damage.file)
        expected = store.manifest.metadata_digests.get(damage.file)
        if data is None or expected not in (None, document.digest(data)):
            yield damage
        else:
            store.storage.replace(damage.file, data)


def _repair_shards(store: Store, dataset: Dataset, workspace: Workspace, damages: Sequence[Damage]) -> Iterator[Damage]:
    damaged = sorted({damage.shard for damage in damages if damage.shard is not None and damage.file})
    clips = sum(len(store.layout.clips_of(shard)) for shard in damaged)
    with track(clips, "repair") as progress:
        for shard in damaged:
            files = {damage.file: damage for damage in damages if damage.shard == shard}
            yield from _repair_shard(store, dataset, workspace, shard, files, lambda clip: progress.advance())
    yield from (damage for damage in damages if not damage.file)


def _repair_shard(
    store: Store,
    dataset: Dataset,
    workspace: Workspace,
    shard: int,
    files: dict[str, Damage],
    on_clip: Callable[[int], Any],
) -> Iterator[Damage]:
    with workspace.drafts(shard) as folder:
        drafts, receipt = draft_shard(dataset, store.layout, folder, shard, on_clip)
        for spec in store.layout.stored:
            name = shard_file(spec, shard)
            if name not in files:
                continue
            if receipt[spec.name]["seal"] == store.manifest.shard_seals[spec.name][shard]:
                store.storage.put(name, drafts[name])
            else:
                yield files[name]
