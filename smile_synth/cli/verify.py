"""``smile-synth verify``: is every byte of a store what it was, and can it be repaired."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from smile_synth.generator.dataset import Dataset
    from smile_synth.store import Store
    from smile_synth.store.verify import Finding

EXIT_DAMAGED = 1
MAX_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("verify")(verify)


def verify(
    store: Annotated[Path, typer.Argument(help="A finished store.")],
    rerender: Annotated[int, typer.Option(min=0, help="Render so many random clips again, and compare.")] = 0,
    repair: Annotated[bool, typer.Option("--repair", help="Render lost and damaged shards again.")] = False,
    folder: Annotated[Path, typer.Option(help="Where relative paths of the store's recipe start.")] = Path(),
    threads: Annotated[int | None, typer.Option(min=1, help="Files read at a time.  [default: one a core]")] = None,
) -> None:
    """Check every byte of a store, that it decodes, and that its arrays fit together.

    Exit code 1 means that something is wrong and was not repaired.

    \b
    Examples:
      smile-synth verify clips.zarr
      smile-synth verify clips.zarr --rerender 100
      smile-synth verify clips.zarr --repair
    """
    from smile_synth.machine.cores import num_cores
    from smile_synth.store import Store
    from smile_synth.store.verify import dataset_of, repair_store, verify_store
    from smile_synth.store.verify import rerender as render_again

    opened = Store.open(store)
    findings = verify_store(opened, threads=threads or num_cores())
    _show(findings)
    dataset = dataset_of(opened, folder) if rerender or (repair and findings) else None
    if repair and dataset is not None and findings:
        _note_difference(opened, dataset)
        before = len(findings)
        findings = repair_store(opened, dataset, findings)
        typer.echo(f"{before - len(findings)} of {before} findings were repaired.")
        opened = Store.open(store)
    if rerender and dataset is not None:
        _note_difference(opened, dataset)
        others = render_again(opened, dataset, rerender)
        _show(others)
        typer.echo(f"{min(rerender, len(opened))} clips were rendered again.")
        findings += others
    _conclude(opened, findings, repair)


def _show(findings: list[Finding]) -> None:
    for finding in findings[:MAX_SHOWN]:
        typer.echo(f"DAMAGED {finding}")
    if len(findings) > MAX_SHOWN:
        typer.echo(f"... and {len(findings) - MAX_SHOWN} more")


def _note_difference(store: Store, dataset: Dataset) -> None:
    from smile_synth.store.verify import difference_now

    difference = difference_now(store, dataset)
    if difference:
        typer.echo(f"Note: {difference}; clips may come out otherwise.")


def _conclude(store: Store, findings: list[Finding], repair: bool) -> None:
    if not findings:
        typer.echo(f"{store.path} is sound: {store.num_clips} clips, digest {store.digest[:16]}.")
        return
    advice = "render the store again" if repair else f"repair it with: smile-synth verify {store.path} --repair"
    typer.echo(f"{store.path} has {len(findings)} damaged places; {advice}", err=True)
    raise typer.Exit(EXIT_DAMAGED)
