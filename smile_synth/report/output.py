"""Writing a report: the page and its JSON side by side."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from smile_synth.errors import ReportError
from smile_synth.report.content import Report
from smile_synth.report.mask_statistics import seen_frames
from smile_synth.report.page import MAX_NBYTES, PagePictures, Still, build_page
from smile_synth.report.pictures import Film, film, still
from smile_synth.report.sentences import with_unit
from smile_synth.report.training_plan import TrainingPlan
from smile_synth.store import Store

BoxReader = Callable[[int], npt.NDArray[np.float32]]

PAGE_SUFFIXES = (".html", ".htm")
STILL_SIDE_PX = 160
# A page of long or large clips is drawn again with smaller pictures until it is small enough.
FILM_SIDES_PX = (192, 128, 96, 64)


@dataclass(frozen=True)
class ReportFiles:
    """Where a report goes.

    Args:
        page: HTML file.
        content: JSON file.
    """

    page: Path
    content: Path


def report_files(out: Path, *, name: str = "report") -> ReportFiles:
    """Return the files of a report, and make sure they can be written.

    Args:
        out: an ``.html`` file, or a folder.
        name: of the files inside a folder.

    Raises:
        ReportError: the place cannot be written.
    """
    page = out if out.suffix.lower() in PAGE_SUFFIXES else out / f"{name}.html"
    files = ReportFiles(page, page.with_suffix(".json"))
    for file in (files.page, files.content):
        if file.is_dir():
            raise ReportError(f"the report cannot be written to {file}: it is a folder; give another place with --out")
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=page.parent):
            pass
    except OSError as error:
        raise _not_writable(out, error) from None
    return files


def write_report(store: Store, report: Report, files: ReportFiles, plan: TrainingPlan | None) -> None:
    """Write the page and the JSON.

    Args:
        store: that the report is about.
        report: what was measured.
        files: from ``report_files``.
        plan: whose masks are shown; the one that the report was made with.

    Raises:
        ReportError: the place cannot be written.
    """
    page = _small_page(lambda side_px: build_page(report, take_pictures(store, report, plan, film_side_px=side_px)))
    write_text(files.content, report.model_dump_json(indent=1) + "\n")
    write_text(files.page, page)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        ReportError: the place cannot be written.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise _not_writable(path, error) from None


def _not_writable(path: Path, error: OSError) -> ReportError:
    reason = error.strerror or error
    return ReportError(f"the report cannot be written to {path}: {reason}; give another place with --out")


def take_pictures(store: Store, report: Report, plan: TrainingPlan | None, *, film_side_px: int) -> PagePictures:
    """Read the clips that the page shows, and turn them into pictures.

    Args:
        store: that the report is about.
        report: which clips.
        plan: whose masks are shown.
        film_side_px: longest side of a frame in a film.
    """
    boxes = _boxes(store)
    middle = store.canvas.num_frames // 2
    sheet = [
        Still(clip, still(store.read_frames([clip])[0, middle], max_side_px=min(STILL_SIDE_PX, film_side_px)))
        for clip in report.contact_sheet
    ]

    def take(clip: int, caption: str) -> Film:
        return film(clip, store.read_frames([clip])[0], boxes(clip), caption=caption, max_side_px=film_side_px)

    return PagePictures(
        contact_sheet=sheet,
        animated=[take(clip, f"clip {clip}") for clip in report.animated],
        extremes=[
            (extreme, [take(e.clip, f"clip {e.clip}: {with_unit(e.value, extreme.unit)}") for e in extreme.examples])
            for extreme in report.extremes
        ],
        masks=[] if plan is None else _mask_films(store, plan, report, boxes, film_side_px),
    )


def _mask_films(store: Store, plan: TrainingPlan, report: Report, boxes: BoxReader, side_px: int) -> list[Film]:
    """Return a clip with objects whole, and as the student sees it in every stage."""
    clip = next((e.clip for extreme in report.extremes for e in extreme.examples), report.animated[0])
    frames, clip_boxes, grid = store.read_frames([clip])[0], boxes(clip), plan.grid(store.canvas)
    films = [film(clip, frames, clip_boxes, caption=f"clip {clip}, whole", max_side_px=side_px)]
    for stage, mask in plan.masks:
        seen = seen_frames(frames, clip_boxes, mask, grid, seed=report.overview.sample_seed)
        films.append(film(clip, seen, clip_boxes, caption=f"stage {stage!r}: {mask.kind} mask", max_side_px=side_px))
    return films


def _boxes(store: Store) -> BoxReader:
    reader = store.reader("boxes")

    def read(clip: int) -> npt.NDArray[np.float32]:
        boxes = np.empty(reader.spec.item_shape, np.float32)
        reader.read_into(clip, boxes)
        return boxes

    return read


def _small_page(build: Callable[[int], str]) -> str:
    for side_px in FILM_SIDES_PX:
        page = build(side_px)
        if len(page.encode()) < MAX_NBYTES:
            break
    return page
