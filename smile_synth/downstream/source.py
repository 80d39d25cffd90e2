"""Batches of clips from labelled videos: decoded and varied by threads, in an order that nothing disturbs."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from smile_synth.downstream.reading import MakeRng
from smile_synth.errors import LoaderError, VideoError
from smile_synth.loader.order import epoch_order
from smile_synth.machine.cores import num_cores
from smile_synth.randomness import stream
from smile_synth.videos.frames import Frames
from smile_synth.videos.lists import LabelledVideos

# From a video and its generators to several clips of it, uint8 (repeats, T, H, W, 3).
ReadClips = Callable[[Path, MakeRng], Frames]


@dataclass(frozen=True, eq=False)
class ClipBatch:
    """One rank's part of a global batch.

    Args:
        frames_BTHWC: uint8, in pinned memory if asked for.
        labels_B: int64, numbers of classes.
        first: place of the first clip in the global batch.
        position: where to resume once this batch is trained on.
    """

    frames_BTHWC: torch.Tensor
    labels_B: torch.Tensor
    first: int
    position: dict[str, Any]


@dataclass(frozen=True)
class _Offset:
    epoch: int = 0
    offset: int = 0


@dataclass(frozen=True, eq=False)
class _Read:
    """What a thread made of a video: its clips and their class, and the broken videos whose place it took."""

    clips_RTHWC: Frames
    label: int
    broken: tuple[Path, ...]


class ClipSource:
    """Endless batches; every video comes at most once an epoch, but for what ``pad`` and ``skip`` repeat.

    Order and variation of a clip are a pure function of (seed, epoch, place in the epoch, repeat), whatever the number
    of ranks and threads.

    Args:
        videos: what to read.
        read: reads one of them.
        repeats: clips that ``read`` makes of a video.
        batch_size: videos of a global batch, over all ranks.
        seed: decides order and variation.
        rank, world_size: which equal part of every global batch this source reads.
        last: ``drop`` the last incomplete batch of an epoch, or ``pad`` it with videos of the epoch's beginning.
        on_error: ``stop`` at a video that cannot be read, or ``skip`` it: the epoch's next video takes its place.
        prefetch: batches read ahead.
        threads: that read; by default one a core.
        pin: put clips into page-locked memory.

    Attributes:
        skipped: broken videos, each as often as it was met.
        wait_seconds: that the caller waited so far.

    Raises:
        LoaderError: the videos do not make a batch, or a batch does not go over the ranks.
    """

    def __init__(
        self,
        videos: LabelledVideos,
        read: ReadClips,
        *,
        repeats: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        last: Literal["drop", "pad"] = "drop",
        on_error: Literal["stop", "skip"] = "stop",
        prefetch: int = 2,
        threads: int | None = None,
        pin: bool = False,
    ) -> None:
        if batch_size % world_size:
            raise LoaderError(f"a batch of {batch_size} videos does not go over {world_size} processes")
        if last == "drop" and len(videos) < batch_size:
            raise LoaderError(f"a batch takes {batch_size} videos, there are {len(videos)}; make the batch smaller")
        self.videos, self._read, self._repeats = videos, read, repeats
        self._batch_size, self._seed, self._rank = batch_size, seed, rank
        self._share = batch_size // world_size
        self._last, self._on_error, self._prefetch, self._pin = last, on_error, prefetch, pin
        self._digest = hashlib.sha256(f"{seed}/{videos.digest}".encode()).hexdigest()
        self.skipped: list[Path] = []
        self.wait_seconds = 0.0
        self._order = lru_cache(maxsize=2)(self._make_order)
        self._next = self._issued = _Offset()
        self._pending: deque[tuple[_Offset, list[Future[_Read]]]] = deque()
        self._executor = ThreadPoolExecutor(threads or num_cores(), thread_name_prefix="smile-synth-videos")

    def load_position(self, position: Mapping[str, Any]) -> None:
        """Resume where a batch's position says.

        Raises:
            LoaderError: the position belongs to other videos or another seed.
        """
        if position.get("data") != self._digest:
            raise LoaderError("the position was saved with other videos or another seed; start a new run")
        self._drop_pending()
        self._next = self._issued = self._normalised(_Offset(int(position["epoch"]), int(position["offset"])))

    def __iter__(self) -> Iterator[ClipBatch]:
        while True:
            yield self._take()

    def close(self) -> None:
        """Stop reading."""
        self._drop_pending()
        self._executor.shutdown(cancel_futures=True)

    def __enter__(self) -> ClipSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _make_order(self, epoch: int) -> npt.NDArray[np.int64]:
        return epoch_order(self._seed, epoch, [len(self.videos)], [len(self.videos)])

    def _normalised(self, at: _Offset) -> _Offset:
        left = len(self.videos) - at.offset
        is_over = left < self._batch_size if self._last == "drop" else left <= 0
        return _Offset(at.epoch + 1, 0) if is_over else at

    def _take(self) -> ClipBatch:
        while len(self._pending) <= self._prefetch:
            self._issue()
        after, tasks = self._pending.popleft()
        began = time.perf_counter()
        done = [task.result() for task in tasks]
        self.wait_seconds += time.perf_counter() - began
        self._next = after
        for one in done:
            self.skipped.extend(one.broken)
        return self._batch(done, after)

    def _issue(self) -> None:
        at = self._issued
        first = at.offset + self._rank * self._share
        self._issued = self._normalised(_Offset(at.epoch, at.offset + self._batch_size))
        places = range(first, first + self._share)
        self._pending.append((self._issued, [self._executor.submit(self._load, at.epoch, place) for place in places]))

    def _load(self, epoch: int, place: int) -> _Read:
        order, broken = self._order(epoch), list[Path]()
        for further in range(len(order)):
            number = int(order[(place + further) % len(order)])
            file = self.videos.files[number]
            try:
                clips = self._read(file, lambda purpose: stream(self._seed, f"clip/{purpose}", epoch, place))
            except VideoError:
                if self._on_error == "stop":
                    raise
                broken.append(file)
                continue
            return _Read(clips, int(self.videos.labels[number]), tuple(broken))
        raise VideoError(f"not one of {len(order)} videos can be read, the first was {broken[0]}")

    def _batch(self, done: list[_Read], after: _Offset) -> ClipBatch:
        turns = batch_order(len(done), self._repeats)
        _, *shape = done[0].clips_RTHWC.shape
        frames = torch.empty((len(turns), *shape), dtype=torch.uint8, pin_memory=self._pin)
        for row, (video, repeat) in enumerate(turns):
            frames[row] = torch.from_numpy(np.ascontiguousarray(done[video].clips_RTHWC[repeat]))
        labels = torch.tensor([done[video].label for video, _ in turns], dtype=torch.int64)
        position = {"epoch": after.epoch, "offset": after.offset, "data": self._digest}
        return ClipBatch(frames, labels, self._rank * self._share * self._repeats, position)

    def _drop_pending(self) -> None:
        for _, tasks in self._pending:
            for task in tasks:
                task.cancel()
        self._pending.clear()
        self._issued = self._next


def batch_order(num_videos: int, repeats: int) -> list[tuple[int, int]]:
    """Return which clip of which video stands where in a batch: neighbours, which are mixed, are of two videos.

    The last video of an odd number has none to be mixed with: its own clips are neighbours.

    Args:
        num_videos: of a process's part of a batch.
        repeats: clips of each.

    Returns:
        (video, repeat) of every clip: both first clips of two videos, then their second ones, and so on.
    """
    pairs = [range(first, min(first + 2, num_videos)) for first in range(0, num_videos, 2)]
    return [(video, repeat) for pair in pairs for repeat in range(repeats) for video in pair]
