"""``smile-synth cache``: a store and a recipe in, its teacher's features beside the store; run it again to resume."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from smile_synth.cli.shell import command
from smile_synth.cli.stores import RecipeFolder, TrustCode
from smile_synth.errors import TrainingError

if TYPE_CHECKING:
    from smile_synth.teachers.cache import FeatureCache, Precision


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("cache")(cache)


def cache(
    store: Annotated[str, typer.Argument(help="Finished store, or its URL.")],
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="Bundled recipe or YAML file with the teacher.")],
    dtype: Annotated[str, typer.Option(help="float16, or int8: half the size, a larger error.")] = "float16",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    clips_at_once: Annotated[int, typer.Option(min=1, help="Clips that the teacher sees together.")] = 16,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.sub=value over the recipe; repeatable.")] = None,
    folder: RecipeFolder = None,
    trust_code: TrustCode = False,
) -> None:
    """Write the teacher's features of every clip beside a store.

    'pretrain' then reads them instead of running the teacher. Killed or stopped at any moment, the same command
    resumes; run on a damaged cache, it writes it anew.

    \b
    Examples:
      smile-synth cache clips.zarr --recipe smile-vit-b
      smile-synth cache clips.zarr --recipe mine.yaml --dtype int8
      smile-synth cache clips.zarr --recipe mine.yaml --set pretrain.teacher.layer=blocks.3
    """
    if dtype not in ("float16", "int8"):
        raise typer.BadParameter(f"--dtype is float16 or int8, got {dtype!r}")
    from smile_synth.masking.grid import TokenGrid
    from smile_synth.recipe.recipe import load_recipe
    from smile_synth.store import Store
    from smile_synth.teachers.cache import CacheSource
    from smile_synth.teachers.cache_writer import write_cache
    from smile_synth.teachers.teacher import build_teacher
    from smile_synth.training.device import pick_device, using_threads

    loaded = load_recipe(recipe, set_ or ())
    params = loaded.section("pretrain")
    teacher = params.teacher_or_default
    if teacher is None:
        raise TrainingError(
            f"{loaded.typed} predicts {params.target.kind}, which needs no teacher: there is nothing to cache"
        )
    opened, chosen = Store.open(store, folder=folder, trust_code=trust_code), pick_device(device)
    size = params.student
    grid = TokenGrid.of(opened.canvas, tubelet_size=size.tubelet_size, patch_size=size.patch_size)
    source = CacheSource.of(opened, teacher, grid, folder=loaded.folder, device=chosen)
    precision: Precision = "int8" if dtype == "int8" else "float16"
    with using_threads(params.runtime.threads):
        written, clips = write_cache(
            source,
            lambda: build_teacher(teacher, grid, folder=loaded.folder, device=chosen),
            dtype=precision,
            clips_at_once=clips_at_once,
        )
    if not clips:
        typer.echo(f"{written.path} was complete already.")
    _show(written, store, loaded.typed)


def _show(cache: FeatureCache, store: str, recipe: str) -> None:
    from smile_synth.store.summary import format_size, store_nbytes

    tokens, width = cache.shape
    typer.echo(
        f"Features {cache.path}: {cache.layout.num_clips} clips of {tokens} x {width} {cache.root.dtype}, "
        f"{format_size(store_nbytes(cache.path))}, relative error {cache.root.relative_error:.2g}."
    )
    train = command("pretrain", *shlex.split(recipe), "--data", store, "--out", "runs/first")
    typer.echo(f"Train with them: {train}")
