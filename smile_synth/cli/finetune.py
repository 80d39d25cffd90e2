"""``smile-synth finetune``: a model and labelled videos in, a classifier out; it stops and resumes anywhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from smile_synth.cli.shell import command
from smile_synth.cli.training import print_rows, run_options, show_run


def finetune(
    model: Annotated[
        str,
        typer.Argument(help="Run, export, published VideoMAE or SMILE .pth, Hugging Face folder, or 'scratch'."),
    ],
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="Recipe with sections finetune and videos.")],
    videos: Annotated[Path, typer.Option("--videos", "-v", help="Folder of the videos and their lists.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    freeze: Annotated[bool, typer.Option("--freeze", help="Train the head alone: a linear probe.")] = False,
    layers: Annotated[int | None, typer.Option(min=1, help="Train the last so many blocks and the head.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from the latest checkpoint, if there is one.")
    ] = False,
    heads: Annotated[int | None, typer.Option(min=1, help="Attention heads, where the file does not tell.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    max_hours: Annotated[float | None, typer.Option(min=0, help="Save and stop after this many hours.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes on this host that train together.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, estimate, and exit.")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key.sub=value instead of the recipe's; repeatable.")
    ] = None,
) -> None:
    """Fine-tune a model on labelled videos.

    SIGTERM, SIGUSR1 or Ctrl-C write a checkpoint and exit; --resume continues from it, bit-exact on CPU.
    Several processes train together with --processes, under torchrun, or as a Slurm step (srun).

    \b
    Examples:
      smile-synth finetune runs/b -r finetune-ucf101 -v UCF101/ -o runs/ucf
      smile-synth finetune runs/b -r finetune-k400 -v K400/ -o runs/probe --freeze --set finetune.head.batch_norm=true
      smile-synth finetune checkpoint.pth -r finetune-ssv2 -v SSv2/ -o runs/ssv2 --processes 8 --max-hours 0.9
      smile-synth finetune scratch -r finetune-hmdb51 -v HMDB51/ -o runs/scratch --dry-run
    """
    from smile_synth.recipe.recipe import load_recipe

    loaded = load_recipe(recipe, [*(set_ or ()), *as_overrides(freeze, layers)])
    if processes > 1 and "RANK" not in os.environ:
        from smile_synth.machine.launch import launch

        raise typer.Exit(launch([sys.executable, "-m", "smile_synth", *sys.argv[1:]], processes))
    words = ["finetune", model, "--recipe", recipe, "--videos", str(videos), "--out", str(out)]
    words += ["--freeze"] if freeze else []
    words += ["--layers", str(layers)] if layers is not None else []
    words += ["--heads", str(heads)] if heads is not None else []
    words += run_options(overrides=set_, device=device, max_hours=max_hours, processes=processes)
    if dry_run:
        from smile_synth.downstream.estimate import estimate

        rows = estimate(loaded, model, videos, out, resume=resume, device=device, heads=heads)
        if rows:
            print_rows(rows)
            typer.echo(f"\nNothing was written. Train: {command(*words, *(['--resume'] if resume else []))}")
        return
    from smile_synth.downstream.finetune import finetune as tune

    summary = tune(loaded, model, videos, out, resume=resume, device=device, max_hours=max_hours, heads=heads)
    if summary.is_first:
        test = command("evaluate", summary.folder, "--videos", videos)
        show_run(summary, [f"Test it: {test}"], command(*words, "--resume"))


def as_overrides(freeze: bool, layers: int | None) -> list[str]:
    """Return what the flags change of a recipe; ``--freeze`` takes back what has no effect on a head alone."""
    from smile_synth.recipe.finetune import WITHOUT_EFFECT_ON_HEADS, FinetuneParams

    overrides = [f"finetune.layers={layers}"] if layers is not None else []
    if freeze:
        fields = FinetuneParams.model_fields
        overrides += [f"finetune.{name}={fields[name].default}" for name in WITHOUT_EFFECT_ON_HEADS]
        overrides.append("finetune.freeze=true")
    return overrides


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("finetune")(finetune)
