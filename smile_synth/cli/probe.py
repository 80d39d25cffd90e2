"""``smile-synth probe``: a trained model in, a table of what its frozen features know out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smile_synth.cli.shell import command
from smile_synth.errors import printable

FULL_RECIPE = "probe-full"


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("probe")(probe)


def probe(
    model: Annotated[
        Path, typer.Argument(help="Run folder, checkpoint, published VideoMAE file, or Hugging Face folder.")
    ],
    recipe: Annotated[
        str | None, typer.Option(help="Recipe with a probe section; else the run's own, or probe-motion.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for results; else MODEL/probe; with --recipe NAME, MODEL/probe/NAME."),
    ] = None,
    clips: Annotated[
        Path | None,
        typer.Option(help="Folder of rendered clips, for several models to share; else in OUT or MODEL/probe."),
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option("--data", "-d", help="Store it was pretrained on, to check for shared images.")
    ] = None,
    heads: Annotated[int | None, typer.Option(min=1, help="Attention heads, where the file does not tell.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes and threads; else one a core.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.sub=value over the recipe; repeatable.")] = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Run generator files that the run's recipe names; read them first.")
    ] = False,
) -> None:
    """Measure what frozen features know, with the same network untrained as baseline.

    Each recipe named with --recipe has a folder of its own for results; clips and features are shared.
    After Ctrl-C the same command resumes.

    \b
    Examples:
      smile-synth probe runs/first
      smile-synth probe runs/first --recipe probe-full --clips cache/clips
      smile-synth probe runs/first --set probe.train_clips=2048
      smile-synth probe vit_b_k400_pretrain.pth --recipe probe-full --device cuda
      smile-synth probe runs/first --recipe my-videos.yaml    (see recipe probe-videos)
    """
    from smile_synth.api.probe import probe as probe_model

    results, (table, metrics, right, *_), folder = probe_model(
        model,
        recipe,
        overrides=set_ or (),
        out=out,
        clips=clips,
        data=data or (),
        heads=heads,
        device=device,
        workers=workers,
        trust_code=trust_code,
    )
    typer.echo("\n".join(map(printable, results.table().split("\n"))))
    typer.echo()
    typer.echo(
        printable(f"wrote {table}, metrics {metrics}, answers {right}, confusion matrices {folder}/confusion-*.png")
    )
    # What asks more, or what takes the model elsewhere once all was asked.
    told = ["--heads", heads] if heads is not None else []
    if recipe == FULL_RECIPE:
        next_command = command("export", model, "--format", "safetensors", *told)
    else:
        next_command = command("probe", model, "--recipe", FULL_RECIPE, *told)
    typer.echo(f"next: {next_command}")
