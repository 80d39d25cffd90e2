"""``smile-synth render``: a recipe in, a finished store out; run it again to resume."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from smile_synth.cli.shell import command
from smile_synth.cli.stores import show_store
from smile_synth.errors import ClusterError, StoreError, printable
from smile_synth.machine.array_jobs import find_place
from smile_synth.machine.cores import num_cores

if TYPE_CHECKING:
    from smile_synth.generator.dataset import Dataset
    from smile_synth.recipe.recipe import Recipe
    from smile_synth.store.writer import Engine, ShardPart


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("render")(render)


def render(
    recipe: Annotated[str | None, typer.Argument(help="Bundled recipe or YAML file with a dataset section.")] = None,
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="Folder of the store, or s3://, gs:// or az://.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes; by default one per core.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed, instead of the recipe's.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key.sub=value instead of the recipe's; repeatable.")
    ] = None,
    truth: Annotated[
        str | None, typer.Option(help="Store dense ground truth, too: flow,visibility,tracks or some of them.")
    ] = None,
    virtual: Annotated[
        bool, typer.Option("--virtual", help="Keep no frames: they are rendered when they are read.")
    ] = False,
    shards: Annotated[
        str | None,
        typer.Option(help="Render only this part, such as 3/16; auto: the part of this array job; then --finish."),
    ] = None,
    finish: Annotated[bool, typer.Option("--finish", help="Check that all parts are there, and seal.")] = False,
    engine: Annotated[str, typer.Option(help="processes, or ray: on the running Ray cluster.")] = "processes",
) -> None:
    """Render a recipe's clips into a store.

    After a kill or stop at any moment, run the same command again to resume.

    \b
    Examples:
      smile-synth render demo --out clips.zarr
      smile-synth render mine.yaml --out clips.zarr --workers 8 --set dataset.clips=100000
      smile-synth render mine.yaml --out clips.zarr --truth flow,visibility,tracks
      smile-synth render mine.yaml --out clips.zarr --virtual        (1 to 2 KB a clip, see docs/data.md)
      smile-synth render mine.yaml --out clips.zarr --shards 3/16    (one of 16 hosts or Slurm array jobs)
      smile-synth render mine.yaml --out clips.zarr --shards auto    (the same, counted by Slurm or SkyPilot)
      smile-synth render mine.yaml --out clips.zarr --shards auto/16 (a Kubernetes job with 16 completions)
      smile-synth render --finish --out clips.zarr                   (once all 16 are done)
      smile-synth render mine.yaml --out /shared/clips.zarr --engine ray
      smile-synth render mine.yaml --out s3://bucket/clips.zarr      (see docs/object-stores.md)
    """
    if out is None:
        raise typer.BadParameter("say where the store goes: --out STORE")
    if finish:
        if shards or set_ or truth or virtual or seed is not None or workers is not None:
            raise typer.BadParameter("--finish takes --out alone: the store knows the rest")
        _finish(recipe, out)
        return
    if engine == "ray" and workers is not None:
        raise typer.BadParameter("--workers has no effect with --engine ray: the cluster says how many there are")
    if recipe is None:
        raise typer.BadParameter("say what to render: smile-synth render RECIPE --out STORE")
    from smile_synth.api.render import prepare, with_suiting_shards
    from smile_synth.recipe.recipe import load_recipe
    from smile_synth.store.storage import locate

    part = _part(shards) if shards is not None else None
    overrides = [*(set_ or []), *([f"seed={seed}"] if seed is not None else [])]
    if truth is not None:
        overrides.append(f"dataset.store.truth=[{truth}]")
    loaded = with_suiting_shards(load_recipe(recipe, overrides), locate(out))
    dataset = prepare(loaded, locate(out), is_virtual=virtual)
    chosen = _engine(engine, workers if workers is not None else num_cores())
    if part is None:
        _render_all(loaded, dataset, out, chosen, virtual)
    else:
        _render_part(loaded, dataset, out, chosen, virtual, part)


def _part(text: str) -> ShardPart:
    """Return the part that ``--shards`` names; of ``auto`` it says what it was taken from."""
    from smile_synth.store.writer import ShardPart

    word, _, count = text.partition("/")
    if word != "auto":
        return ShardPart.parse(text)
    if text != word and not (count.isascii() and count.isdecimal() and int(count)):
        raise ClusterError(f"--shards auto may be followed by a count, such as auto/16, got {text!r}")
    found = find_place(os.environ, int(count) if count else None)
    typer.echo(f"Part {found.place}/{found.count} of the shards, by {found.source}.")
    return ShardPart(found.place, found.count)


def _engine(name: str, workers: int) -> Engine:
    from smile_synth.store.engines.ray_tasks import on_ray
    from smile_synth.store.writer import in_processes, in_this_process

    if name == "ray":
        return partial(on_ray, note=lambda text: typer.echo(f"render: {text}", err=True))
    if name != "processes":
        raise StoreError(f"--engine is 'processes' or 'ray', got {name!r}")
    return in_processes(workers) if workers else in_this_process


def _render_all(recipe: Recipe, dataset: Dataset, out: str, engine: Engine, is_virtual: bool) -> None:
    from smile_synth.store.writer import fill_store, finish_store

    rendered = fill_store(dataset, out, recipe=recipe.resolved(), engine=engine, is_virtual=is_virtual)
    store = finish_store(out)
    if not rendered:
        typer.echo(f"{printable(out)} was complete already.")
    show_store(store, recipe.typed)


def _render_part(recipe: Recipe, dataset: Dataset, out: str, engine: Engine, is_virtual: bool, part: ShardPart) -> None:
    from smile_synth.store.writer import fill_store

    clips = fill_store(dataset, out, recipe=recipe.resolved(), engine=engine, part=part, is_virtual=is_virtual)
    shown = printable(out)
    typer.echo(f"Part {part.place}/{part.count} of {shown} is complete ({clips} clips rendered now).")
    typer.echo(f"When all {part.count} parts are: {command('render', '--finish', '--out', out)}")


def _finish(recipe: str | None, out: str) -> None:
    from smile_synth.store.writer import finish_store

    if recipe is not None:
        raise typer.BadParameter("--finish takes no recipe: the store knows its own")
    show_store(finish_store(out))
