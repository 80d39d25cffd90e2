"""``smile-synth report``: a store in, one page and its figures as JSON out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXIT_FAILED = 1


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("report")(report)


def report(
    store: Annotated[Path, typer.Argument(help="A finished store.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="An .html file, or a folder.  [default: STORE-report/]")
    ] = None,
    clips: Annotated[int, typer.Option(min=1, help="How many clips to look at, chosen by --seed.")] = 1000,
    all_: Annotated[bool, typer.Option("--all", help="Look at all clips.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the clips.")] = 0,
    fail_on: Annotated[
        list[str] | None, typer.Option("--fail-on", help="Exit with 1 on this warning, or on 'any'; repeatable.")
    ] = None,
) -> None:
    """Measure a data set and show it: motion, appearance, assets, and what is wrong with it.

    Writes one HTML page that needs no network, and the same figures as JSON beside it.

    \b
    Examples:
      smile-synth report clips.zarr
      smile-synth report clips.zarr -o clips.html --clips 5000
      smile-synth report clips.zarr --all --fail-on static-clips --fail-on off-canvas
    """
    from smile_synth.report.output import report_files, write_report
    from smile_synth.report.survey import SurveyParams, survey
    from smile_synth.report.verdict import check_codes, failed_codes
    from smile_synth.store import Store

    check_codes(fail_on or [])
    opened = Store.open(store)
    files = report_files(out or default_out(store))
    made = survey(opened, SurveyParams(clips=None if all_ else clips, seed=seed))
    write_report(opened, made, files)
    for finding in made.verdict:
        typer.echo(f"warning [{finding.code}]: {finding.text} {finding.advice}")
    typer.echo(f"wrote {files.page} ({files.page.stat().st_size / 1e6:.1f} MB) and {files.content}")
    typer.echo(f"next: smile-synth pretrain RECIPE --data {store} --out RUN")
    failed = failed_codes(made, fail_on or [])
    if failed:
        typer.echo(f"failed on: {', '.join(failed)}", err=True)
        raise typer.Exit(EXIT_FAILED)


def default_out(store: Path) -> Path:
    """Return the folder beside a store that its report goes to."""
    resolved = store.resolve()
    return store.parent / f"{resolved.stem}-report"
