"""When a run should end early: a signal, or its time is up."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class StopRequest:
    """Says whether to stop, and why.

    Args:
        max_hours: hours after which to stop; None for no limit.
        clock: seconds, never going back.
    """

    def __init__(self, max_hours: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._deadline_s = None if max_hours is None else clock() + 3600 * max_hours
        self._max_hours = max_hours
        self._signal = ""
        self._asked = ""

    @property
    def reason(self) -> str:
        """Why to stop, or an empty string."""
        if self._signal:
            return f"got {self._signal}"
        if self._asked:
            return self._asked
        if self._deadline_s is not None and self._clock() >= self._deadline_s:
            return f"{self._max_hours:g} hours are over"
        return ""

    def ask(self, reason: str) -> None:
        """Ask to stop after the current update.

        Args:
            reason: for people, such as ``the loss is low enough``.
        """
        self._asked = reason

    def note(self, number: int, _frame: FrameType | None = None) -> None:
        """Take note of a signal; a second Ctrl-C ends the process at once."""
        if self._signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = signal.Signals(number).name


@contextmanager
def listening(request: StopRequest) -> Iterator[StopRequest]:
    """Let signals set ``request`` instead of ending the process, as long as the block runs.

    Outside the main thread, where Python allows no handlers, signals keep their meaning.
    """
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.note) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
