"""What ``pretrain`` and ``finetune`` say alike."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from smile_synth.training.summary import RunSummary


def print_rows(rows: list[tuple[str, str]]) -> None:
    """Print pairs of label and text."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def run_options(
    *,
    overrides: list[str] | None,
    device: str,
    max_hours: float | None,
    processes: int,
) -> list[str]:
    """Return options that both commands take, as they are typed; those left at their default are left out."""
    options = [part for override in overrides or () for part in ("--set", override)]
    options += ["--device", device] if device != "auto" else []
    options += ["--max-hours", f"{max_hours:g}"] if max_hours is not None else []
    return options + (["--processes", str(processes)] if processes > 1 else [])


def show_run(summary: RunSummary, next_steps: list[str], resume_command: str) -> None:
    """Say how far a run has come, where its files are, and how to go on.

    Args:
        summary: of the run.
        next_steps: lines for a run that is finished.
        resume_command: for one that is not.
    """
    from smile_synth.progress import format_duration, without_exponent

    loss = "" if summary.last_loss is None else f", loss {summary.last_loss:.4f}"
    typer.echo(
        f"{summary.steps} of {summary.total_steps} updates{loss}; {format_duration(summary.seconds)}, "
        f"{without_exponent(summary.clips_per_second)} clips/s, "
        f"waiting for data {100 * summary.waiting_share:.1f}% of the time, {summary.memory_gib:.2f} GiB."
    )
    folder = summary.folder
    typer.echo(
        f"Weights {folder}/checkpoints, metrics {folder}/metrics.jsonl, curve {folder}/loss.png, log {folder}/log.txt"
    )
    if summary.finished:
        for line in next_steps:
            typer.echo(line)
        return
    sys.stdout.flush()
    typer.echo(f"Stopped early ({summary.reason}); resume with: {resume_command}")
