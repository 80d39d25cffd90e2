"""``smile-synth demo``: the whole path on built-in data, with the same commands that a user types."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from smile_synth.progress import format_duration


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything the demo makes.")] = Path("demo-out"),
    recipe: Annotated[str, typer.Option(help="Recipe with a dataset, a pretrain and a probe section.")] = "demo",
) -> None:
    """Render, look, pretrain and probe on built-in data: no download, minutes on two cores.

    Run it again after Ctrl-C: finished steps are kept, the others resume.

    \b
    Examples:
      smile-synth demo
      smile-synth demo --out first-look
    """
    began = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    store, run = out / "clips.zarr", out / "run"
    sheet, page = out / "clips.png", out / "report.html"
    steps = [
        ("render clips", ["render", recipe, "--out", str(store)]),
        ("draw a contact sheet", ["preview", str(store), "--out", str(sheet), "--boxes"]),
        ("describe the dataset", ["report", str(store), "--out", str(page)]),
        ("pretrain a student", ["pretrain", recipe, "--data", str(store), "--out", str(run), "--resume"]),
        ("probe what it learned", ["probe", str(run), "--recipe", recipe]),
    ]
    for number, (what, arguments) in enumerate(steps, start=1):
        typer.echo(f"\n== {number}/{len(steps)} {what}\n$ smile-synth {shlex.join(arguments)}")
        _run(arguments)
    typer.echo(_summary(store, run, sheet, page, format_duration(time.monotonic() - began)))


def _run(arguments: list[str]) -> None:
    """Run one command in a process of its own, as a user would."""
    sys.stdout.flush()
    # Threads wait for each other where other work takes the cores, and a student this small gains nothing by a second.
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    process = subprocess.Popen([sys.executable, "-m", "smile_synth", *arguments], env=environment)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise
    if code:
        raise typer.Exit(code)


def _summary(store: Path, run: Path, sheet: Path, page: Path, took: str) -> str:
    pictures = [sheet, *sorted(run.rglob("*.png"))]
    lines = [
        f"\n== done in {took}",
        f"clips     {store}",
        f"run       {run}  (checkpoints, metrics.jsonl, tensorboard)",
        f"page      {page}",
        *(f"picture   {picture}" for picture in pictures),
        "",
        "Next:",
        f"  smile-synth preview {store} --out moving.webp",
        "  smile-synth init mine.yaml --backgrounds PHOTOS --objects CUTOUTS",
        "  smile-synth render mine.yaml --out mine.zarr",
        "  smile-synth pretrain mine.yaml --data mine.zarr --out runs/mine",
        "  smile-synth probe runs/mine --recipe mine.yaml",
        f"  tensorboard --logdir {run / 'tensorboard'}",
    ]
    return "\n".join(lines)


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("demo")(demo)
