"""``smile-synth pretrain``: a recipe and a store in, a trained student out; it stops and resumes anywhere."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from smile_synth.cli.stores import RecipeFolder, TrustCode, open_cache, open_data

if TYPE_CHECKING:
    from smile_synth.training.summary import RunSummary


def pretrain(
    recipe: Annotated[str, typer.Argument(help="Bundled recipe or YAML file with a pretrain section.")],
    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            "-d",
            help="Finished store or its URL, repeated to mix several; or stream:RECIPE, without a store.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from the latest checkpoint, if there is one.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    max_hours: Annotated[float | None, typer.Option(min=0, help="Save and stop after this many hours.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes on this host that train together.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, estimate, and exit.")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key.sub=value instead of the recipe's; repeatable.")
    ] = None,
    folder: RecipeFolder = None,
    trust_code: TrustCode = False,
    cache: Annotated[
        str | None, typer.Option("--cache", help="Keep what is read of object stores, such as /scratch/clips:200GB.")
    ] = None,
) -> None:
    """Train a student on rendered clips.

    SIGTERM, SIGUSR1 or Ctrl-C write a checkpoint and exit; --resume continues from it, bit-exact on CPU.
    Several processes train together with --processes, under torchrun, or as a Slurm step (srun).

    \b
    Examples:
      smile-synth pretrain demo -d clips.zarr -o runs/first
      smile-synth pretrain demo -d clips.zarr -o runs/first --resume
      smile-synth pretrain demo -d stream:demo -o runs/first         (clips rendered as they are needed, none twice)
      smile-synth pretrain smile-vit-b -d clips.zarr -o runs/b --dry-run
      smile-synth pretrain smile-vit-b -d clips.zarr -o runs/b --max-hours 0.9
      smile-synth pretrain smile-vit-b -d clips.zarr -o runs/b --processes 8
      smile-synth pretrain smile-vit-b -d s3://bucket/clips.zarr -o runs/b --cache /scratch/clips:200GB
    """
    from smile_synth.recipe.recipe import load_recipe

    loaded = load_recipe(recipe, set_ or ())
    kept = None if cache is None else open_cache(cache, data)
    stores = [open_data(path, folder, trust_code, kept) for path in data]
    if processes > 1 and "RANK" not in os.environ:
        from smile_synth.machine.launch import launch

        raise typer.Exit(launch([sys.executable, "-m", "smile_synth", *sys.argv[1:]], processes))
    if dry_run:
        from smile_synth.training.estimate import estimate

        rows = estimate(loaded, stores, out, resume=resume, device=device)
        if rows:
            _print_rows(rows)
            command = _command(recipe, data, out, set_, device, max_hours, processes, folder, trust_code, cache, resume)
            typer.echo(f"\nNothing was written. Train: {command}")
        return
    from smile_synth.api.pretrain import pretrain as train

    summary = train(loaded, stores, out, resume=resume, device=device, max_hours=max_hours)
    if summary.is_first:
        _show(summary, _command(recipe, data, out, set_, device, max_hours, processes, folder, trust_code, cache, True))


def _command(
    recipe: str,
    data: list[str],
    out: Path,
    overrides: list[str] | None,
    device: str,
    max_hours: float | None,
    processes: int,
    folder: Path | None,
    trust_code: bool,
    cache: str | None,
    resume: bool,
) -> str:
    parts = ["smile-synth", "pretrain", recipe]
    parts += [part for path in data for part in ("--data", path)]
    parts += ["--out", str(out)]
    parts += [part for override in overrides or () for part in ("--set", override)]
    parts += ["--device", device] if device != "auto" else []
    parts += ["--max-hours", f"{max_hours:g}"] if max_hours is not None else []
    parts += ["--processes", str(processes)] if processes > 1 else []
    parts += ["--folder", str(folder)] if folder is not None else []
    parts += ["--trust-code"] if trust_code else []
    parts += ["--cache", cache] if cache is not None else []
    return shlex.join([*parts, "--resume"] if resume else parts)


def _print_rows(rows: list[tuple[str, str]]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _show(summary: RunSummary, resume_command: str) -> None:
    from smile_synth.progress import format_duration

    loss = "" if summary.last_loss is None else f", loss {summary.last_loss:.4f}"
    typer.echo(
        f"{summary.steps} of {summary.total_steps} updates{loss}; {format_duration(summary.seconds)}, "
        f"{summary.clips_per_second:.3g} clips/s, waiting for data {100 * summary.waiting_share:.1f}% of the time, "
        f"{summary.memory_gib:.2f} GiB."
    )
    folder = summary.folder
    typer.echo(
        f"Weights {folder}/checkpoints, metrics {folder}/metrics.jsonl, curve {folder}/loss.png, log {folder}/log.txt"
    )
    if summary.finished:
        typer.echo(f"Ask what it learned: smile-synth probe {folder}")
        typer.echo(f"Use it elsewhere:    smile-synth export {folder} --format safetensors")
        return
    sys.stdout.flush()
    typer.echo(f"Stopped early ({summary.reason}); resume with: {resume_command}")


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("pretrain")(pretrain)
