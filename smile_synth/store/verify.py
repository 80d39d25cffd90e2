"""Checking every byte of a store, rendering clips again to compare, and repairing what is damaged."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from pydantic import ValidationError

from smile_synth.errors import DamagedStoreError, StoreError
from smile_synth.generator.dataset import Dataset
from smile_synth.params import first_problem
from smile_synth.progress import track
from smile_synth.randomness import stream
from smile_synth.recipe.dataset import DatasetParams
from smile_synth.store import document
from smile_synth.store.build import draft_shard, writing_failed
from smile_synth.store.clip_values import DrawnClip, empty_values, fill_clip
from smile_synth.store.consistency import inconsistencies
from smile_synth.store.layout import shard_file
from smile_synth.store.manifest import describe, first_difference
from smile_synth.store.reader import Store
from smile_synth.store.root import holds_only_ours, is_as_written, root_bytes
from smile_synth.store.spec import ArraySpec
from smile_synth.store.workspace import ROOT, Workspace

READ_NBYTES = 4 * 2**20


@dataclass(frozen=True)
class Finding:
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


def verify_store(store: Store, *, threads: int) -> list[Finding]:
    """Read and check every byte of a store, decode every clip, and check that its arrays fit together.

    Args:
        store: opened; a damaged root document is found by opening it.
        threads: how many files are read at a time.

    Returns:
        What is wrong, in the order of arrays and shards; empty for a sound store.
    """
    findings = [*_check_root(store), *_check_documents(store)]
    jobs = [(spec, shard) for spec in store.layout.arrays for shard in range(store.layout.num_shards)]
    clips = sum(len(store.layout.clips_of(shard)) for _, shard in jobs)
    with track(clips, "verify", unit="chunks") as progress, ThreadPoolExecutor(threads) as pool:
        for (_, shard), found in zip(jobs, pool.map(lambda job: _check_shard(store, *job), jobs), strict=True):
            progress.advance(len(store.layout.clips_of(shard)))
            findings += found
    if not any(finding.array for finding in findings):
        findings += [Finding("", reason, array, clip=clip) for array, clip, reason in inconsistencies(store)]
    return findings


def _check_root(store: Store) -> Iterator[Finding]:
    if not is_as_written(store.path, store.attributes):
        yield Finding(ROOT, "it was changed since the store was sealed")


def _check_documents(store: Store) -> Iterator[Finding]:
    for name, crc in store.attributes["metadata_checksums"].items():
        path = store.path / name
        if not path.is_file():
            yield Finding(name, "the file is missing", array=_array_of(name))
        elif document.crc_hex(path.read_bytes()) != crc:
            yield Finding(name, "the metadata fails its checksum", array=_array_of(name))


def _array_of(name: str) -> str:
    return name.removesuffix(f"/{ROOT}")


def _check_shard(store: Store, spec: ArraySpec, shard: int) -> list[Finding]:
    name = shard_file(spec, shard)
    try:
        crc = file_crc(store.path / name)
    except OSError as error:
        return [Finding(name, f"the file cannot be read ({error.strerror})", spec.name, shard)]
    is_whole = crc == store.attributes["shard_checksums"][spec.name][shard]
    found = [Finding(name, reason, spec.name, shard, clip) for clip, reason in _check_chunks(store, spec, shard)]
    if not is_whole and not found:
        found = [Finding(name, "the file fails its checksum", spec.name, shard)]
    return found


def _check_chunks(store: Store, spec: ArraySpec, shard: int) -> Iterator[tuple[int | None, str]]:
    reader = store.reader(spec.name)
    out = np.empty(spec.item_shape, spec.dtype)
    try:
        file = reader.open_shard(shard)
    except (DamagedStoreError, OSError) as error:
        yield None, str(error)
        return
    for slot, clip in enumerate(store.layout.clips_of(shard)):
        try:
            reader.decode(file, slot, out)
        except (DamagedStoreError, OSError) as error:
            yield clip, str(error)


def file_crc(path: Path) -> str:
    """Return the CRC-32C of a file as eight hex digits; only a few megabytes are in memory at a time."""
    crc = 0
    with path.open("rb") as file:
        while data := file.read(READ_NBYTES):
            crc = google_crc32c.extend(crc, data)
    return f"{crc:08x}"


def dataset_of(store: Store, folder: Path) -> Dataset:
    """Return the dataset that a store was rendered from.

    Args:
        store: whose recipe and seed to take.
        folder: what relative paths of the recipe start from.

    Raises:
        StoreError: the store's recipe is not valid here.
    """
    try:
        params = DatasetParams.model_validate(_recipe_with_motion(store))
    except ValidationError as error:
        raise StoreError(first_problem(error, DatasetParams, where=f"recipe of {store.path}")) from None
    return Dataset(params, seed=store.seed, folder=folder)


def _recipe_with_motion(store: Store) -> Any:
    """Return what the recipe says of the dataset; stores older than motion have none, and say nothing of it."""
    values = store.recipe.get("dataset")
    if "motion_cell_px" in store.attributes or not isinstance(values, dict):
        return values
    return {**values, "store": {**(values.get("store") or {}), "motion": None}}


def difference_now(store: Store, dataset: Dataset) -> str:
    """Return what is not as it was when the store was rendered, such as a version; empty if nothing."""
    return first_difference(store.attributes, describe(dataset, store.recipe))


def rerender(store: Store, dataset: Dataset, count: int) -> list[Finding]:
    """Render random clips again from recipe and seed, and compare every value with the store.

    Args:
        store: opened.
        dataset: from ``dataset_of``.
        count: how many clips, at most all.

    Returns:
        The clips that came out otherwise.
    """
    chosen = stream(secrets.randbits(63), "rerender").permutation(store.num_clips)[:count]
    findings = []
    with track(len(chosen), "rerender") as progress:
        for clip in sorted(chosen.tolist()):
            findings += [
                Finding("", "rendering it again gives other values", name, clip // store.layout.clips_per_shard, clip)
                for name in _arrays_that_differ(store, dataset, clip)
            ]
            progress.advance()
    return findings


def _arrays_that_differ(store: Store, dataset: Dataset, clip: int) -> list[str]:
    scene = dataset.sample(clip)
    drawn = DrawnClip(store.layout)
    values = empty_values(store.layout.arrays, 1)
    fill_clip(values, 0, scene, drawn.draw(scene), dataset.generator_names)
    now = {**drawn.arrays, **{name: value[0] for name, value in values.items()}}
    then = {}
    for spec in store.layout.arrays:
        then[spec.name] = np.empty(spec.item_shape, spec.dtype)
        store.reader(spec.name).read_into(clip, then[spec.name])
    return [name for name in now if np.ascontiguousarray(now[name]).tobytes() != then[name].tobytes()]


def repair_store(store: Store, dataset: Dataset, findings: Sequence[Finding]) -> list[Finding]:
    """Render lost and damaged shards again, and write damaged metadata again.

    Nothing is replaced unless the new file has exactly the checksum that the store was sealed with.

    Args:
        store: opened.
        dataset: from ``dataset_of``.
        findings: from ``verify_store``.

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
                *_repair_documents(store, workspace, findings),
                *_repair_shards(store, dataset, workspace, findings),
            ]
            workspace.remove()
    except OSError as error:
        raise StoreError(writing_failed(error, f"store {store.path}")) from error
    return left


