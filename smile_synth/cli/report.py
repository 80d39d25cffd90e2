"""``smile-synth report``: stores in, one page and its metrics as JSON out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smile_synth.cli.stores import RecipeFolder, TrustCode
from smile_synth.errors import ReportError, printable

if TYPE_CHECKING:
    from smile_synth.report.measure.content import Report
    from smile_synth.report.measure.feature_statistics import FeatureModel
    from smile_synth.report.measure.natural import NaturalFiles, NaturalSample
    from smile_synth.report.measure.survey import SurveyParams
    from smile_synth.report.measure.training_plan import TrainingPlan
    from smile_synth.scene import Canvas
    from smile_synth.store import Store

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
        Path | None, typer.Option("--natural", help="Folder of natural videos or images to compare with.")
    ] = None,
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
    from smile_synth.report.measure.verdict import check_codes
    from smile_synth.store import Store

    check_codes(fail_on or [])
    job = _Job(clips=None if all_ else clips, seed=seed, natural=natural, stride=natural_stride)
    job.prepare(
        [Store.open(path, folder=folder, trust_code=trust_code) for path in paths], feature_model, feature_clips, recipe
    )
    place = out or (default_out(job.stores[0]) if len(paths) == 1 else Path("comparison"))
    made = _compare(job, place) if compare else _report_one(job, place)
    _fail(made, fail_on or [])


class _Job:
    """What the options ask for; everything that can be wrong is looked at before the first clip is measured."""

    def __init__(self, *, clips: int | None, seed: int, natural: Path | None, stride: int) -> None:
        self.clips, self.seed, self.natural, self.stride = clips, seed, natural, stride
        self.stores: list[Store] = []
        self._plan: TrainingPlan | None = None
        self._models: dict[tuple[int, int], FeatureModel | None] = {}
        self._samples: dict[tuple[int, int, int], NaturalSample] = {}

    def prepare(self, stores: list[Store], feature_model: str, feature_clips: int, recipe: str | None) -> None:
        from smile_synth.report.measure.feature_statistics import parse_model
        from smile_synth.report.measure.natural import find_natural

        self.stores = stores
        self._teacher, self._feature_clips = parse_model(feature_model), feature_clips
        self._files: NaturalFiles | None = None if self.natural is None else find_natural(self.natural, seed=self.seed)
        if recipe is not None:
            self._plan = self._plan_of(recipe)

    def _plan_of(self, recipe: str) -> TrainingPlan:
        from smile_synth.recipe.recipe import load_recipe
        from smile_synth.report.measure.training_plan import TrainingPlan

        loaded = load_recipe(recipe)
        plan = TrainingPlan(loaded.name, loaded.section("pretrain"))
        for store in self.stores:
            plan.mask_summaries(store.canvas, seed=self.seed)
        return plan

    def plan(self, store: Store) -> TrainingPlan | None:
        from smile_synth.report.measure.training_plan import plan_of_store

        return self._plan or plan_of_store(store.recipe, store.canvas)

    def params(self, store: Store) -> SurveyParams:
        from smile_synth.report.measure.survey import SurveyParams

        model = self._model(store.canvas)
        sample = self._natural(store.canvas, model)
        return SurveyParams(self.clips, self.seed, model, self._feature_clips, sample, self.plan(store))

    def _model(self, canvas: Canvas) -> FeatureModel | None:
        from smile_synth.report.measure.feature_statistics import build_model

        size = (canvas.height, canvas.width)
        if size not in self._models:
            teacher = self._teacher
            self._models[size] = None if teacher is None else build_model(teacher, height=size[0], width=size[1])
        return self._models[size]

    def _natural(self, canvas: Canvas, model: FeatureModel | None) -> NaturalSample | None:
        from smile_synth.report.measure.natural import measure_natural

        if self._files is None:
            return None
        size = (canvas.height, canvas.width, canvas.num_frames)
        if size not in self._samples:
            self._samples[size] = measure_natural(self._files, canvas, model, stride=self.stride)
        return self._samples[size]


def _report_one(job: _Job, out: Path) -> list[Report]:
    from smile_synth.report.measure.survey import survey
    from smile_synth.report.page.files import report_files
    from smile_synth.report.page.output import write_report

    (store,) = job.stores
    files = report_files(out)
    made = survey(store, job.params(store)).report
    write_report(store, made, files, job.plan(store))
    for finding in made.verdict:
        typer.echo(printable(f"warning [{finding.code}]: {finding.text} {finding.advice}"))
    typer.echo(printable(f"wrote {files.page} ({files.page.stat().st_size / 1e6:.1f} MB) and {files.content}"))
    typer.echo(printable(f"next: smile-synth pretrain RECIPE --data {store.path} --out RUN"))
    return [made]


def _compare(job: _Job, out: Path) -> list[Report]:
    from smile_synth.report.measure.compare import compare_stores
    from smile_synth.report.measure.survey import survey
    from smile_synth.report.page.compare_page import write_comparison
    from smile_synth.report.page.files import report_files

    files = report_files(out, name="comparison")
    surveyed = [survey(store, job.params(store)) for store in job.stores]
    write_comparison(compare_stores(surveyed), job.stores, files)
    typer.echo(printable(f"wrote {files.page} ({files.page.stat().st_size / 1e6:.1f} MB) and {files.content}"))
    typer.echo(printable(f"next: smile-synth report {job.stores[0].path} for each one's own page"))
    return [one.report for one in surveyed]


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


def default_out(store: Store) -> Path:
    """Return the folder beside a store that its report goes to; for a store in a bucket it lies here."""
    from smile_synth.store.storage.location import beside

    return beside(store.path, "-report")
