"""``smile-synth pretrain``: a recipe and a store in, a trained student out; it stops and resumes anywhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from smile_synth.cli.shell import command
from smile_synth.cli.stores import RecipeFolder, TrustCode, open_cache, open_data
from smile_synth.cli.training import print_rows, run_options, show_run


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
    words = ["pretrain", recipe, *(part for path in data for part in ("--data", path)), "--out", str(out)]
    words += run_options(overrides=set_, device=device, max_hours=max_hours, processes=processes)
    words += ["--folder", str(folder)] if folder is not None else []
    words += ["--trust-code"] if trust_code else []
    words += ["--cache", cache] if cache is not None else []
    if dry_run:
        from smile_synth.training.estimate import estimate

        rows = estimate(loaded, stores, out, resume=resume, device=device)
        if rows:
            print_rows(rows)
            typer.echo(f"\nNothing was written. Train: {command(*words, *(['--resume'] if resume else []))}")
        return
    from smile_synth.api.pretrain import pretrain as train

    summary = train(loaded, stores, out, resume=resume, device=device, max_hours=max_hours)
    if summary.is_first:
        next_steps = [
            f"Ask what it learned: {command('probe', summary.folder)}",
            f"Use it elsewhere:    {command('export', summary.folder, '--format', 'safetensors')}",
        ]
        show_run(summary, next_steps, command(*words, "--resume"))


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("pretrain")(pretrain)
