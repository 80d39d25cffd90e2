"""Worker processes that build shards: each owns one shard at a time; when one fails, all end and say why."""

from __future__ import annotations

import pickle
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from smile_synth.errors import GeneratorError, SmileSynthError, StoreError
from smile_synth.generator.dataset import Dataset
from smile_synth.machine.processes import (
    GRACE_S,
    SECONDS_BETWEEN_LOOKS,
    how_it_ended,
    serve_parent,
    single_threaded,
    start,
    why_not_started,
)
from smile_synth.store.build import build_shard
from smile_synth.store.layout import Layout
from smile_synth.store.workspace import Workspace

NO_CLIP = -1
# Builds one shard as ``build_shard`` does.
Build = Callable[[Dataset, Layout, Workspace, int, Callable[[int], None]], None]


@dataclass
class Worker:
    """One process, what it is doing, and since when.

    Args:
        process: the process.
        connection: the dataset and shards go in, results come out.
        state: shared with the process: the clip at hand, and how many clips it has begun.
    """

    process: BaseProcess
    connection: Connection
    state: Any
    shard: int | None = None
    begun: int = 0
    last_change_s: float = field(default_factory=time.monotonic)

    @property
    def clip(self) -> int:
        """The clip at hand, or ``NO_CLIP``."""
        return int(self.state[0])

    def give(self, shard: int | None) -> None:
        """Hand over the next shard, or None: there is no more.

        Raises:
            StoreError: the process has died.
        """
        self.shard, self.last_change_s = shard, time.monotonic()
        self.state[0] = NO_CLIP
        try:
            self.connection.send(shard)
        except ConnectionError as error:
            if shard is not None:
                raise _death(self) from error

    @property
    def place(self) -> str:
        """Where it is, for a message."""
        if self.clip != NO_CLIP:
            return f"in clip {self.clip} of shard {self.shard}"
        return f"in shard {self.shard}" if self.state[1] else "while it started"

    def look(self) -> int:
        """Return how many more clips were begun since the last look."""
        news = int(self.state[1]) - self.begun
        if news:
            self.begun += news
            self.last_change_s = time.monotonic()
        return news


def build_with_processes(
    dataset: Dataset,
    layout: Layout,
    workspace: Workspace,
    shards: Sequence[int],
    *,
    num_workers: int,
    advance: Callable[[int], None],
    build: Build = build_shard,
) -> None:
    """Build shards in ``num_workers`` processes.

    Args:
        dataset: rebuilt in every process.
        layout: of the store.
        workspace: of the store.
        shards: which are to be built.
        num_workers: processes, at least 1.
        advance: called with the number of clips that were begun since it was called last.
        build: builds one shard; a function of a module, or a partial one.

    Raises:
        GeneratorError: a generator failed, or did not end.
        StoreError: a shard could not be written, or a process died.
    """
    waiting = deque(shards)
    # Packed by hand, so that a dataset that cannot be rebuilt is an error we send back, not a dead process.
    packed = pickle.dumps((dataset, layout, workspace, build))
    with _running(packed, min(num_workers, len(shards))) as workers:
        for worker in workers:
            worker.give(waiting.popleft())
        while any(worker.shard is not None for worker in workers):
            _wait_for_any(workers)
            for worker in workers:
                advance(worker.look())
                _check_alive(worker)
                _check_time(worker, dataset)
                if worker.shard is not None and worker.connection.poll():
                    _take_result(worker)
                    worker.give(waiting.popleft() if waiting else None)


@contextmanager
def _running(packed: bytes, num_workers: int) -> Iterator[list[Worker]]:
    workers: list[Worker] = []
    try:
        with single_threaded():
            for _ in range(num_workers):
                workers.append(_started())
        for worker in workers:
            _send_job(worker, packed)
        yield workers
        for worker in workers:
            worker.process.join()
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()
            worker.connection.close()


def _started() -> Worker:
    try:
        return Worker(*start(_work, [NO_CLIP, 0]))
    except (OSError, MemoryError) as error:
        raise StoreError(
            f"a worker process could not be started ({why_not_started(error)}); use fewer --workers, or free some "
            f"memory, and run the same command again to resume"
        ) from error


def _send_job(worker: Worker, packed: bytes) -> None:
    try:
        worker.connection.send_bytes(packed)
    except ConnectionError as error:
        raise _death(worker) from error


def _wait_for_any(workers: Sequence[Worker]) -> None:
    busy = [worker for worker in workers if worker.shard is not None]
    wait([*(w.connection for w in busy), *(w.process.sentinel for w in busy)], timeout=SECONDS_BETWEEN_LOOKS)


def _check_alive(worker: Worker) -> None:
    if worker.shard is not None and not worker.process.is_alive() and not worker.connection.poll():
        raise _death(worker)


def _death(worker: Worker) -> StoreError:
    reason = how_it_ended(worker.process)
    hint = "; if memory ran out, use fewer --workers" if worker.process.exitcode == -signal.SIGKILL else ""
    if worker.process.exitcode == 1 and worker.clip == NO_CLIP and not worker.state[1]:
        hint = "; in a script, call this below: if __name__ == '__main__'"
    return StoreError(
        f"a worker process {reason} {worker.place}{hint}; "
        f"completed shards are safe: run the same command again to resume"
    )


def _check_time(worker: Worker, dataset: Dataset) -> None:
    if worker.shard is None or worker.clip == NO_CLIP or worker.connection.poll():
        return
    limit_s = dataset.params.clip_timeout_s + GRACE_S
    if time.monotonic() - worker.last_change_s >= limit_s:
        raise GeneratorError(
            f"generator {dataset.params.generator!r}: clip {worker.clip} (seed {dataset.seed}) did not end within "
            f"{limit_s:g} s; completed shards are safe. Repeat just that clip with: "
            f"{dataset.repeat_command(worker.clip)}; allow more with --set dataset.clip_timeout_s=SECONDS"
        )


def _take_result(worker: Worker) -> None:
    try:
        failure = worker.connection.recv()
    except (EOFError, OSError):
        raise _death(worker) from None
    if failure is not None:
        raise failure


def _work(connection: Connection, state: Any) -> None:
    serve_parent()

    def on_clip(clip: int) -> None:
        state[0] = clip
        state[1] += 1

    try:
        dataset, layout, workspace, build = pickle.loads(connection.recv_bytes())
        while (shard := connection.recv()) is not None:
            build(dataset, layout, workspace, shard, on_clip)
            connection.send(None)
    except (EOFError, ConnectionError):
        # The parent is gone; so are we.
        return
    except (SmileSynthError, OSError, MemoryError) as error:
        connection.send(error)
