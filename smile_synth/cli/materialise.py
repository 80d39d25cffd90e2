"""``smile-synth materialise``: a virtual store in, the full one in its place; run it again to resume."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smile_synth.cli.stores import RecipeFolder, TrustCode, show_store
from smile_synth.errors import printable
from smile_synth.machine.cores import num_cores


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("materialise")(materialise)


def materialise(
    store: Annotated[str, typer.Argument(help="A virtual store.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the full store.  [default: in place of the virtual one]"),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes; by default one per core.")] = None,
    folder: RecipeFolder = None,
    trust_code: TrustCode = False,
) -> None:
    """Render the frames of a virtual store into files.

    The result is byte for byte what 'render' without --virtual would have written. Until it is whole, the virtual store
    stays as it is; after a kill or stop at any moment, run the same command again to resume.

    \b
    Examples:
      smile-synth materialise clips.zarr
      smile-synth materialise clips.zarr --out full.zarr --workers 8
    """
    from smile_synth.store import Store
    from smile_synth.store.convert import materialise as convert

    opened = Store.open(store, folder=folder, trust_code=trust_code)
    if not opened.is_virtual:
        typer.echo(f"{printable(str(store))} is not virtual.")
    full = convert(opened, out=out, workers=num_cores() if workers is None else workers)
    show_store(full)
