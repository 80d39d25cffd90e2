"""What people see while a model trains: a live table on a terminal, plain lines elsewhere and in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from rich.table import Table

from smile_synth.progress import Display, format_duration, without_exponent


class TrainingView:
    """Shows metrics as they come; a context manager.

    Args:
        total_steps: updates of all stages together.
        log_file: gets every line, plain; None for none.
        stream: where to show; a terminal gets one live table. None shows nothing.
        title: of the table; plain lines begin with it.
    """

    def __init__(
        self, total_steps: int, log_file: Path | None, stream: TextIO | None = sys.stderr, *, title: str = "pretrain"
    ) -> None:
        self._total, self._title = total_steps, title
        self._log = log_file.open("a", encoding="utf-8") if log_file else None
        self._display = Display(title, stream)
        # Features are looked at less often; the table shows the last look.
        self._known: dict[str, Any] = {}

    def __enter__(self) -> TrainingView:
        self._display.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.__exit__(kind, error, trace)
        if self._log is not None:
            self._log.close()

    def note(self, text: str) -> None:
        """Show a line of its own."""
        self._to_log(text)
        self._display.note(text)

    def update(self, row: Mapping[str, Any], seconds_left: float) -> None:
        """Show a row of metrics, and how long the rest will take."""
        line = self._line(row, seconds_left)
        self._to_log(line)
        self._known |= row
        self._display.show(line, self._table(self._known, seconds_left))

    def _to_log(self, line: str) -> None:
        if self._log is not None:
            self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
            self._log.flush()

    def _line(self, row: Mapping[str, Any], seconds_left: float) -> str:
        return (
            f"{row['stage']} {row['step']}/{self._total} · loss {row['loss']:.4f} · lr {row['learning_rate']:.2e} · "
            f"{without_exponent(row['clips_per_second'])} clips/s · waiting {100 * row['waiting_share']:.0f}% · "
            f"{format_duration(seconds_left)} left"
        )

    def _table(self, row: Mapping[str, Any], seconds_left: float) -> Table:
        table = Table(title=self._title, title_justify="left", show_header=False, box=None, pad_edge=False)
        table.add_column(style="bold")
        table.add_column()
        step = row["step"]
        table.add_row("update", f"{step}/{self._total} ({100 * step // self._total}%), stage {row['stage']}")
        table.add_row("time left", format_duration(seconds_left))
        for key, text in _readable(row).items():
            table.add_row(key, text)
        return table


def _readable(row: Mapping[str, Any]) -> dict[str, str]:
    """Return what the table shows of a row, label -> text; what is not known is left out."""
    shown = {
        "loss": f"{row['loss']:.4f}",
        "learning rate": f"{row['learning_rate']:.2e}",
        "gradient norm": f"{row['gradient_norm']:.3g}",
        "clips/s": without_exponent(row["clips_per_second"]),
        "waiting for data": f"{100 * row['waiting_share']:.1f}% of the time",
        "arithmetic": f"{row['tflops']:.3g} TFLOP/s",
        "memory": f"{row['memory_gib']:.2f} GiB",
    }
    if "utilisation" in row:
        shown["arithmetic"] += f", {100 * row['utilisation']:.0f}% of the device's peak"
    for who in ("student", "target"):
        if f"{who}_rank" in row:
            shown[f"{who} features"] = f"std {row[f'{who}_std']:.3g}, effective rank {row[f'{who}_rank']:.1f}"
    return shown
