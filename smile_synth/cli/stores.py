"""What commands share that read or write stores: options for virtual ones, and what is said of a store."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smile_synth.cli.shell import command
from smile_synth.errors import RecipeError, StoreError, printable

if TYPE_CHECKING:
    from smile_synth.store import Store
    from smile_synth.store.chunk_cache import ChunkCache

TrustCode = Annotated[
    bool,
    typer.Option("--trust-code", help="Run generator files that a virtual store's recipe names; read them first."),
]
RecipeFolder = Annotated[
    Path | None,
    typer.Option("--folder", help="Where relative paths of a virtual store's recipe start.  [default: as recorded]"),
]


def open_data(text: str, folder: Path | None, trust_code: bool, cache: ChunkCache | None = None) -> Store:
    """Open what ``--data`` names: a store, or the stream of a recipe (``stream:RECIPE``)."""
    from smile_synth.store import Store
    from smile_synth.store.stream import PREFIX, open_stream

    if not text.startswith(PREFIX):
        return Store.open(text, folder=folder, trust_code=trust_code, cache=cache)
    if folder is not None or trust_code:
        raise StoreError(f"{text} is a stream; --folder and --trust-code go with stores")
    return open_stream(text)


def open_cache(text: str, data: list[str]) -> ChunkCache:
    """Open the cache that is written like ``DIR:200GB``, for stores some of which are read over a network.

    Raises:
        StoreError: it cannot be opened, or has no effect.
    """
    from smile_synth.store.chunk_cache import ChunkCache
    from smile_synth.store.storage import locate
    from smile_synth.store.stream import PREFIX

    if all(path.startswith(PREFIX) or isinstance(locate(path), Path) for path in data):
        raise StoreError(
            "--cache has no effect for stores on disk; leave it out, or name a store by s3://, gs:// or az://"
        )
    return ChunkCache.parse(text)


def show_store(store: Store, recipe: str = "") -> None:
    """Say what a store holds and how large it is, and what to do with it.

    Args:
        store: a finished one.
        recipe: that rendered it, as it was typed, where the command knows it.
    """
    from smile_synth.store.summary import format_size, store_nbytes

    canvas, path, nbytes = store.canvas, printable(str(store.path)), store_nbytes(store.path)
    size = format_size(nbytes)
    if store.is_virtual:
        size += f", {format_size(nbytes / store.num_clips)} a clip: frames are rendered when they are read"
    typer.echo(
        f"Store {path}: {store.num_clips} clips of {canvas.num_frames} frames, {canvas.height}x{canvas.width}, {size}."
    )
    typer.echo(f"Look at it: {command('preview', store.path, '--out', 'clips.png', '--boxes')}")
    typer.echo(f"Train on it: {training_command(store, recipe if store.recipe.get('pretrain') is not None else '')}")


def training_command(store: Store, recipe: str = "") -> str:
    """Return the command that trains on a store.

    Args:
        store: a finished one.
        recipe: that trains, as it was typed; else the store's own, where that trains and is bundled or lies here. One
            whose clips are of another size is not named.
    """
    from smile_synth.recipe.recipe import bundled_recipes

    if not recipe and store.recipe.get("pretrain") is not None:
        name = str(store.recipe.get("name", ""))
        here = (file for file in (f"{name}.yaml", f"{name}.yml") if Path(file).is_file())
        recipe = name if name in bundled_recipes() else next(here, "")
    words = shlex.split(recipe)
    if not words or (len(words) == 1 and not _takes(words[0], store)):
        words = ["RECIPE"]
    return command("pretrain", *words, "--data", store.path, "--out", "runs/first")


def _takes(recipe: str, store: Store) -> bool:
    from smile_synth.recipe.recipe import load_recipe
    from smile_synth.training.agreement import takes_canvas

    try:
        return takes_canvas(load_recipe(recipe), store.canvas)
    except RecipeError:
        # A file here that has changed since it rendered the store.
        return False
