"""``smile-synth report``: stores in, one page and its metrics as JSON out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smile_synth.cli.shell import command
from smile_synth.cli.stores import RecipeFolder, TrustCode, training_command
from smile_synth.errors import ReportError, printable

if TYPE_CHECKING:
    from smile_synth.api.report import Reported
    from smile_synth.report.measure.content import Report

EXIT_FAILED = 1


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("report")(report)


def report(
    stores: Annotated[
        list[str] | None, typer.Argument(help="A finished store, or its URL; several with --compare.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="An .html file, or a folder.  [default: STORE-report/]")
    ] = None,
    clips: Annotated[int, typer.Option(min=1, help="How many clips to look at, chosen by --seed.")] = 1000,
    all_: Annotated[bool, typer.Option("--all", help="Look at all clips.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the clips.")] = 0,
    natural: Annotated[
        Path | None, typer.Option("--natural", help="Folder of natural videos or images beside it; else the recipe's.")
    ] = None,
    no_natural: Annotated[
        bool, typer.Option("--no-natural", help="Compare with nothing, even if the recipe names a folder.")
    ] = False,
    natural_stride: Annotated[int, typer.Option(min=1, max=64, help="Frames of a video to step by.")] = 4,
    feature_model: Annotated[
        str, typer.Option(help="efficientnet_lite0, open_clip:MODEL, timm:MODEL (@FILE for weights), or none.")
    ] = "efficientnet_lite0",
    feature_clips: Annotated[int, typer.Option(min=2, help="How many of the clips the feature model sees.")] = 1000,
    recipe: Annotated[
        str | None, typer.Option(help="Whose masks and length to judge, instead of the store's own recipe.")
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Compare several stores.")] = False,
    fail_on: Annotated[
        list[str] | None, typer.Option("--fail-on", help="Exit with 1 on this warning, or on 'any'; repeatable.")
    ] = None,
    folder: RecipeFolder = None,
    trust_code: TrustCode = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of the metrics, and exit.")] = False,
) -> None:
    """Measure a dataset and show it: motion, appearance, masks, assets, and what is wrong with it.

    Writes one HTML page that needs no network, and the same metrics as JSON next to it.

    \b
    Examples:
      smile-synth report clips.zarr
      smile-synth report clips.zarr -o clips.html --natural my-videos/
      smile-synth report clips.zarr --all --fail-on static-clips --fail-on off-canvas
      smile-synth report --compare shapes.zarr cutouts.zarr -o compared.html
      smile-synth report --schema > report.schema.json
    """
    if schema:
        _print_schema()
        return
    paths = stores or []
    if compare != (len(paths) > 1) or not paths:
        raise ReportError(
            f"report takes one store, or several with --compare, got {len(paths)} stores "
            f"{'with' if compare else 'without'} --compare"
        )
    from smile_synth.api.report import natural_folder
    from smile_synth.api.report import report as measure
    from smile_synth.report.measure.verdict import check_codes
    from smile_synth.store import Store

    if natural is not None and no_natural:
        raise ReportError(f"--natural {natural} and --no-natural exclude each other: give one of them")
    check_codes(fail_on or [])
    opened = [Store.open(path, folder=folder, trust_code=trust_code) for path in paths]
    if natural is None and not no_natural:
        natural, note = natural_folder(opened[0], recipe, folder or Path.cwd())
        if note:
            typer.echo(printable(f"note: {note}"), err=True)
    made = measure(
        opened,
        out,
        clips=None if all_ else clips,
        seed=seed,
        natural=natural or "",
        natural_stride=natural_stride,
        feature_model=feature_model,
        feature_clips=feature_clips,
        recipe=recipe,
    )
    _show(made, recipe)
    _fail(made.reports, fail_on or [])


def _show(made: Reported, recipe: str | None) -> None:
    files, first = made.files, made.stores[0].path
    is_single = len(made.stores) == 1
    for finding in made.reports[0].verdict if is_single else ():
        typer.echo(printable(f"warning [{finding.code}]: {finding.text} {finding.advice}"))
    typer.echo(printable(f"wrote {files.page} ({files.page.stat().st_size / 1e6:.1f} MB) and {files.content}"))
    if is_single:
        typer.echo(f"next: {training_command(made.stores[0], recipe or '')}")
    else:
        typer.echo(f"next, for each one's own page: {command('report', first)}")


def _fail(reports: list[Report], codes: list[str]) -> None:
    from smile_synth.report.measure.verdict import failed_codes

    failed = [f"{report.overview.name}: {code}" for report in reports for code in failed_codes(report, codes)]
    if failed:
        typer.echo(printable(f"failed on {', '.join(failed)}"), err=True)
        raise typer.Exit(EXIT_FAILED)


def _print_schema() -> None:
    import json

    from smile_synth.report.measure.content import Report

    typer.echo(json.dumps(Report.model_json_schema(), indent=1))
