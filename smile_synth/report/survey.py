"""Looking at a store: one pass over a sample of its clips gives everything that a report says."""

from __future__ import annotations

from dataclasses import dataclass

from smile_synth import __version__
from smile_synth.progress import track
from smile_synth.report.appearance_summary import AppearanceSummary
from smile_synth.report.asset_summary import AssetSummary
from smile_synth.report.content import Overview, Report
from smile_synth.report.extremes import Extremes
from smile_synth.report.label_summary import LabelSummary
from smile_synth.report.motion_summary import MotionSummary
from smile_synth.report.sample import ClipBatch, choose_clips, read_batches
from smile_synth.report.tracks import find_tracks
from smile_synth.report.verdict import judge
from smile_synth.store import Store
from smile_synth.store.summary import store_nbytes

SHEET_CLIPS = 48
ANIMATED_CLIPS = 6


@dataclass(frozen=True)
class SurveyParams:
    """What to look at.

    Args:
        clips: how many clips, None for all.
        seed: chooses them.
    """

    clips: int | None = 1000
    seed: int = 0


def survey(store: Store, params: SurveyParams) -> Report:
    """Measure a store.

    Args:
        store: finished.
        params: what to look at.

    Raises:
        DamagedStoreError: a chunk is damaged; names array, shard and clip.
    """
    clips = choose_clips(store.num_clips, params.clips, seed=params.seed)
    parts = _Parts(store)
    with track(len(clips), "report") as progress:
        for batch in read_batches(store, clips):
            parts.add(batch)
            progress.advance(len(batch.clips_B))
    few = choose_clips(len(clips), SHEET_CLIPS, seed=params.seed, purpose="report contact sheet")
    moving = choose_clips(len(clips), ANIMATED_CLIPS, seed=params.seed, purpose="report animations")
    report = Report(
        smile_synth_version=__version__,
        overview=_overview(store, len(clips), params.seed),
        verdict=[],
        contact_sheet=clips[few].tolist(),
        animated=clips[moving].tolist(),
        extremes=parts.extremes.summary(),
        motion=parts.motion.summary(),
        labels=parts.labels.classes(),
        label_quantities=parts.labels.numbers(),
        appearance=parts.appearance.summary(),
        features=None,
        masks=None,
        assets=parts.assets.summary(),
        natural=None,
    )
    return report.model_copy(update={"verdict": judge(report)})


class _Parts:
    """The parts of a report while they are being gathered."""

    def __init__(self, store: Store) -> None:
        canvas = store.canvas
        self._height, self._width = canvas.height, canvas.width
        self.motion = MotionSummary(canvas.height, canvas.width)
        self.appearance = AppearanceSummary(canvas.height, canvas.width)
        self.labels = LabelSummary(store.label_specs)
        self.assets = AssetSummary(store.assets)
        self.extremes = Extremes()

    def add(self, batch: ClipBatch) -> None:
        tracks = find_tracks(
            batch.boxes_BKT4, batch.poses_BKT6, batch.opacity_BKT, height=self._height, width=self._width
        )
        motion, layout = self.motion.add(batch, tracks)
        self.appearance.add(batch.frames_BTHWC, batch.boxes_BKT4, batch.clips_B)
        self.labels.add(batch, tracks.is_present_BK)
        self.assets.add(batch)
        self.extremes.add(batch.clips_B, motion, layout)


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
        versions=dict(store.attributes["versions"]),
        recipe=store.recipe,
    )