def _repair_documents(store: Store, workspace: Workspace, findings: Sequence[Finding]) -> Iterator[Finding]:
    documents = {name: document.encode(value) for name, value in store.layout.metadata().items()}
    if holds_only_ours(store.path):
        documents[ROOT] = root_bytes(store.attributes)
    for finding in findings:
        if finding.shard is not None or not finding.file:
            continue
        data = documents.get(finding.file)
        expected = store.attributes["metadata_checksums"].get(finding.file)
        if data is None or expected not in (None, document.crc_hex(data)):
            yield finding
        else:
            document.replace(store.path / finding.file, data, drafts=workspace.folder)


def _repair_shards(
    store: Store, dataset: Dataset, workspace: Workspace, findings: Sequence[Finding]
) -> Iterator[Finding]:
    damaged = sorted({finding.shard for finding in findings if finding.shard is not None and finding.file})
    clips = sum(len(store.layout.clips_of(shard)) for shard in damaged)
    with track(clips, "repair") as progress:
        for shard in damaged:
            files = {finding.file: finding for finding in findings if finding.shard == shard}
            yield from _repair_shard(store, dataset, workspace, shard, files, lambda clip: progress.advance())
    yield from (finding for finding in findings if not finding.file)


def _repair_shard(
    store: Store,
    dataset: Dataset,
    workspace: Workspace,
    shard: int,
    files: dict[str, Finding],
    on_clip: Callable[[int], Any],
) -> Iterator[Finding]:
    with workspace.drafts(shard) as folder:
        drafts, receipt = draft_shard(dataset, store.layout, folder, shard, on_clip)
        for spec in store.layout.arrays:
            name = shard_file(spec, shard)
            if name not in files:
                continue
            if receipt[spec.name]["crc32c"] == store.attributes["shard_checksums"][spec.name][shard]:
                (store.path / name).parent.mkdir(parents=True, exist_ok=True)
                drafts[name].replace(store.path / name)
            else:
                yield files[name]
