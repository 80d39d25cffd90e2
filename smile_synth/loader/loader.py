"""Shuffled uint8 batches from one or several stores: read by threads, in an order that nothing disturbs."""

from __future__ import annotations

import hashlib
import logging
import time
import weakref
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch

from smile_synth.errors import DamagedStoreError, LoaderError
from smile_synth.loader.order import epoch_order, epoch_quotas
from smile_synth.machine.cores import num_cores
from smile_synth.store import Store
from smile_synth.store.fetching import ahead
from smile_synth.store.rendering import ClipReader
from smile_synth.store.storage.contract import IN_FLIGHT

CLIPS_A_TASK = 8
LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Batch:
    """One rank's part of a global batch.

    Args:
        frames_BTHWC: uint8, in pinned memory if asked for.
        boxes_BKT4: float32, xyxy in canvas pixels, NaN = absent.
        clips_B: int64, clip numbers inside their stores.
        store_B: int64, places of the stores in the loader's list.
        first: place of the first clip in the global batch.
        epoch: number of the epoch, from 0.
        step: place of the batch in its epoch.
        motion_BTHW2: float32 (B, T, H / cell, W / cell, 2), mean displacement to the next frame in pixels, NaN where
            undefined; None unless the loader reads motion.
        features_BND: float16 or float32 (B, N, D), cached features of a teacher; None unless the loader reads them.
        position: where to resume once this batch is trained on, for ``Loader.load_position`` of any number of ranks.
    """

    frames_BTHWC: torch.Tensor
    boxes_BKT4: torch.Tensor
    clips_B: torch.Tensor
    store_B: torch.Tensor
    first: int
    epoch: int
    step: int
    position: dict[str, Any]
    motion_BTHW2: torch.Tensor | None = None
    features_BND: torch.Tensor | None = None


