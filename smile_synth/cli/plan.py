"""``smile-synth plan``: hours, terabytes, objects, network and memory of a large rendering and its training."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from smile_synth.cli.shell import command
from smile_synth.errors import ClusterError, printable
from smile_synth.machine.cores import num_cores

if TYPE_CHECKING:
    from smile_synth.plan.forecast import Forecast


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("plan")(plan)


def plan(
    recipe: Annotated[str, typer.Argument(help="Bundled recipe or YAML file with a dataset section.")],
    clips: Annotated[str | None, typer.Option(help="Clips to forecast, such as 10e6; by default the recipe's.")] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="Cores that will render; by default those here.")] = None,
    gpus: Annotated[int | None, typer.Option(min=1, help="GPUs that will train; 1 where a --model is given.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Recipe of the training; with --gpus alone, the recipe itself.")
    ] = None,
    gpu: Annotated[str, typer.Option(help="Kind of GPU, such as h100, h200, a100, l40s or b200.")] = "h100",
    mfu: Annotated[
        float, typer.Option(min=0.001, max=1, help="Share of the GPU's bfloat16 peak that is reached: an assumption.")
    ] = 0.35,
    steps_per_second: Annotated[
        float | None, typer.Option(min=1e-9, help="Updates a second that you measured there, instead of --mfu.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key.sub=value instead of the recipe's; repeatable.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="About how long the sample renders.")] = 20.0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes for it; by default one per core.")] = None,
    scratch: Annotated[
        Path | None, typer.Option(help="Folder for the sample, on the file system that the store will be on.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything to this file, too.")] = None,
) -> None:
    """Forecast a large rendering and its training from a sample that is rendered here.

    Rendering is measured. The speed of GPUs is not: it is arithmetic with an assumed share of their peak.

    \b
    Examples:
      smile-synth plan mine.yaml --clips 10e6 --cores 512
      smile-synth plan mine.yaml --clips 10e6 --cores 512 --gpus 8 --model smile-vit-b
      smile-synth plan mine.yaml --clips 10e6 --gpus 64 --model smile-vit-l --gpu h200 --mfu 0.3 --json plan.json
      smile-synth plan mine.yaml --gpus 8 --model smile-vit-b --steps-per-second 4.2 --scratch /shared
    """
    from smile_synth.files import replace_file
    from smile_synth.plan.advice import advise
    from smile_synth.plan.forecast import Cluster
    from smile_synth.plan.gpus import find_gpu
    from smile_synth.plan.make import make_forecast
    from smile_synth.recipe.recipe import load_recipe

    loaded = load_recipe(recipe, [*(set_ or []), *([f"dataset.clips={_whole(clips)}"] if clips else [])])
    trained = load_recipe(model) if model is not None else loaded if gpus is not None else None
    if trained is None and steps_per_second is not None:
        raise typer.BadParameter("--steps-per-second is the speed of a training: name its recipe with --model")
    here = workers or num_cores()
    cluster = Cluster(cores or here, gpus or 1, find_gpu(gpu), mfu, steps_per_second)
    forecast = make_forecast(loaded, trained, cluster, seconds=seconds, workers=here, scratch=scratch)
    advice = advise(forecast)
    _show(forecast, advice)
    if json_file is not None:
        replace_file(json_file, json.dumps(forecast.document(advice), indent=2) + "\n")
        typer.echo(f"wrote {printable(str(json_file))}")
    render = command("render", *shlex.split(loaded.typed), "--out", "STORE")
    typer.echo(f"Next: {render}   (on a cluster: docs/cluster.md)")


def _whole(text: str) -> int:
    """Return the whole number that is written like 10e6 or 10_000_000."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not math.isfinite(number) or number < 1 or number != int(number):
        raise ClusterError(f"--clips must be a whole number of at least 1, such as 10e6, got {text!r}")
    return int(number)


def _show(forecast: Forecast, advice: tuple[str, ...]) -> None:
    from smile_synth.plan.table import rows

    clips = forecast.rendering.clips
    typer.echo(f"Plan for {clips:,} clips of {printable(forecast.recipe)}")
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in rows(forecast):
        table.add_row(label, text)
    Console().print(table, highlight=False, markup=False)
    typer.echo("\nWhat to change:" if advice else "\nNothing needs to change.")
    for sentence in advice:
        typer.echo(f"  {sentence}")
