"""A virtual store made full, and a full one virtual: built beside it, then exchanged with it at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from smile_synth.errors import StoreError
from smile_synth.files import exchange
from smile_synth.generator.dataset import Dataset
from smile_synth.store.build import build_shard
from smile_synth.store.clip_values import Values
from smile_synth.store.engines.workers import build_with_processes
from smile_synth.store.layout import Layout
from smile_synth.store.manifest import Manifest, differs_beyond_code, first_difference, virtual_document
from smile_synth.store.origin import stored_dataset
from smile_synth.store.reader import Store
from smile_synth.store.sample import ClipSample
from smile_synth.store.verify import verify_store
from smile_synth.store.workspace import Workspace
from smile_synth.store.writer import Engine, fill_as, finish_store, in_processes, in_this_process

NEW_SUFFIX = {True: ".slimming", False: ".materialising"}


def materialise(store: Store, *, out: Path | None = None, workers: int = 0) -> Store:
    """Render the frames, motion and truth of a virtual store into files, as rendering it would have at first.

    Killed at any moment, it resumes when it is called again.

    Args:
        store: virtual.
        out: folder of the full store; None: it takes the place of the virtual one.
        workers: processes; 0 renders in this process.

    Returns:
        The full store.

    Raises:
        StoreError: the clips cannot be rendered as they were, or the store cannot be written.
        GeneratorError: a generator failed.
    """
    if not store.is_virtual:
        return _settled(store, is_virtual=False)
    path = _folder_of(store)
    with _held(path):
        engine = in_processes(workers) if workers else in_this_process
        new = out or _beside(path, is_virtual=False)
        fill_as(store.manifest.of_kind(None), store.renderer.dataset, new, engine=engine, label="materialise")
        _check_sample(store, finish_store(new))
        return _put(path, new, out)


def slim(store: Store, *, folder: Path = Path(), trust_code: bool = False, workers: int = 0, threads: int = 1) -> Store:
    """Make a full store virtual, once every byte was checked and every clip was rendered again with the same values.

    Killed at any moment, it resumes when it is called again.

    Args:
        store: full.
        folder: where relative paths of its recipe start.
        trust_code: let its recipe run generators that no installed package registers.
        workers: processes; 0 renders in this process.
        threads: how many files are checked at a time.

    Returns:
        The virtual store, in the place of the full one.

    Raises:
        StoreError: the store is damaged, or a clip comes out otherwise; the store is as it was.
        UntrustedCodeError: the recipe names code that may not be run.
    """
    if store.is_virtual:
        return _settled(store, is_virtual=True)
    path = _folder_of(store)
    with _held(path):
        damages = verify_store(store, threads=threads)
        if damages:
            raise StoreError(
                f"{store.path} has {len(damages)} damaged places, the first: {damages[0]}; nothing was changed, repair "
                f"it with: smile-synth verify {store.path} --repair"
            )
        dataset = stored_dataset(store.path, store.manifest, folder, trust_code=trust_code)
        now = Manifest.of(dataset, store.recipe)
        if differs_beyond_code(store.manifest, now):
            raise StoreError(
                f"{store.path} cannot be made virtual: {first_difference(store.manifest, now)}; nothing was changed"
            )
        new = _beside(path, is_virtual=True)
        manifest = store.manifest.of_kind(virtual_document(dataset))
        fill_as(manifest, dataset, new, engine=_comparing(path, workers), label="slim")
        finish_store(new)
        return _put(path, new, None)


def _comparing(path: Path, workers: int) -> Engine:
    """Return the engine that builds shards of a virtual store, and compares each clip with the store at ``path``."""

    def engine(
        dataset: Dataset,
        layout: Layout,
        workspace: Workspace,
        shards: Sequence[int],
        *,
        advance: Callable[[int], None],
    ) -> None:
        build = partial(_build_compared, path)
        if workers:
            build_with_processes(dataset, layout, workspace, shards, num_workers=workers, advance=advance, build=build)
            return
        for shard in shards:
            build(dataset, layout, workspace, shard, lambda clip: advance(1))

    return engine


def _build_compared(
    path: Path, dataset: Dataset, layout: Layout, workspace: Workspace, shard: int, on_clip: Callable[[int], None]
) -> None:
    stored = Store.open(path)

    def check(clip: int, values: Values) -> None:
        for spec in stored.layout.arrays:
            then = np.empty(spec.item_shape, np.dtype(spec.dtype).newbyteorder("<"))
            stored.reader(spec.name).read_into(clip, then)
            now = np.ascontiguousarray(values[spec.name], dtype=then.dtype)
            if now.tobytes() != then.tobytes():
                raise StoreError(
                    f"{path} cannot be made virtual: clip {clip} rendered again has other {spec.name}; nothing was "
                    f"changed"
                )

    build_shard(dataset, layout, workspace, shard, on_clip, check)


def _check_sample(virtual: Store, full: Store) -> None:
    """Compare the sampled clips of a virtual store with what was rendered into a full one."""
    root, layout = virtual.manifest, virtual.layout
    specs = [spec for spec in layout.arrays if spec.is_rendered]
    for shard in range(layout.num_shards):
        sample = ClipSample(layout, shard)
        for clip in sample.clips:
            arrays = {spec.name: np.empty(spec.item_shape, spec.dtype) for spec in specs}
            for name, values in arrays.items():
                full.reader(name).read_into(clip, values)
            sample.add(clip, arrays)
        for array, clip in sample.differing({name: seals[shard] for name, seals in root.shard_seals.items()}):
            raise StoreError(
                f"{virtual.path}: clip {clip} was rendered with other {array} than when the store was made; the store "
                f"is as it was, what was rendered is in {full.path}"
            )


def _folder_of(store: Store) -> Path:
    if isinstance(store.path, Path):
        return store.path
    raise StoreError(f"{store.path} lies in an object store, where stores cannot be exchanged; render it anew")


def _beside(path: Path, *, is_virtual: bool) -> Path:
    return path.with_name(path.name + NEW_SUFFIX[is_virtual])


def _put(path: Path, new: Path, out: Path | None) -> Store:
    """Let a new store take the place of the one at ``path``, unless it has a place of its own."""
    if out is not None:
        return Store.open(out)
    try:
        exchange(path, new)
    except OSError as error:
        raise StoreError(
            f"{path} and {new} cannot be exchanged ({error.strerror}); both are whole: move them by hand"
        ) from error
    shutil.rmtree(new, ignore_errors=True)
    return Store.open(path)


def _settled(store: Store, *, is_virtual: bool) -> Store:
    """Return a store that is of the wanted kind already, and remove what a kill after the exchange left beside it."""
    left = _beside(_folder_of(store), is_virtual=is_virtual)
    with contextlib.suppress(StoreError):
        other = Store.open(left)
        if other.is_virtual != is_virtual and other.manifest.id == store.manifest.id:
            shutil.rmtree(left, ignore_errors=True)
    return store


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Keep others from converting the store at ``path`` meanwhile; the lock ends with the process."""
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StoreError(f"{path} is being converted by another process; wait until it ends") from None
    finally:
        os.close(handle)
