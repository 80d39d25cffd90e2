"""An end to code that hangs."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class DeadlineError(BaseException):
    """Code took longer than it was given; no ``except Exception`` of that code's own holds it up."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise ``DeadlineError`` inside the block once it has taken longer than this.

    It reaches Python code, and sleeping and waiting; a single call into compiled code ends first. It needs Unix and
    the main thread, and does nothing elsewhere. Deadlines nest: an outer alarm runs on afterwards.

    Args:
        seconds: wall-clock time, above 0.

    Raises:
        DeadlineError: the block took longer.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise DeadlineError(f"it took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    started = time.monotonic()
    outer, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        remaining = max(outer - (time.monotonic() - started), 1e-6) if outer else 0.0
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, remaining)
