"""Progress with rate and time left: a live bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from types import TracebackType
from typing import TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

SILENT_BELOW_S = 2.0
SECONDS_BETWEEN_LINES = 5.0
SECONDS_OF_RATE = 30.0
# The first unit pays for what all of them need; its speed says nothing of the others.
UNITS_BEFORE_A_FORECAST = 3


def format_duration(seconds: float) -> str:
    """Return ``seconds`` as people write it: ``42 s``, ``3 min 05 s``, ``2 h 07 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def without_exponent(value: float) -> str:
    """Return a number with three significant digits, or all those before the point, and never an exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{Decimal(f'{value:.3g}'):f}"


class Tracker:
    """What the code that does the work sees: it advances, and notes things worth reading.

    Args:
        total: how many units there are.
        label: what is being done.
        unit: plural of what is counted.
        show: called after every change.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        total: int,
        label: str,
        unit: str,
        show: Callable[[Tracker], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self.label, self.unit = total, label, unit
        self.done = 0
        self.notes: list[str] = []
        self._show, self._clock = show, clock
        self._marks = [(clock(), 0)]
        self.started_s = clock()

    def advance(self, n: int = 1) -> None:
        """Count ``n`` more units as done."""
        self.done += n
        now = self._clock()
        self._marks.append((now, self.done))
        while len(self._marks) > 2 and now - self._marks[0][0] > SECONDS_OF_RATE:
            self._marks.pop(0)
        self._show(self)

    def note(self, text: str) -> None:
        """Show a line of its own in addition to the progress."""
        self.notes.append(text)
        self._show(self)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the work began."""
        return self._clock() - self.started_s

    @property
    def rate(self) -> float:
        """Units a second over the last half minute, 0 while nothing is known."""
        (first_s, first_done), now = self._marks[0], self._clock()
        return (self.done - first_done) / (now - first_s) if now > first_s else 0.0

    def status(self) -> str:
        """Return ``640/1024 clips, 62% · 231 clips/s · 2 s left``."""
        share = f"{self.done}/{self.total} {self.unit}, {100 * self.done // max(self.total, 1)}%"
        if self.rate <= 0 or self.done < min(UNITS_BEFORE_A_FORECAST, self.total):
            return share
        left = format_duration((self.total - self.done) / self.rate)
        return f"{share} · {without_exponent(self.rate)} {self.unit}/s · {left} left"

    def closing(self) -> str:
        """Return ``1024 clips in 4 s (231 clips/s)``."""
        elapsed = max(self.elapsed_s, 1e-9)
        rate = without_exponent(self.done / elapsed)
        return f"{self.done} {self.unit} in {format_duration(elapsed)} ({rate} {self.unit}/s)"


class Display:
    """Shows what changes while work runs: a live picture on a terminal, a plain line now and then elsewhere.

    Args:
        label: what is being done; plain lines begin with it.
        stream: where to show; None shows nothing.
        quiet_s: seconds at the start without a plain line.
    """

    def __init__(self, label: str, stream: TextIO | None, *, quiet_s: float = 0.0) -> None:
        self._label, self._stream = label, stream
        live = stream is not None and stream.isatty()
        self._live = Live(console=Console(file=stream), refresh_per_second=4, transient=True) if live else None
        self._next_line_s = time.monotonic() + quiet_s

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, line: str, picture: RenderableType) -> None:
        """Show the state of things: ``picture`` on a terminal, else ``line`` where the last one is some seconds old."""
        if self._live is not None:
            self._live.update(picture)
        elif time.monotonic() >= self._next_line_s:
            self._next_line_s = time.monotonic() + SECONDS_BETWEEN_LINES
            self.write(line)

    def note(self, text: str) -> None:
        """Show a line that stays."""
        if self._live is not None:
            self._live.console.print(text, highlight=False, markup=False)
        else:
            self.write(text)

    def write(self, line: str) -> None:
        """Write a plain line."""
        if self._stream is not None:
            self._stream.write(f"{self._label}: {line}\n")
            self._stream.flush()


@contextmanager
def track(total: int, label: str, unit: str = "clips", stream: TextIO | None = None) -> Iterator[Tracker]:
    """Show the progress of a block of work on ``stream`` (standard error unless given).

    Args:
        total: how many units the work has.
        label: what is being done, such as ``render``.
        unit: plural of what is counted.
        stream: where to write; a terminal gets a live bar, anything else gets plain lines, none within the
            first two seconds.
    """
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    task = bar.add_task(label, total=total, rate="")
    display = Display(label, stream or sys.stderr, quiet_s=SILENT_BELOW_S)

    def show(tracker: Tracker) -> None:
        while tracker.notes:
            display.note(tracker.notes.pop(0))
        status = tracker.status()
        bar.update(task, completed=tracker.done, total=tracker.total, rate=status.partition(" · ")[2])
        if tracker.done < tracker.total:
            display.show(status, bar)

    tracker = Tracker(total, label, unit, show)
    with display:
        yield tracker
    if tracker.elapsed_s >= SILENT_BELOW_S and tracker.done:
        display.write(tracker.closing())
