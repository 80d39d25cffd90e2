"""``smile-synth verify``: check every byte of a store, and repair it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smile_synth.cli.shell import command
from smile_synth.errors import counted, printable

if TYPE_CHECKING:
    from smile_synth.generator.dataset import Dataset
    from smile_synth.store import Store
    from smile_synth.store.verify import Damage

EXIT_DAMAGED = 1
MAX_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("verify")(verify)


def verify(
    store: Annotated[str, typer.Argument(help="A finished store: a folder, or s3://, gs:// or az://.")],
    rerender: Annotated[int, typer.Option(min=0, help="Render this many random clips again, and compare.")] = 0,
    repair: Annotated[bool, typer.Option("--repair", help="Render lost and damaged shards again.")] = False,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where relative paths of the store's recipe start.  [default: as recorded, or here]"),
    ] = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Run generator files that the store's recipe names; read them first.")
    ] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Files read at a time.  [default: one a core]")] = None,
) -> None:
    """Check every byte of a store, that it decodes, and that its arrays fit together.

    Of a virtual store, a sample of the clips is rendered and compared with digests that were made with the store.

    Exit code 1 means that something is wrong and was not repaired.

    \b
    Examples:
      smile-synth verify clips.zarr
      smile-synth verify clips.zarr --rerender 100
      smile-synth verify clips.zarr --repair
      smile-synth verify s3://bucket/clips.zarr
    """
    from smile_synth.machine.cores import num_cores
    from smile_synth.store import Store
    from smile_synth.store.origin import stored_dataset
    from smile_synth.store.verify import repair_store, restore_root, verify_store
    from smile_synth.store.verify import rerender as render_again

    if repair and restore_root(store):
        typer.echo("The root document was written again from its copy.")
    opened = Store.open(store, folder=folder, trust_code=trust_code)
    damages = verify_store(opened, threads=threads or num_cores())
    _show(damages)
    dataset = None
    if rerender or (repair and damages):
        dataset = stored_dataset(opened.path, opened.manifest, opened.folder, trust_code=trust_code)
    if repair and dataset is not None and damages:
        _note_difference(opened, dataset)
        before = len(damages)
        damages = repair_store(opened, dataset, damages)
        typer.echo(f"{before - len(damages)} of {counted(before, 'damaged place')} repaired.")
        opened = Store.open(store, folder=folder, trust_code=trust_code)
    if rerender and dataset is not None:
        _note_difference(opened, dataset)
        others = render_again(opened, dataset, rerender)
        _show(others)
        typer.echo(f"{min(rerender, len(opened))} clips were rendered again.")
        damages += others
    _conclude(opened, damages, repair)


def _show(damages: list[Damage]) -> None:
    for damage in damages[:MAX_SHOWN]:
        typer.echo(f"DAMAGED {printable(str(damage))}")
    if len(damages) > MAX_SHOWN:
        typer.echo(f"... and {len(damages) - MAX_SHOWN} more")


def _note_difference(store: Store, dataset: Dataset) -> None:
    from smile_synth.store.verify import difference_now

    difference = difference_now(store, dataset)
    if difference:
        typer.echo(f"Note: {printable(difference)}; clips may differ.")


def _conclude(store: Store, damages: list[Damage], repair: bool) -> None:
    path = printable(str(store.path))
    if not damages:
        typer.echo(f"{path} is sound: {store.num_clips} clips, digest {store.digest[:16]}.")
        return
    if store.manifest.imported is not None:
        from smile_synth.store.origin import import_command

        advice = f"its clips are those of videos, import them again: {printable(import_command(store.manifest))}"
    else:
        advice = "render the store again" if repair else f"repair it with: {command('verify', store.path, '--repair')}"
    typer.echo(f"{path} has {counted(len(damages), 'damaged place')}; {advice}", err=True)
    raise typer.Exit(EXIT_DAMAGED)
