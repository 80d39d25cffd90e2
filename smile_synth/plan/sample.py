"""A sample of a dataset, rendered here as a whole store and measured: time, bytes and memory of a clip."""

from __future__ import annotations

import os
import pickle
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from smile_synth.errors import ClusterError
from smile_synth.generator.dataset import Dataset
from smile_synth.machine.processes import serve_parent, single_threaded
from smile_synth.recipe.recipe import Recipe
from smile_synth.store import Store
from smile_synth.store.build import build_shard
from smile_synth.store.clip_values import DrawnClip
from smile_synth.store.layout import Layout, shard_file
from smile_synth.store.manifest import Manifest
from smile_synth.store.workspace import Workspace
from smile_synth.store.writer import completed_shards, fill_store, finish_store, render_store

CLIPS_TO_DRAW = 24
# A virtual store is so small that few clips tell its size.
VIRTUAL_CLIPS = 256
# Rendering, compressing and writing take up to this many times as long as sampling and drawing alone.
WRITING = 2.5
# The first shards of a process find cold caches of images; the second half of them is taken for the steady state.
SHARDS_A_WORKER = 6
NS = 1e-9


@dataclass(frozen=True)
class ShardTime:
    """What one shard took.

    Args:
        process: which process built it.
        cpu_s: processor time of all its threads.
        wall_s: from begin to end.
        queue_s: of that, ready to run but waiting for a core, because other processes had them.
        draw_s: processor time to sample and render a clip alone, as a median.
        begun_at_s: processor time of the process before the shard.
        peak_nbytes: largest memory of the process so far.
    """

    process: int
    cpu_s: float
    wall_s: float
    queue_s: float
    draw_s: float
    begun_at_s: float
    peak_nbytes: int

    @property
    def disk_s(self) -> float:
        """Time that the process waited for the disk."""
        return max(0.0, self.wall_s - self.cpu_s - self.queue_s)


@dataclass(frozen=True)
class Sample:
    """What a clip of a dataset takes here, in steady state.

    Args:
        clips: how many were rendered.
        workers: processes that rendered them, as many as there are cores.
        clips_per_shard: of the sample.
        cpu_s: core seconds to sample, render, compress and write a clip.
        disk_s: seconds that a process waits for the disk, a clip.
        draw_s: core seconds to sample and render a clip that is not stored.
        read_s: core seconds to read and decode a stored clip.
        start_s: core seconds that a process takes until it renders, and longer than later for its first shards.
        finish_s: seconds that sealing a store takes for each of its files.
        worker_nbytes: largest memory of a process.
        num_files: files of a shard, that is arrays.
        nbytes: stored bytes of a clip, by array.
        virtual_nbytes: bytes of a clip in a virtual store, which keeps no frames, motion and truth.
        frames_nbytes: bytes of a clip's frames before compression.
        num_backgrounds: rows of the asset table that are backgrounds.
        busy_share: share of the time that processes waited for a core: 0 on a quiet machine.
    """

    clips: int
    workers: int
    clips_per_shard: int
    cpu_s: float
    disk_s: float
    draw_s: float
    read_s: float
    start_s: float
    finish_s: float
    worker_nbytes: int
    num_files: int
    nbytes: dict[str, float]
    virtual_nbytes: float
    frames_nbytes: int
    num_backgrounds: int
    busy_share: float

    @property
    def stored_nbytes(self) -> float:
        """Bytes of a stored clip, all arrays."""
        return sum(self.nbytes.values())


