"""``smile-synth card``: a dataset card for people and one for machines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("card")(card)


def card(
    store: Annotated[str, typer.Argument(help="A finished store: a folder, or s3://, gs:// or az://.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of both files.  [default: STORE-card/]"),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="JSON of a report, whose metrics and warnings go on the card.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the dataset.  [default: the store's]")] = "",
    creator: Annotated[str, typer.Option(help="Who made it.")] = "",
    url: Annotated[str, typer.Option(help="Where it is, or will be, published.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of the whole.  [default: that of the assets]")] = "",
) -> None:
    """Write a dataset card: Markdown for the Hugging Face Hub, and Croissant JSON-LD.

    \b
    Examples:
      smile-synth card clips.zarr
      smile-synth card clips.zarr -o published/ --report clips-report/report.json --creator "Our lab"
    """
    from smile_synth.errors import ReportError, printable
    from smile_synth.report.card.card import CardParams, build_card, card_name, dataset_description, read_report
    from smile_synth.report.card.croissant import croissant
    from smile_synth.report.card.foreign_text import json_text
    from smile_synth.report.page.files import write_text
    from smile_synth.store import Store
    from smile_synth.store.storage.location import beside

    opened = Store.open(store)
    params = CardParams(name=name, creator=creator, url=url, licence=licence)
    measured = None if report is None else read_report(report, opened)
    folder = out or beside(opened.path, "-card")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReportError(f"the card cannot be written to {folder}: {error.strerror}; give another --out") from None
    document = croissant(
        opened, name=card_name(opened, params), description=dataset_description(opened), url=url, creator=creator
    )
    write_text(folder / "README.md", build_card(opened, params, measured))
    write_text(folder / "croissant.json", json_text(document) + "\n")
    typer.echo(printable(f"wrote {folder / 'README.md'} and {folder / 'croissant.json'}"))
    typer.echo(
        printable(
            f"next: put both beside {opened.path.name} where you publish it; mlcroissant validate reads the second"
        )
    )
