"""Worker processes: one core each, spawned, and gone as soon as whoever started them is."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

# A process is the parallelism; threads inside would only fight over the same cores.
SINGLE_THREADED = dict.fromkeys(
    ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)
SECONDS_BETWEEN_LOOKS = 0.2
# What a process does ends itself if it hangs in Python; what hangs in compiled code is left this much longer.
GRACE_S = 30.0
# Of prctl(2): which signal the kernel sends a process when its parent ends.
PR_SET_PDEATHSIG = 1


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let processes that are started inside the block compute with one thread each."""
    before = {name: os.environ.get(name) for name in SINGLE_THREADED}
    os.environ.update(SINGLE_THREADED)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def start(
    work: Callable[[Connection, Any], None], state: Sequence[int], name: str | None = None
) -> tuple[BaseProcess, Connection, Any]:
    """Start a process that calls ``work``, and return it, our end of its connection, and its shared state (int64).

    Raises:
        OSError, MemoryError: it cannot be started; ``why_not_started`` says why.
    """
    # Spawned, never forked: threads of TensorStore, numba and torch do not survive a fork.
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    shared = context.RawArray("q", list(state))
    # Nothing large goes in here: starting a process that dies before it has read its arguments would hang.
    process = context.Process(target=work, args=(there, shared), name=name, daemon=True)
    process.start()
    there.close()
    return process, here, shared


def why_not_started(error: OSError | MemoryError) -> str:
    """Return why ``start`` failed, in a few words."""
    return error.strerror if isinstance(error, OSError) and error.strerror else "not enough memory"


def how_it_ended(process: BaseProcess) -> str:
    """Wait for a process that is ending, and return how, such as ``was killed by signal 9``."""
    process.join()
    code = process.exitcode or 0
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def serve_parent() -> None:
    """Leave Ctrl-C to the parent, and have this process end as soon as its parent has, however that ends.

    On Linux it also ends with the thread that started it, which must live as long as the process is needed.
    """
    # A terminal sends it to all processes; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        # The kernel ends even a process that is stopped, or holds the interpreter in compiled code.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # Where there is no such call, and for a parent that was gone before it was made.
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