def measure(recipe: Recipe, dataset: Dataset, folder: Path, *, seconds: float, workers: int) -> Sample:
    """Render a sample into a store in ``folder``, read it, and say what a clip took.

    Args:
        recipe: with a section ``dataset``.
        dataset: that section's.
        folder: an empty one; the sample stays in it.
        seconds: about how long to render; at least ``SHARDS_A_WORKER`` shards a process on average.
        workers: processes, as many as there are cores here.

    Raises:
        ClusterError: a process was killed.
        SmileSynthError: a clip could not be made or written.
    """
    drawn = DrawnClip(Manifest.of(dataset, {}).layout)
    few = range(min(CLIPS_TO_DRAW, len(dataset)))
    # Once with images to be read, once without: a long rendering lies between.
    draw_s = (_time_drawing(dataset, drawn, few) + _time_drawing(dataset, drawn, few)) / 2
    # Small sizes of shards only where clips are slow: the size decides what is paid once for every shard.
    longest = max(8, int(seconds / SHARDS_A_WORKER / (WRITING * draw_s)))
    clips_per_shard = min(dataset.params.store.clips_per_shard, len(dataset), longest)
    shards = max(SHARDS_A_WORKER, round(seconds / (clips_per_shard * WRITING * draw_s)))
    sampled = _resized(dataset, clips=shards * workers * clips_per_shard, clips_per_shard=clips_per_shard)
    engine = _MeasuringEngine(workers)
    values = recipe.resolved() | {"dataset": sampled.params.model_dump(mode="json")}
    path = folder / "sample.zarr"
    fill_store(sampled, path, recipe=values, engine=engine, label="plan: sample")
    finish_s = _time_looking(Workspace(path), Manifest.of(sampled, values).layout)
    small = _resized(dataset, clips=min(VIRTUAL_CLIPS, len(dataset)), clips_per_shard=clips_per_shard)
    virtual = render_store(small, folder / "virtual.zarr", recipe=values, is_virtual=True, label="plan: virtual")
    return _summary(finish_store(path), virtual, engine.times, finish_s=finish_s, workers=workers)