class ClipFeatures(Protocol):
    """Features of every clip of a store, read from any thread."""

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D) of one clip's features."""

    @property
    def dtype(self) -> Literal["float16", "float32"]:
        """Type that features are read as without loss."""

    def read_into(self, clip: int, out: npt.NDArray[Any]) -> None:
        """Read one clip's features into float16 or float32 (N, D)."""


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
    of ``prefetch`` + 1 batches and those that the caller still holds.

    Args:
        stores: what to read; all of one canvas.
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

    Raises:
        LoaderError: the stores do not go together, or a batch does not go over the ranks.
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
    ) -> None:
        _check_stores(stores)
        _check_split(batch_size, rank, world_size)
        _check_choices(last, on_error, prefetch, threads)
        self.stores = tuple(stores)
        self.batch_size, self.seed, self.rank, self.world_size = batch_size, seed, rank, world_size
        self.canvas = stores[0].canvas
        self.max_objects = max(store.layout.array("boxes").item_shape[0] for store in stores)
        self._readers = [(store.reader("frames"), store.reader("boxes")) for store in stores]
        self._motion_readers = _motion_readers(stores) if motion else []
        self._features = tuple(features)
        _check_features(self._features, len(stores))
        self.skipped: list[tuple[str, int]] = []
        self.wait_seconds = 0.0
        self._last, self._on_error, self._pin, self._prefetch = last, on_error, pin, prefetch
        self._sizes = tuple(len(store) for store in stores)
        self._quotas = epoch_quotas(self._sizes, weights)
        self._num_clips = sum(self._quotas)
        self._check_not_empty()
        self._order = lru_cache(maxsize=2)(self._make_order)
        self._buffers = _Buffers(self._local_size, self.canvas_shape, pin=pin)
        self._pending: deque[_Reading] = deque()
        self._next = self._issued = _Offset()
        self._is_remote = any(store.storage.is_remote for store in stores)
        threads = threads or (IN_FLIGHT if self._is_remote else num_cores())
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="smile-synth-loader")

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

    def _fingerprint(self) -> str:
        parts = [self.seed, self._quotas, [store.digest for store in self.stores]]
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
        while len(self._pending) <= self._prefetch:
            self._pending.append(self._issue())
        reading = self._pending.popleft()
        began = time.perf_counter()
        for task in reading.tasks:
            task.result()
        self.wait_seconds += time.perf_counter() - began
        self._replace_damaged(reading)
        self._next = _Offset(reading.batch.position["epoch"], reading.batch.position["offset"])
        return reading.batch

    def _issue(self) -> _Reading:
        at = self._issued
        self._issued = self._normalised(_Offset(at.epoch, at.offset + self.batch_size))
        reading = _Reading(self._plan(at))
        for rows in self._tasks(reading.batch):
            reading.tasks.append(self._executor.submit(self._read, reading, rows))
        return reading

    def _tasks(self, batch: Batch) -> list[list[int]]:
        """Return the rows that each task reads; they are of one store, and neighbours where that saves requests."""
        clips, places = batch.clips_B.numpy(), batch.store_B.numpy()
        size = min(CLIPS_A_TASK, max(1, self._local_size // IN_FLIGHT)) if self._is_remote else CLIPS_A_TASK
        order = np.lexsort((clips, places)) if self._is_remote else np.argsort(places, kind="stable")
        by_store = np.split(order, np.flatnonzero(np.diff(places[order])) + 1)
        return [rows[at : at + size].tolist() for rows in by_store for at in range(0, len(rows), size)]

    def _plan(self, at: _Offset) -> Batch:
        first = self.rank * self._local_size
        places = at.offset + first + np.arange(self._local_size)
        ids = self._order(at.epoch)[places % self._num_clips]
        bounds = np.cumsum((0, *self._sizes))
        store_B = np.searchsorted(bounds, ids, side="right") - 1
        return Batch(
            frames_BTHWC=self._buffers.take(),
            boxes_BKT4=self._empty_boxes(),
            clips_B=torch.from_numpy(ids - bounds[store_B]),
            store_B=torch.from_numpy(store_B.astype(np.int64)),
            first=first,
            epoch=at.epoch,
            step=at.offset // self.batch_size,
            position=self._describe(self._issued),
            motion_BTHW2=self._empty_motion(),
            features_BND=self._empty_features(),
        )

    def _empty_boxes(self) -> torch.Tensor:
        shape = (self._local_size, self.max_objects, self.canvas.num_frames, 4)
        return torch.full(shape, float("nan"), dtype=torch.float32, pin_memory=self._pin)

    def _empty_motion(self) -> torch.Tensor | None:
        if not self._motion_readers:
            return None
        shape = (self._local_size, *self._motion_readers[0].spec.item_shape)
        return torch.empty(shape, dtype=torch.float32, pin_memory=self._pin)

    def _empty_features(self) -> torch.Tensor | None:
        if not self._features:
            return None
        is_half = all(features.dtype == "float16" for features in self._features)
        shape = (self._local_size, *self._features[0].shape)
        return torch.empty(shape, dtype=torch.float16 if is_half else torch.float32, pin_memory=self._pin)

    def _read(self, reading: _Reading, rows: Sequence[int]) -> None:
        batch = reading.batch
        frames_BTHWC, boxes_BKT4 = batch.frames_BTHWC.numpy(), batch.boxes_BKT4.numpy()
        clips, place = batch.clips_B.numpy(), int(batch.store_B[rows[0]])
        numbers = clips[rows].tolist()
        frames, boxes = (ahead(reader, numbers) for reader in self._readers[place])
        motion = ahead(self._motion_readers[place], numbers) if self._motion_readers else None
        for row, clip in zip(rows, numbers, strict=True):
            try:
                frames.read_into(clip, frames_BTHWC[row])
                boxes.read_into(clip, boxes_BKT4[row, : boxes.spec.item_shape[0]])
                if motion is not None and batch.motion_BTHW2 is not None:
                    motion.read_into(clip, half_THW2 := np.empty(motion.spec.item_shape, motion.spec.dtype))
                    batch.motion_BTHW2.numpy()[row] = half_THW2
                if batch.features_BND is not None:
                    self._features[place].read_into(clip, batch.features_BND.numpy()[row])
            except DamagedStoreError as error:
                if self._on_error == "stop":
                    raise
                reading.damaged[row] = error

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
        for reading in self._pending:
            for task in reading.tasks:
                task.cancel()
        self._pending.clear()
        self._issued = self._next


class _Buffers:
    """Memory of batches, used again once nobody holds it: touching fresh pages costs a third of reading a clip.

    Args:
        batch_size: clips of a buffer.
        clip_shape: (T, H, W, 3).
        pin: whether the memory is page-locked.
    """

    def __init__(self, batch_size: int, clip_shape: Sequence[int], *, pin: bool) -> None:
        self._shape, self._pin = (batch_size, *clip_shape), pin
        self._free: deque[npt.NDArray[np.uint8]] = deque()

    def take(self) -> torch.Tensor:
        """Return uint8 memory for one batch, with anything in it."""
        if self._pin:
            # PyTorch's own pool knows of copies to the GPU that still run, and waits for them.
            return torch.empty(self._shape, dtype=torch.uint8, pin_memory=True)
        try:
            memory = self._free.popleft()
        except IndexError:
            memory = np.empty(self._shape, np.uint8)
        view = memory[:]
        # The tensor and all its views hold `view`; when the last one goes, the memory is free again.
        weakref.finalize(view, self._free.append, memory).atexit = False
        return torch.from_numpy(view)


def _check_stores(stores: Sequence[Store]) -> None:
    if not stores:
        raise LoaderError("a loader needs at least one store, got none")
    shapes = {store.layout.array("frames").item_shape for store in stores}
    if len(shapes) > 1:
        found = "; ".join(f"{store.path}: {store.layout.array('frames').item_shape}" for store in stores)
        raise LoaderError(f"stores must have clips of one shape (T, H, W, 3) to be mixed, got {found}")


def _motion_readers(stores: Sequence[Store]) -> list[ClipReader]:
    """Return what reads each store's motion."""
    cells = [store.motion_cell_px for store in stores]
    if None in cells:
        store = stores[cells.index(None)]
        raise LoaderError(
            f"motion is asked for, but {store.path} holds none; render it again with "
            "--set dataset.store.motion.cell_px=8, or another size that divides the canvas"
        )
    if len(set(cells)) > 1:
        found = "; ".join(f"{store.path}: {cell_px} px" for store, cell_px in zip(stores, cells, strict=True))
        raise LoaderError(f"stores must have motion in cells of one size to be mixed, got {found}")
    return [store.reader("motion") for store in stores]


def _check_features(features: Sequence[ClipFeatures], num_stores: int) -> None:
    if features and len(features) != num_stores:
        raise LoaderError(f"every store needs its cached features, got {len(features)} for {num_stores} stores")
    shapes = sorted({cache.shape for cache in features})
    if len(shapes) > 1:
        raise LoaderError(f"cached features must have one shape (N, D) to be mixed, got {shapes}")


def _check_split(batch_size: int, rank: int, world_size: int) -> None:
    if world_size < 1 or not 0 <= rank < world_size:
        raise LoaderError(f"rank must be 0 to world_size - 1, got rank {rank} of {world_size}")
    if batch_size < 1 or batch_size % world_size:
        raise LoaderError(
            f"batch_size is over all ranks and must be a multiple of their number, got {batch_size} for {world_size}"
        )


def _check_choices(last: str, on_error: str, prefetch: int, threads: int | None) -> None:
    if last not in ("drop", "pad"):
        raise LoaderError(f"last must be 'drop' or 'pad', got {last!r}")
    if on_error not in ("stop", "skip"):
        raise LoaderError(f"on_error must be 'stop' or 'skip', got {on_error!r}")
    if prefetch < 0 or (threads is not None and threads < 1):
        raise LoaderError(f"prefetch must be 0 or more and threads 1 or more, got {prefetch} and {threads}")
