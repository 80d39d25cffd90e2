"""Measuring stores, and the page that shows what was measured."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from smile_synth.api.inputs import RecipeLike, as_recipe, as_stores
from smile_synth.errors import ReportError
from smile_synth.report.measure.compare import compare_stores
from smile_synth.report.measure.content import Report
from smile_synth.report.measure.feature_statistics import FeatureModel, build_model, parse_model
from smile_synth.report.measure.natural import NaturalSample, find_natural, measure_natural
from smile_synth.report.measure.survey import SurveyParams, survey
from smile_synth.report.measure.training_plan import TrainingPlan, plan_of_store
from smile_synth.report.page.compare_page import write_comparison
from smile_synth.report.page.files import ReportFiles, report_files
from smile_synth.report.page.output import write_report
from smile_synth.scene import Canvas
from smile_synth.store import Store
from smile_synth.store.reader import StoreLike
from smile_synth.store.storage.location import beside

LOG = logging.getLogger(__name__)
DEFAULT_MODEL = "efficientnet_lite0"


class Reported(NamedTuple):
    """What was measured of each store, and where the page lies.

    Args:
        reports: one a store.
        files: the page, and the same metrics as JSON.
        stores: as opened.
    """

    reports: list[Report]
    files: ReportFiles
    stores: list[Store]


def report(
    data: StoreLike | Iterable[StoreLike],
    out: str | Path | None = None,
    *,
    clips: int | None = 1000,
    seed: int = 0,
    natural: str | Path | None = None,
    natural_stride: int = 4,
    feature_model: str = DEFAULT_MODEL,
    feature_clips: int = 1000,
    recipe: RecipeLike | None = None,
) -> Reported:
    """Measure a dataset and write one page that shows it, with the same metrics as JSON; or compare several datasets.

    Args:
        data: one store or several, opened or by path.
        out: an ``.html`` file, or a folder; None: a folder beside a single store, or here for one in a bucket, or
            ``comparison`` for several.
        clips: how many clips to look at, chosen by ``seed``; None for all.
        seed: chooses the clips.
        natural: folder of natural videos or images to compare with; None: what ``report.natural`` of the recipe, or of
            the first store's own, names; empty: none.
        natural_stride: frames of a video to step by.
        feature_model: ``efficientnet_lite0``, ``open_clip:MODEL``, ``timm:MODEL`` (``@FILE`` for weights), or ``none``.
        feature_clips: how many of the clips the feature model sees.
        recipe: whose masks and length to judge, instead of the store's own.

    Returns:
        What was measured of each store (``verdict`` holds the warnings), and where the page lies.

    Raises:
        SmileSynthError: stores, recipe, model or folder do not fit; found before the first clip is measured.

    Examples:
        >>> reported = ss.report("clips.zarr", "report.html", clips=16, feature_model="none")
        >>> found = reported.reports[0]
        >>> found.overview.clips
        64
        >>> "few-backgrounds" in [warning.code for warning in found.verdict]
        False
    """
    stores = as_stores(data)
    if not stores:
        raise ReportError("a report needs at least one store, got none")
    if natural is None:
        natural, note = natural_folder(stores[0], recipe, Path.cwd())
        if note:
            LOG.warning(note)
    measuring = _Measuring(stores, clips=clips, seed=seed, feature_model=feature_model, feature_clips=feature_clips)
    measuring.compare_with(natural or None, stride=natural_stride)
    measuring.judge_by(recipe)
    is_single = len(stores) == 1
    usual = beside(stores[0].path, "-report") if is_single else Path("comparison")
    files = report_files(usual if out is None else Path(out), name="report" if is_single else "comparison")
    surveyed = [survey(store, measuring.params(store)) for store in stores]
    if is_single:
        write_report(stores[0], surveyed[0].report, files, measuring.plan(stores[0]))
    else:
        write_comparison(compare_stores(surveyed), stores, files)
    return Reported([one.report for one in surveyed], files, stores)


def natural_folder(store: Store, recipe: RecipeLike | None, folder: Path) -> tuple[Path | None, str]:
    """Return the natural videos or images that the recipe names, or where none is given the store's own recipe.

    A store may be a stranger's: what its recipe names counts only inside ``folder``.

    Args:
        store: that is reported on.
        recipe: that the user gives.
        folder: where relative paths of the store's recipe start.

    Returns:
        The folder, if there is one, and a note where the store's recipe names one that is not taken.

    Raises:
        ReportError: the given recipe names no folder.
    """
    if recipe is not None:
        loaded = as_recipe(recipe)
        named = loaded.report.natural if loaded.report is not None else ""
        place = loaded.folder / Path(named).expanduser()
        if named and not place.is_dir():
            raise ReportError(f"report.natural takes a folder of videos or images, got {place}, which is no folder")
        return (place if named else None), ""
    section = store.recipe.get("report")
    named = str(section.get("natural") or "") if isinstance(section, dict) else ""
    place = folder / named
    if not named or (place.is_dir() and folder.resolve() in place.resolve().parents):
        return (place if named else None), ""
    return None, f"report.natural {named} of the store's recipe is not in {folder}; give --natural"


class _Measuring:
    """How stores are measured; what several stores share is made once."""

    def __init__(
        self, stores: list[Store], *, clips: int | None, seed: int, feature_model: str, feature_clips: int
    ) -> None:
        self._stores, self._clips, self._seed = stores, clips, seed
        self._teacher, self._feature_clips = parse_model(feature_model), feature_clips
        self._plan: TrainingPlan | None = None
        self._models: dict[tuple[int, int], FeatureModel | None] = {}
        self._samples: dict[tuple[int, int, int], NaturalSample] = {}

    def compare_with(self, natural: str | Path | None, *, stride: int) -> None:
        self._files = None if natural is None else find_natural(Path(natural), seed=self._seed)
        self._stride = stride

    def judge_by(self, recipe: RecipeLike | None) -> None:
        if recipe is None:
            return
        loaded = as_recipe(recipe)
        self._plan = TrainingPlan(loaded.name, loaded.section("pretrain"))
        for store in self._stores:
            self._plan.mask_summaries(store.canvas, seed=self._seed)

    def plan(self, store: Store) -> TrainingPlan | None:
        return self._plan or plan_of_store(store.recipe, store.canvas)

    def params(self, store: Store) -> SurveyParams:
        model = self._model(store.canvas)
        sample = self._natural(store.canvas, model)
        return SurveyParams(self._clips, self._seed, model, self._feature_clips, sample, self.plan(store))

    def _model(self, canvas: Canvas) -> FeatureModel | None:
        size = (canvas.height, canvas.width)
        if size not in self._models:
            teacher = self._teacher
            self._models[size] = None if teacher is None else build_model(teacher, height=size[0], width=size[1])
        return self._models[size]

    def _natural(self, canvas: Canvas, model: FeatureModel | None) -> NaturalSample | None:
        if self._files is None:
            return None
        size = (canvas.height, canvas.width, canvas.num_frames)
        if size not in self._samples:
            self._samples[size] = measure_natural(self._files, canvas, model, stride=self._stride)
        return self._samples[size]