def _summary(store: Store, virtual: Store, times: Sequence[ShardTime], *, finish_s: float, workers: int) -> Sample:
    processes = _by_process(times)
    steady = [shard for shards in processes for shard in shards[len(shards) // 2 :]]
    layout, size = store.layout, store.layout.clips_per_shard
    cpu_s = median(shard.cpu_s for shard in steady)
    return Sample(
        clips=store.num_clips,
        workers=workers,
        clips_per_shard=size,
        cpu_s=cpu_s / size,
        disk_s=median(shard.disk_s for shard in steady) / size,
        draw_s=median(shard.draw_s for shard in steady),
        read_s=_time_reading(store),
        start_s=median(
            shards[0].begun_at_s + sum(max(0.0, shard.cpu_s - cpu_s) for shard in shards[: len(shards) // 2])
            for shards in processes
        ),
        finish_s=finish_s,
        worker_nbytes=max(shard.peak_nbytes for shard in times),
        num_files=len(layout.arrays),
        nbytes=_nbytes(store),
        virtual_nbytes=sum(_nbytes(virtual).values()),
        frames_nbytes=layout.array("frames").item_nbytes,
        num_backgrounds=sum(row.kind == "background" for row in store.assets),
        busy_share=sum(s.queue_s for s in times) / max(sum(s.wall_s for s in times), NS),
    )


def _by_process(times: Sequence[ShardTime]) -> list[list[ShardTime]]:
    """Return the shards of each process, in the order in which it built them."""
    processes: dict[int, list[ShardTime]] = {}
    for shard in times:
        processes.setdefault(shard.process, []).append(shard)
    return list(processes.values())


def _nbytes(store: Store) -> dict[str, float]:
    """Return the stored bytes of a clip, by array, what stands around it in its shard included."""
    layout, sizes = store.layout, store.storage.list()
    return {
        spec.name: sum(sizes[shard_file(spec, shard)] for shard in range(layout.num_shards)) / store.num_clips
        for spec in layout.stored
    }


def _time_drawing(dataset: Dataset, drawn: DrawnClip, clips: Sequence[int]) -> float:
    """Return the core seconds that sampling and rendering a clip takes, as a median."""
    times = []
    for clip in clips:
        began = time.thread_time()
        drawn.draw(dataset.sample(clip))
        times.append(time.thread_time() - began)
    # The first ones also read images.
    return max(median(times[len(times) // 3 :]), 1e-6)


def _time_looking(workspace: Workspace, layout: Layout) -> float:
    """Return the seconds that it takes to see, of one file of a shard, that it is complete."""
    began = time.thread_time()
    completed = completed_shards(workspace, layout)
    return (time.thread_time() - began) / (len(completed) * len(layout.arrays))


def _time_reading(store: Store) -> float:
    """Return the core seconds that reading and decoding the frames of a clip takes, files being in memory."""
    reader = store.reader("frames")
    frames = np.empty(reader.spec.item_shape, np.uint8)
    clips = np.random.Generator(np.random.Philox(0)).permutation(store.num_clips)[: 8 * CLIPS_TO_DRAW].tolist()
    for clip in clips:
        reader.read_into(clip, frames)
    began = time.thread_time()
    for clip in clips:
        reader.read_into(clip, frames)
    return (time.thread_time() - began) / len(clips)


def _resized(dataset: Dataset, *, clips: int, clips_per_shard: int) -> Dataset:
    store = dataset.params.store.model_copy(update={"clips_per_shard": clips_per_shard})
    params = dataset.params.model_copy(update={"clips": clips, "store": store})
    return Dataset(params, seed=dataset.seed, folder=dataset.folder, typed=dataset.typed, assets=dataset.assets)


class _MeasuringEngine:
    """Builds shards in as many processes as there are cores, all at work at once, and times each.

    Args:
        workers: processes.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.times: list[ShardTime] = []

    def __call__(
        self,
        dataset: Dataset,
        layout: Layout,
        workspace: Workspace,
        shards: Sequence[int],
        *,
        advance: Callable[[int], None],
    ) -> None:
        packed = pickle.dumps((dataset, layout, workspace))
        pool = ProcessPoolExecutor(self.workers, mp_context=get_context("spawn"), initializer=serve_parent)
        try:
            with single_threaded():
                self._build(pool, packed, layout, shards, advance)
        except BrokenProcessPool as error:
            raise ClusterError(
                "a process that rendered the sample was killed; if memory ran out, use fewer --workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)

    def _build(
        self,
        pool: ProcessPoolExecutor,
        packed: bytes,
        layout: Layout,
        shards: Sequence[int],
        advance: Callable[[int], None],
    ) -> None:
        waiting, running = list(reversed(shards)), dict[Future[ShardTime], int]()
        while waiting or running:
            while waiting and len(running) < self.workers:
                shard = waiting.pop()
                running[pool.submit(_timed, packed, shard)] = shard
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                advance(len(layout.clips_of(running.pop(future))))
                self.times.append(future.result())


@lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Any:
    return pickle.loads(packed)


def _timed(packed: bytes, shard: int) -> ShardTime:
    dataset, layout, workspace = _unpacked(packed)
    begun_at_s, queued_s, began = time.process_time(), _queued_s(), time.perf_counter()
    build_shard(dataset, layout, workspace, shard, lambda clip: None)
    wall_s = time.perf_counter() - began
    cpu_s, queue_s = time.process_time() - begun_at_s, _queued_s() - queued_s
    draw_s = _time_drawing(dataset, DrawnClip(layout), layout.clips_of(shard)[:CLIPS_TO_DRAW])
    return ShardTime(os.getpid(), cpu_s, wall_s, queue_s, draw_s, begun_at_s, _peak_nbytes())


def _peak_nbytes() -> int:
    """Return the largest memory of this process so far."""
    try:
        # What getrusage says on Linux begins with the memory of the process that started this one.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _queued_s() -> float:
    """Return how long this thread was ready to run but had no core, 0 where the system does not say."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) * NS
    except (OSError, ValueError, IndexError):
        return 0.0
