"""Processes that render clips for the loader, straight into memory that they share with it."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from multiprocessing import reduction
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import numpy.typing as npt

from smile_synth.errors import GeneratorError, LoaderError, SceneError, SmileSynthError, in_one_line
from smile_synth.generator.dataset import Dataset
from smile_synth.loader.memory import BatchShape, SharedMemory
from smile_synth.machine.processes import (
    GRACE_S,
    SECONDS_BETWEEN_LOOKS,
    how_it_ended,
    serve_parent,
    single_threaded,
    start,
    why_not_started,
)
from smile_synth.render import render_into

# Tasks that a process has at hand: it need not wait for us, who may be kept from the interpreter by a training.
TASKS_AT_HAND = 3
NO_CLIP = -1


@dataclass(frozen=True)
class Task:
    """Clips to render.

    Args:
        memory: which memory to write into, from ``RenderPool.share``.
        rows: their places in the batch.
        dataset: which dataset they come from.
        clips: their numbers.
    """

    memory: int
    rows: tuple[int, ...]
    dataset: int
    clips: tuple[int, ...]


@dataclass(eq=False)
class _Worker:
    """One process, and the tasks that it has; ``state`` says clip and dataset at hand, and how many were begun."""

    process: BaseProcess
    connection: Connection
    state: Any
    tasks: dict[int, Future[None]] = field(default_factory=dict)
    begun: int = 0
    last_change_s: float = field(default_factory=time.monotonic)


class RenderPool:
    """Processes that render clips; when one fails, all end and every task raises why.

    Args:
        datasets: where clips come from.
        shape: of the batches that are written.
        num_workers: processes, at least 1.
    """

    def __init__(self, datasets: Sequence[Dataset], shape: BatchShape, *, num_workers: int) -> None:
        self._datasets, self._shape = tuple(datasets), shape
        self._lock = threading.Lock()
        self._waiting: deque[tuple[int, Task, Future[None]]] = deque()
        self._failure: SmileSynthError | None = None
        self._num_tasks = self._num_memories = 0
        self._is_closed = False
        self._workers: list[_Worker] = []
        self._num_workers = num_workers
        self._collector: threading.Thread | None = None
        self._has_started = threading.Event()

    @property
    def process_ids(self) -> list[int]:
        """Ids of the processes."""
        return [worker.process.pid for worker in self._workers if worker.process.pid is not None]

    def share(self) -> tuple[int, SharedMemory]:
        """Return new memory for a batch, which all processes know, and its number; the first call starts them."""
        # Not before there is something to render: a loader that is only asked for its length needs no processes.
        if self._collector is None:
            packed = pickle.dumps((self._datasets, self._shape))
            self._wake_here, self._wake_there = multiprocessing.Pipe(duplex=False)
            self._collector = threading.Thread(
                target=self._collect, args=(packed,), name="smile-synth-render", daemon=True
            )
            self._collector.start()
        self._has_started.wait()
        memory = SharedMemory(self._shape.nbytes)
        with self._lock:
            number, self._num_memories = self._num_memories, self._num_memories + 1
            for worker in self._workers:
                try:
                    worker.connection.send(number)
                    reduction.send_handle(worker.connection, memory.handle, worker.process.pid)
                except OSError:
                    break  # it has died, which the collector will say
        memory.close_handle()
        return number, memory

    def submit(self, task: Task) -> Future[None]:
        """Have clips rendered.

        Returns:
            Done once they lie in the memory; raises GeneratorError or LoaderError, with clip, seed and how to repeat it
            unless a process cannot be started or reached.
        """
        future: Future[None] = Future()
        with self._lock:
            if self._failure is not None:
                future.set_exception(self._failure)
                return future
            self._waiting.append((self._num_tasks, task, future))
            self._num_tasks += 1
            self._hand_out()
        return future

    def close(self) -> None:
        """End all processes; tasks that are not done are cancelled."""
        self._is_closed = True
        if self._collector is not None:
            self._wake_there.send(None)
            self._collector.join()
        self._end_processes()

    def _start(self, packed: bytes) -> None:
        try:
            with single_threaded():
                for _ in range(self._num_workers):
                    self._workers.append(_Worker(*start(_work, [NO_CLIP, 0, 0], "smile-synth-render")))
            for worker in self._workers:
                worker.connection.send_bytes(packed)
        except (OSError, MemoryError) as error:
            raise LoaderError(
                f"a process that renders clips could not be started ({why_not_started(error)}); use fewer: "
                f"pretrain.loading.render_workers=1"
            ) from error

    def _hand_out(self) -> None:
        while self._waiting:
            worker = min(self._workers, key=lambda worker: len(worker.tasks))
            if len(worker.tasks) >= TASKS_AT_HAND:
                return
            number, task, future = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            if not worker.tasks:
                worker.last_change_s = time.monotonic()
            worker.tasks[number] = future
            try:
                worker.connection.send((number, task))
            except OSError:
                return  # it has died, which the collector will say

    def _collect(self, packed: bytes) -> None:
        # Here, because processes end with the thread that starts them: this one lives as long as they are needed.
        try:
            self._start(packed)
        except LoaderError as error:
            self._fail(error)
        finally:
            self._has_started.set()
        while not self._is_closed and self._failure is None:
            busy = [worker.connection for worker in self._workers]
            sentinels = [worker.process.sentinel for worker in self._workers]
            wait([self._wake_here, *busy, *sentinels], timeout=SECONDS_BETWEEN_LOOKS)
            try:
                for worker in self._workers:
                    self._take_results(worker)
                    self._check_time(worker)
            except SmileSynthError as error:
                self._fail(error)
            except (OSError, MemoryError) as error:
                self._fail(LoaderError(f"the processes that render clips cannot be reached ({in_one_line(error)})"))
        if self._is_closed:
            self._fail(LoaderError("the loader was closed"))

    def _take_results(self, worker: _Worker) -> None:
        is_alive = worker.process.is_alive()
        try:
            while worker.connection.poll():
                number, failure = worker.connection.recv()
                if isinstance(failure, SmileSynthError):
                    raise failure
                if failure is not None:
                    reason = in_one_line(failure)
                    raise LoaderError(f"a process that renders clips failed ({reason}) {self._place(worker)}")
                with self._lock:
                    future = worker.tasks.pop(number)
                    self._hand_out()
                future.set_result(None)
        except (EOFError, ConnectionError):
            is_alive = False
        if not is_alive:
            raise self._death(worker)

    def _fail(self, error: SmileSynthError) -> None:
        with self._lock:
            self._failure = error
            futures = [future for _, _, future in self._waiting if future.set_running_or_notify_cancel()]
            futures += [future for worker in self._workers for future in worker.tasks.values()]
            self._waiting.clear()
            for worker in self._workers:
                worker.tasks.clear()
        self._end_processes()
        for future in futures:
            future.set_exception(error)

    def _end_processes(self) -> None:
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.connection.close()

    def _death(self, worker: _Worker) -> LoaderError:
        reason = how_it_ended(worker.process)
        is_killed = worker.process.exitcode == -signal.SIGKILL
        hint = " (if memory ran out, use fewer: pretrain.loading.render_workers=1)" if is_killed else ""
        return LoaderError(f"a process that renders clips {reason}{hint} {self._place(worker)}")

    def _place(self, worker: _Worker) -> str:
        clip, dataset = int(worker.state[0]), self._datasets[int(worker.state[1])]
        if clip == NO_CLIP:
            return "before its first clip"
        return f"in clip {clip} (seed {dataset.seed}). Repeat just that clip with: {dataset.repeat_command(clip)}"

    def _check_time(self, worker: _Worker) -> None:
        begun = int(worker.state[2])
        if begun != worker.begun or not worker.tasks:
            worker.begun, worker.last_change_s = begun, time.monotonic()
            return
        if not begun:
            return
        limit_s = self._datasets[int(worker.state[1])].params.clip_timeout_s + GRACE_S
        if time.monotonic() - worker.last_change_s >= limit_s:
            raise GeneratorError(
                f"a generator did not end within {limit_s:g} s, which dataset.clip_timeout_s and {GRACE_S:g} s of "
                f"grace allow, {self._place(worker)}"
            )


def _work(connection: Connection, state: Any) -> None:
    serve_parent()
    number = -1
    try:
        datasets, shape = pickle.loads(connection.recv_bytes())
        memories: dict[int, tuple[npt.NDArray[Any], ...]] = {}
        while True:
            received = connection.recv()
            if isinstance(received, int):
                memory = SharedMemory(shape.nbytes, reduction.recv_handle(connection))
                memory.close_handle()
                memories[received] = shape.arrays(memory.bytes)
                continue
            number, task = received
            for row, clip in zip(task.rows, task.clips, strict=True):
                state[0], state[1] = clip, task.dataset
                state[2] += 1
                _render(datasets[task.dataset], clip, [array[row] for array in memories[task.memory]])
            connection.send((number, None))
    except (EOFError, ConnectionError):
        # The parent is gone; so are we.
        return
    except (SmileSynthError, OSError, MemoryError) as error:
        connection.send((number, error))


def _render(dataset: Dataset, clip: int, arrays: Sequence[npt.NDArray[Any]]) -> None:
    """Render a clip into its frames, boxes and motion."""
    frames_THWC, boxes_KT4, *motion = arrays
    scene = dataset.sample(clip)
    try:
        drawn_KT4 = render_into(scene, frames_THWC, motion[0] if motion else None)
    except (SceneError, GeneratorError) as error:
        raise dataset.failure(clip, f"the scene cannot be rendered: {error}") from error
    boxes_KT4[...] = np.nan
    boxes_KT4[: len(drawn_KT4)] = drawn_KT4
    if motion:
        # As a store keeps it.
        motion[0][...] = motion[0].astype(np.float16)
