"""``smile-synth probe``: a trained model in, a table of what its frozen features know out."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smile_synth.errors import printable

if TYPE_CHECKING:
    from smile_synth.recipe.recipe import Recipe

DEFAULT_RECIPE, FULL_RECIPE = "probe-motion", "probe-full"


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
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for results; else MODEL/probe.")] = None,
    clips: Annotated[
        Path | None, typer.Option(help="Folder of rendered clips, for several models to share; else OUT/clips.")
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

    Clips and features are kept; after Ctrl-C the same command resumes.

    \b
    Examples:
      smile-synth probe runs/first
      smile-synth probe runs/first --recipe probe-full --clips cache/clips
      smile-synth probe runs/first --set probe.train_clips=2048
      smile-synth probe vit_b_k400_pretrain.pth --recipe probe-full --device cuda
      smile-synth probe runs/first --recipe my-videos.yaml    (see recipe probe-videos)
    """
    from smile_synth.generator.registry import registered_only
    from smile_synth.machine.cores import num_cores
    from smile_synth.probe.evaluation import ProbePlace, probe_features
    from smile_synth.probe.files import write_results
    from smile_synth.probe.probed_model import extractors_of, open_model, pretraining_assets, supervised_of
    from smile_synth.store import Store
    from smile_synth.training.device import keep_freed_memory, pick_device

    keep_freed_memory()
    where = pick_device(device)
    chosen, is_ours = choose_recipe(recipe, model, set_ or [])
    params = chosen.section("probe")
    probed = open_model(model, where, canvas=params.canvas, heads=heads)
    folder = out or probed.out
    known, note = pretraining_assets(probed, [Store.open(path) for path in data or []])
    place = ProbePlace(
        features=folder / "features",
        clips=clips or folder / "clips",
        recipe_folder=chosen.folder,
        device=where,
        workers=workers or num_cores(),
        pretraining_assets=known,
        notes=(note,) if note and params.sources else (),
    )
    extractors = extractors_of(probed, params)
    # The run may be a stranger's, and its recipe may name a file to be run.
    with nullcontext() if is_ours or trust_code else registered_only(f"the recipe of {model}"):
        results = probe_features(
            extractors, params, probed.canvas, place, checkpoint=str(model), supervised=supervised_of(probed, params)
        )
    files = write_results(results, folder)
    typer.echo("\n".join(map(printable, results.table().split("\n"))))
    table, metrics, right = files[:3]
    typer.echo()
    typer.echo(
        printable(f"wrote {table}, metrics {metrics}, answers {right}, confusion matrices {folder}/confusion-*.png")
    )
    typer.echo(printable(f"next: {shlex.join(_next_command(model, recipe))}"))


def _next_command(model: Path, recipe: str | None) -> list[str]:
    """Return the command that asks more, or that takes the model elsewhere once all was asked."""
    if recipe == FULL_RECIPE:
        return ["smile-synth", "export", str(model), "--format", "safetensors"]
    return ["smile-synth", "probe", str(model), "--recipe", FULL_RECIPE]


def choose_recipe(name: str | None, model: Path, overrides: list[str]) -> tuple[Recipe, bool]:
    """Return the recipe to probe by, and whether the user chose it: the named one, the run's own, or the bundled one.

    Raises:
        RecipeError: there is no such recipe, or an override does not fit it.
    """
    from smile_synth.probe.probed_model import run_of
    from smile_synth.recipe.recipe import load_recipe
    from smile_synth.training.run_folder import RunFolder

    if name is not None:
        return load_recipe(name, overrides), True
    run = run_of(model)
    if run is not None and load_recipe(RunFolder(run).recipe).probe is not None:
        return load_recipe(RunFolder(run).recipe, overrides), False
    return load_recipe(DEFAULT_RECIPE, overrides), True
