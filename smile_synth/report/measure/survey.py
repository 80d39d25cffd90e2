"""Looking at a store: a sample of its clips, read once, gives everything that a report says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smile_synth import __version__
from smile_synth.progress import track
from smile_synth.report.measure.appearance_summary import AppearanceSummary
from smile_synth.report.measure.asset_summary import AssetSummary
from smile_synth.report.measure.content import Overview, Report, Training
from smile_synth.report.measure.extremes import Extremes
from smile_synth.report.measure.feature_statistics import FeatureModel, FeatureSummary, Moments
from smile_synth.report.measure.label_summary import LabelSummary
from smile_synth.report.measure.motion_summary import MotionSummary
from smile_synth.report.measure.natural import NaturalSample
from smile_synth.report.measure.sample import ClipBatch, choose_clips, read_batches
from smile_synth.report.measure.tracks import find_tracks
from smile_synth.report.measure.training_plan import TrainingPlan
from smile_synth.report.measure.verdict import judge
from smile_synth.store import Store
from smile_synth.store.summary import store_nbytes

SHEET_CLIPS = 48
ANIMATED_CLIPS = 6
# All labels of these clips are held in memory, to be compared with each other.
PAIRED_CLIPS = 20_000


@dataclass(frozen=True)
class SurveyParams:
    """What to look at.

    Args:
        clips: how many clips, None for all.
        seed: chooses them.
        model: sees frames; None for no features.
        feature_clips: most clips that the model sees; it costs far more than everything else.
        natural: natural files to put the store beside.
        training: what a recipe would do with the store.
    """

    clips: int | None = 1000
    seed: int = 0
    model: FeatureModel | None = None
    feature_clips: int = 1000
    natural: NaturalSample | None = None
    training: TrainingPlan | None = None


@dataclass(frozen=True)
class Surveyed:
    """What was found.

    Args:
        report: everything that can be said of one store alone.
        moments: of the features of its frames, to compare with another's; None without a feature model.
    """

    report: Report
    moments: Moments | None


def survey(store: Store, params: SurveyParams) -> Surveyed:
    """Measure a store.

    Args:
        store: finished.
        params: what to look at.

    Raises:
        DamagedStoreError: a chunk is damaged; names array, shard and clip.
        ModelError: masks do not fit the store's canvas.
    """
    clips = choose_clips(store.num_clips, params.clips, seed=params.seed)
    parts = _Parts(store, params, clips)
    with track(len(clips), f"report {store.path.name}") as progress:
        for batch in read_batches(store, clips):
            parts.add(batch)
            progress.advance(len(batch.clips_B))
    report = _report(store, params, clips, parts)
    moments = None if parts.features is None else parts.features.moments
    return Surveyed(report.model_copy(update={"verdict": judge(report)}), moments)


def _report(store: Store, params: SurveyParams, clips: npt.NDArray[np.int64], parts: _Parts) -> Report:
    few = choose_clips(len(clips), SHEET_CLIPS, seed=params.seed, purpose="report contact sheet")
    moving = choose_clips(len(clips), ANIMATED_CLIPS, seed=params.seed, purpose="report animations")
    natural = params.natural
    return Report(
        smile_synth_version=__version__,
        overview=_overview(store, len(clips), params.seed),
        verdict=[],
        contact_sheet=clips[few].tolist(),
        animated=clips[moving].tolist(),
        extremes=parts.extremes.summary(),
        motion=parts.motion.summary(),
        labels=parts.labels.classes(),
        label_quantities=parts.labels.numbers(),
        label_correlations=parts.labels.correlations(),
        appearance=parts.appearance.summary(),
        features=parts.features.summary(natural.moments if natural else None) if parts.features else None,
        training=_training(store, params.training, parts),
        assets=parts.assets.summary(),
        natural=natural.content if natural else None,
    )


class _Parts:
    """The parts of a report while they are being gathered."""

    def __init__(self, store: Store, params: SurveyParams, clips: npt.NDArray[np.int64]) -> None:
        canvas = store.canvas
        self._height, self._width = canvas.height, canvas.width
        self.motion = MotionSummary(canvas.height, canvas.width)
        self.appearance = AppearanceSummary(canvas.height, canvas.width)
        paired = choose_clips(len(clips), PAIRED_CLIPS, seed=params.seed, purpose="report labels")
        self.labels = LabelSummary(store.label_specs, clips[paired])
        self.assets = AssetSummary(store.assets)
        self.extremes = Extremes()
        self.features = None if params.model is None else FeatureSummary(params.model)
        self.masks = [] if params.training is None else params.training.mask_summaries(canvas, seed=params.seed)
        few = choose_clips(len(clips), params.feature_clips, seed=params.seed, purpose="report features")
        self._feature_clips = clips[few]

    def add(self, batch: ClipBatch) -> None:
        tracks = find_tracks(
            batch.boxes_BKT4, batch.poses_BKT6, batch.opacity_BKT, height=self._height, width=self._width
        )
        motion, layout = self.motion.add(batch, tracks)
        self.appearance.add(batch.frames_BTHWC, batch.boxes_BKT4, batch.clips_B)
        self.labels.add(batch, tracks.is_present_BK)
        self.assets.add(batch)
        self.extremes.add(batch.clips_B, motion, layout)
        for masks in self.masks:
            masks.add(batch.boxes_BKT4)
        is_seen = np.isin(batch.clips_B, self._feature_clips)
        if self.features is not None and is_seen.any():
            self.features.add(batch.frames_BTHWC[is_seen])


def _training(store: Store, plan: TrainingPlan | None, parts: _Parts) -> Training | None:
    if plan is None:
        return None
    return Training(
        recipe=plan.name,
        epochs=plan.epochs(store.num_clips),
        patch_size=plan.params.student.patch_size,
        teacher=plan.teacher,
        masks=[masks.summary() for masks in parts.masks],
    )


def _overview(store: Store, sampled_clips: int, sample_seed: int) -> Overview:
    canvas = store.canvas
    return Overview(
        name=store.path.resolve().name,
        clips=store.num_clips,
        sampled_clips=sampled_clips,
        sample_seed=sample_seed,
        frames=canvas.num_frames,
        height=canvas.height,
        width=canvas.width,
        max_objects=store.max_objects,
        bytes_on_disk=store_nbytes(store.path),
        seed=store.seed,
        generators=list(store.generators),
        digest=store.digest,
        versions=dict(store.manifest.versions),
        recipe=store.recipe,
    )
