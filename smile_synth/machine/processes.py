"""Worker processes: one core each, and gone as soon as whoever started them is."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# A process is the parallelism; threads inside would only fight over the same cores.
SINGLE_THREADED = dict.fromkeys(
    ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)
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
