"""``smile-synth slim``: a full store in, the virtual one of the same clips in its place; run it again to resume."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smile_synth.cli.stores import show_store
from smile_synth.errors import printable
from smile_synth.machine.cores import num_cores


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("slim")(slim)


def slim(
    store: Annotated[str, typer.Argument(help="A full store.")],
    workers: Annotated[int | None, typer.Option(min=0, help="Processes; by default one per core.")] = None,
    folder: Annotated[Path, typer.Option(help="Where relative paths of the store's recipe start.")] = Path(),
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Run generator files that the store's recipe names; read them first.")
    ] = False,
) -> None:
    """Make a store virtual: drop its frames, motion and truth, which are rendered when they are read.

    Every byte of the store is checked and every clip is rendered again first; where one comes out otherwise, the store
    stays as it is. 'materialise' turns it back. After a kill or stop at any moment, run the same command again to
    resume.

    \b
    Examples:
      smile-synth slim clips.zarr
      smile-synth slim clips.zarr --workers 8
    """
    from smile_synth.store import Store
    from smile_synth.store.convert import slim as convert

    opened, cores = Store.open(store), num_cores()
    if opened.is_virtual:
        typer.echo(f"{printable(str(store))} is virtual already.")
    show_store(
        convert(
            opened,
            folder=folder,
            trust_code=trust_code,
            workers=cores if workers is None else workers,
            threads=cores,
        )
    )
