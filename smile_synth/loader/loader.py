"""Shuffled uint8 batches from one or several stores, or from a stream, in an order that nothing disturbs."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from smile_synth.errors import DamagedStoreError, LoaderError
from smile_synth.loader.batch import Batch, ClipFeatures
from smile_synth.loader.buffers import Buffers, OwnBuffers, SharedBuffers
from smile_synth.loader.checks import (
    check_choices,
    check_features,
    check_split,
    check_stores,
    check_streams,
    motion_readers,
)
from smile_synth.loader.memory import BatchShape
from smile_synth.loader.order import epoch_order, epoch_quotas
from smile_synth.loader.pool import RenderPool, Task
from smile_synth.machine.cores import cores_of_a_rank, num_cores
from smile_synth.store import Store
from smile_synth.store.fetching import ahead
from smile_synth.store.rendering import ClipReader
from smile_synth.store.spec import ArraySpec
from smile_synth.store.storage.client import give_up_with
from smile_synth.store.storage.contract import IN_FLIGHT
from smile_synth.store.stream import MOST_CLIPS, Stream

CLIPS_A_TASK = 8
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Offset:
    """Where the loader is: ``offset`` clips into the order of ``epoch``."""

    epoch: int = 0
    offset: int = 0


@dataclass(eq=False)
class _Reading:
    """A batch whose clips are being read; ``damaged`` says which places failed."""

    batch: Batch
    tasks: list[Future[None]] = field(default_factory=list)
    damaged: dict[int, DamagedStoreError] = field(default_factory=dict)


class Loader:
    """Endless batches of random clips; every clip comes exactly once an epoch, from all stores together.

    The order is a pure function of (seed, epoch). Clips are read by threads, straight into the batch; memory is that
    of ``prefetch`` + 1 batches and those that the caller still holds. Clips of virtual stores and streams are rendered
    by processes, straight into the batch too. The clips of a stream come in the order of their numbers, none twice.
    What cannot be read is raised again by the next call, until ``load_position(loader.position)`` has it tried again.

    Args:
        stores: what to read; all of one canvas. A stream is read alone.
        batch_size: clips of a global batch, over all ranks.
        seed: decides the order.
        rank, world_size: which equal part of every global batch this loader reads.
        weights: share of each store in an epoch, above 0; an epoch then has as many clips as before, small stores
            come several times, large ones continue where they were in the next epoch. None: every clip once an epoch.
        last: ``drop`` the last incomplete batch of an epoch, or ``pad`` it with clips of the epoch's beginning.
        on_error: ``stop`` at a damaged clip, or ``skip`` it: another clip of the batch takes its place.
        motion: read the exact motion of what is visible, too.
        features: cached features of each store's clips, to be read, too.
        pin: put all of it into page-locked memory, for copies to a GPU that do not wait.
        prefetch: batches read ahead.
        threads: reading threads; by default one a core, and 32 for stores in object stores.
        render_workers: processes that render clips; by default one a core, divided among the ranks of this host.
        first_clip: of a stream, where epoch 0 starts.

    Raises:
        LoaderError: the stores do not go together, or a batch does not go over the ranks.

    Examples:
        >>> with ss.Loader([ss.open_store("clips.zarr")], batch_size=16, seed=0, motion=True) as loader:
        ...     batch = next(iter(loader))
        >>> loader.steps_per_epoch, batch.frames_BTHWC.shape, batch.motion_BTHW2.shape
        (4, torch.Size([16, 8, 32, 32, 3]), torch.Size([16, 8, 4, 4, 2]))
    """

    def __init__(
        self,
        stores: Sequence[Store],
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        weights: Sequence[float] | None = None,
        last: Literal["drop", "pad"] = "drop",
        on_error: Literal["stop", "skip"] = "stop",
        motion: bool = False,
        features: Sequence[ClipFeatures] = (),
        pin: bool = False,
        prefetch: int = 2,
        threads: int | None = None,
        render_workers: int | None = None,
        first_clip: int = 0,
    ) -> None:
        check_stores(stores)
        check_split(batch_size, rank, world_size)
        check_choices(last, on_error, prefetch, threads, render_workers)
        check_streams(stores, weights, first_clip)
        self.stores = tuple(stores)
        self.batch_size, self.seed, self.rank, self.world_size = batch_size, seed, rank, world_size
        self.canvas = stores[0].canvas
        self.max_objects = max(store.layout.array("boxes").item_shape[0] for store in stores)
        motions = motion_readers(stores) if motion else []
        self._readers = {
            place: (store.reader("frames"), store.reader("boxes"), *motions[place : place + 1])
            for place, store in enumerate(stores)
            if not store.is_virtual
        }
        self._features = tuple(features)
        check_features(self._features, len(stores))
        self.skipped: list[tuple[str, int]] = []
        self.wait_seconds = 0.0
        self._last, self._on_error, self._pin, self._prefetch = last, on_error, pin, prefetch
        self._first_clip, stream = first_clip, next((store for store in stores if isinstance(store, Stream)), None)
        self._is_stream = stream is not None
        self._sizes = tuple(len(store) for store in stores)
        self._quotas = epoch_quotas(self._sizes, weights) if stream is None else (self._epoch_of(stream),)
        self._num_clips = sum(self._quotas)
        self._check_not_empty()
        self._order = lru_cache(maxsize=2)(self._make_order)
        self._pool, self._buffers = self._make_buffers(render_workers, motions[0].spec if motions else None)
        self._pending: deque[_Reading] = deque()
        # Their memory may still be written into.
        self._dropped: list[_Reading] = []
        self._next = self._issued = _Offset()
        self._is_remote = any(store.storage.is_remote for store in stores)
        threads = threads or (IN_FLIGHT if self._is_remote else num_cores())
        self._is_closing = threading.Event()
        self._executor = ThreadPoolExecutor(
            threads, thread_name_prefix="smile-synth-loader", initializer=give_up_with, initargs=(self._is_closing,)
        )

    @property
    def canvas_shape(self) -> tuple[int, int, int, int]:
        """(T, H, W, 3) of every clip."""
        return (self.canvas.num_frames, self.canvas.height, self.canvas.width, 3)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return self._num_clips // self.batch_size if self._last == "drop" else -(-self._num_clips // self.batch_size)

    @property
    def position(self) -> dict[str, Any]:
        """Where a loader resumes: the position of the last batch that was handed out."""
        return self._describe(self._next)

    def load_position(self, position: Mapping[str, Any]) -> None:
        """Resume where a batch's position says, on any number of ranks.

        Args:
            position: of a batch, or of a loader.

        Raises:
            LoaderError: the position belongs to other stores, weights or another seed, or lies in no epoch.
        """
        if position.get("data") != self._fingerprint():
            raise LoaderError(
                "the position was saved with other stores, weights or another seed; "
                "give the same --data in the same order, or start a new run"
            )
        at = _Offset(int(position["epoch"]), int(position["offset"]))
        if not (at.epoch >= 0 and 0 <= at.offset <= self._num_clips + self.batch_size):
            raise LoaderError(
                f"a position must lie within an epoch of {self._num_clips} clips, "
                f"got epoch {at.epoch}, offset {at.offset}"
            )
        self._drop_pending()
        self._next = self._issued = self._normalised(at)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield self._take()

    def close(self) -> None:
        """Stop reading, and say what was skipped."""
        self._is_closing.set()
        if self._pool is not None:
            self._pool.close()
        self._drop_pending()
        self._executor.shutdown(cancel_futures=True)
        if self.skipped:
            named = ", ".join(f"{path} clip {clip}" for path, clip in self.skipped[:5])
            LOG.warning("%d damaged clips were skipped: %s", len(self.skipped), named)

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _local_size(self) -> int:
        return self.batch_size // self.world_size

    def _check_not_empty(self) -> None:
        if self.steps_per_epoch == 0:
            raise LoaderError(
                f"a batch of {self.batch_size} needs at least as many clips, the stores have {self._num_clips}; "
                f"make the batch smaller, or pad the last batch"
            )

    def _epoch_of(self, stream: Stream) -> int:
        """Return the clips of a stream's epoch: whole batches, since its clips never end."""
        clips = MOST_CLIPS if stream.epoch_clips is None else stream.epoch_clips
        if self._last == "drop" or stream.epoch_clips is None:
            return clips // self.batch_size * self.batch_size
        return -(-clips // self.batch_size) * self.batch_size

    def _make_buffers(
        self, render_workers: int | None, motion_spec: ArraySpec | None
    ) -> tuple[RenderPool | None, Buffers]:
        shape = BatchShape(
            (self._local_size, *self.canvas_shape),
            (self._local_size, self.max_objects, self.canvas.num_frames, 4),
            (self._local_size, *motion_spec.item_shape) if motion_spec is not None else None,
        )
        rendered = [place for place, store in enumerate(self.stores) if store.is_virtual]
        self._place_in_pool = {place: number for number, place in enumerate(rendered)}
        if not rendered:
            return None, OwnBuffers(shape, pin=self._pin)
        datasets = [self.stores[place].renderer.dataset for place in rendered]
        pool = RenderPool(datasets, shape, num_workers=render_workers or cores_of_a_rank(os.environ, num_cores()))
        return pool, SharedBuffers(shape, pool, pin=self._pin)

    def _fingerprint(self) -> str:
        parts: list[Any] = [self.seed, self._quotas, [store.digest for store in self.stores]]
        if self._is_stream:
            parts.append(self._first_clip)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def _describe(self, at: _Offset) -> dict[str, Any]:
        return {"epoch": at.epoch, "offset": at.offset, "data": self._fingerprint()}

    def _make_order(self, epoch: int) -> npt.NDArray[np.int64]:
        return epoch_order(self.seed, epoch, self._sizes, self._quotas)

    def _normalised(self, at: _Offset) -> _Offset:
        """Return the offset where the next batch begins, which may be the next epoch."""
        left = self._num_clips - at.offset
        is_over = left < self.batch_size if self._last == "drop" else left <= 0
        return _Offset(at.epoch + 1, 0) if is_over else at

    def _take(self) -> Batch:
        while len(self._pending) <= self._prefetch and self._has_clips(self._issued):
            self._issue()
        if not self._pending:
            raise LoaderError(
                f"the clips of {self.stores[0].path} are used up: their numbers end at {MOST_CLIPS - 1}; begin a "
                f"stream with another seed in its recipe"
            )
        reading = self._pending[0]
        began = time.perf_counter()
        for task in reading.tasks:
            task.result()
        self.wait_seconds += time.perf_counter() - began
        self._replace_damaged(reading)
        # Not before it is complete: an error, or Ctrl-C, must not cost a batch.
        self._pending.popleft()
        self._next = _Offset(reading.batch.position["epoch"], reading.batch.position["offset"])
        return reading.batch

    def _has_clips(self, at: _Offset) -> bool:
        """Whether there is a batch: a stream ends once its numbers are used up."""
        end = self._first_clip + at.epoch * self._num_clips + at.offset + self.batch_size
        return not self._is_stream or end <= MOST_CLIPS

    def _issue(self) -> None:
        at = self._issued
        after = self._normalised(_Offset(at.epoch, at.offset + self.batch_size))
        batch, memory = self._plan(at, after)
        reading = _Reading(batch)
        try:
            self._submit(reading, memory)
        except BaseException:
            self._dropped.append(reading)
            raise
        self._pending.append(reading)
        self._issued = after

    def _submit(self, reading: _Reading, memory: int) -> None:
        batch = reading.batch
        for rows in self._tasks(batch):
            place = int(batch.store_B[rows[0]])
            if self._pool is not None and place in self._place_in_pool:
                clips = tuple(batch.clips_B[rows].tolist())
                reading.tasks.append(self._pool.submit(Task(memory, tuple(rows), self._place_in_pool[place], clips)))
            if place in self._readers or self._features:
                reading.tasks.append(self._executor.submit(self._read, reading, rows))

    def _tasks(self, batch: Batch) -> list[list[int]]:
        """Return the rows that each task reads; they are of one store, and neighbours where that saves requests."""
        clips, places = batch.clips_B.numpy(), batch.store_B.numpy()
        size = min(CLIPS_A_TASK, max(1, self._local_size // IN_FLIGHT)) if self._is_remote else CLIPS_A_TASK
        order = np.lexsort((clips, places)) if self._is_remote else np.argsort(places, kind="stable")
        by_store = np.split(order, np.flatnonzero(np.diff(places[order])) + 1)
        return [rows[at : at + size].tolist() for rows in by_store for at in range(0, len(rows), size)]

    def _plan(self, at: _Offset, after: _Offset) -> tuple[Batch, int]:
        """Return the batch between two places, whose clips are not read yet, and the number of its memory."""
        first = self.rank * self._local_size
        places = at.offset + first + np.arange(self._local_size)
        if self._is_stream:
            ids = self._first_clip + at.epoch * self._num_clips + places
        else:
            ids = self._order(at.epoch)[places % self._num_clips]
        bounds = np.cumsum((0, *self._sizes))
        store_B = np.searchsorted(bounds, ids, side="right") - 1
        memory = self._buffers.take()
        batch = Batch(
            frames_BTHWC=memory.frames_BTHWC,
            boxes_BKT4=memory.boxes_BKT4,
            clips_B=torch.from_numpy(ids - bounds[store_B]),
            store_B=torch.from_numpy(store_B.astype(np.int64)),
            first=first,
            epoch=at.epoch,
            step=at.offset // self.batch_size,
            position=self._describe(after),
            motion_BTHW2=memory.motion_BTHW2,
            features_BND=self._empty_features(),
        )
        return batch, memory.number

    def _empty_features(self) -> torch.Tensor | None:
        if not self._features:
            return None
        is_half = all(features.dtype == "float16" for features in self._features)
        shape = (self._local_size, *self._features[0].shape)
        return torch.empty(shape, dtype=torch.float16 if is_half else torch.float32, pin_memory=self._pin)

    def _read(self, reading: _Reading, rows: Sequence[int]) -> None:
        batch = reading.batch
        clips, place = batch.clips_B.numpy(), int(batch.store_B[rows[0]])
        numbers = clips[rows].tolist()
        readers = [ahead(reader, numbers) for reader in self._readers.get(place, ())]
        for row, clip in zip(rows, numbers, strict=True):
            try:
                if readers:
                    self._read_clip(batch, row, clip, readers)
                if batch.features_BND is not None:
                    self._features[place].read_into(clip, batch.features_BND.numpy()[row])
            except DamagedStoreError as error:
                if self._on_error == "stop":
                    raise
                reading.damaged[row] = error

    def _read_clip(self, batch: Batch, row: int, clip: int, readers: Sequence[ClipReader]) -> None:
        frames, boxes, *others = readers
        frames.read_into(clip, batch.frames_BTHWC.numpy()[row])
        boxes.read_into(clip, batch.boxes_BKT4.numpy()[row, : boxes.spec.item_shape[0]])
        for motion in others:
            assert batch.motion_BTHW2 is not None
            motion.read_into(clip, half_THW2 := np.empty(motion.spec.item_shape, motion.spec.dtype))
            batch.motion_BTHW2.numpy()[row] = half_THW2

    def _replace_damaged(self, reading: _Reading) -> None:
        if not reading.damaged:
            return
        healthy = [row for row in range(self._local_size) if row not in reading.damaged]
        if not healthy:
            raise next(iter(reading.damaged.values()))
        batch = reading.batch
        for place, row in enumerate(sorted(reading.damaged)):
            source = healthy[place % len(healthy)]
            self.skipped.append((str(self.stores[int(batch.store_B[row])].path), int(batch.clips_B[row])))
            always = (batch.frames_BTHWC, batch.boxes_BKT4, batch.clips_B, batch.store_B)
            for tensor in (*always, batch.motion_BTHW2, batch.features_BND):
                if tensor is not None:
                    tensor[row] = tensor[source]

    def _drop_pending(self) -> None:
        self._dropped += self._pending
        self._pending.clear()
        self._issued = self._next
        # A process keeps the tasks that it has at hand, and writes into their memory until they are done.
        wait([task for reading in self._dropped for task in reading.tasks if not task.cancel()])
        self._dropped.clear()
