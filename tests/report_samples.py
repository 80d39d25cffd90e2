"""Reports for tests: a small store, and its report without a feature model."""

from __future__ import annotations

from pathlib import Path

from tiny import TinyDataset

from smile_synth.report.measure.content import Report
from smile_synth.report.measure.survey import SurveyParams, survey
from smile_synth.store import Store, render_store


def tiny_store(folder: Path, *, clips: int = 70, seed: int = 7) -> Store:
    """Render squares that slide over noise, 4 frames of 32 x 32 pixels; a third of the clips stand still."""
    dataset = TinyDataset(clips=clips, shard=16, size=32, frames=4, seed=seed)
    return render_store(dataset, folder / f"tiny-{seed}.zarr", recipe=dataset.recipe())


def tiny_report(store: Store, *, clips: int | None = None, seed: int = 0) -> Report:
    """Report a store without looking at features."""
    return survey(store, SurveyParams(clips=clips, seed=seed)).report
