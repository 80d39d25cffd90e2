"""Writing a report: its page with pictures, and its JSON."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from smile_synth.media.motion import colour_wheel, motion_limit
from smile_synth.media.preview import contact_sheet
from smile_synth.report.measure.content import AssetView, Report
from smile_synth.report.measure.mask_statistics import seen_frames
from smile_synth.report.measure.training_plan import TrainingPlan
from smile_synth.report.page.files import ReportFiles, write_text
from smile_synth.report.page.gallery import choose_gallery
from smile_synth.report.page.page import MAX_NBYTES, MotionPicture, PagePictures, Still, build_page
from smile_synth.report.page.pictures import MAX_FRAMES, Film, address, film, still, thumbnail
from smile_synth.report.page.sentences import with_unit
from smile_synth.store import Store

BoxReader = Callable[[int], npt.NDArray[np.float32]]

STILL_SIDE_PX = 160
MOTION_CLIPS, MOTION_COLUMNS, MOTION_SIDE_PX = 3, 8, 128
WHEEL_SIDE_PX = 192
GALLERY_FRAMES, GALLERY_SIDE_PX = 8, 96
ASSET_SIDE_PX = 96
TRANSPARENT = (0, 0, 0, 0)
# A page of long or large clips is drawn again with smaller pictures until it is small enough.
FILM_SIDES_PX = (192, 128, 96, 64)


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
    page = _small_page(
        lambda side_px: build_page(report, take_pictures(store, report, plan, film_side_px=side_px), str(store.path))
    )
    write_text(files.content, report.model_dump_json(indent=1) + "\n")
    write_text(files.page, page)


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

    def take(clip: int, caption: str, side_px: int = film_side_px, max_frames: int = MAX_FRAMES) -> Film:
        frames = store.read_frames([clip])[0]
        return film(clip, frames, boxes(clip), caption=caption, max_side_px=side_px, max_frames=max_frames)

    filmed = [*report.animated, *(e.clip for extreme in report.extremes for e in extreme.examples)]
    return PagePictures(
        contact_sheet=sheet,
        animated=[take(clip, f"clip {clip}") for clip in report.animated],
        extremes=[
            (extreme, [take(e.clip, f"clip {e.clip}: {with_unit(e.value, extreme.unit)}") for e in extreme.examples])
            for extreme in report.extremes
        ],
        motion=None if store.motion_cell_px is None else _motion(store, report.animated[:MOTION_CLIPS], film_side_px),
        masks=[] if plan is None else _mask_films(store, plan, report, boxes, film_side_px),
        gallery=[
            take(clip, f"clip {clip}", min(GALLERY_SIDE_PX, film_side_px), GALLERY_FRAMES)
            for clip in choose_gallery(report, filmed)
        ],
        assets={kind.kind: [_asset(store, use.view) for use in kind.most_used] for kind in report.assets},
    )


def _asset(store: Store, view: AssetView | None) -> str:
    """Return what a clip shows of an asset as the address of a picture; empty where it is nowhere visible."""
    if view is None:
        return ""
    return thumbnail(store.read_frames([view.clip])[0, view.frame], view.box, max_side_px=ASSET_SIDE_PX)


def _motion(store: Store, clips: list[int], side_px: int) -> MotionPicture | None:
    """Return a few clips with their motion; None where there is no clip."""
    if not clips:
        return None
    motion = store.read_motion(clips)
    sheet = contact_sheet(
        store.read_frames(clips),
        captions=[f"clip {clip}" for clip in clips],
        columns=MOTION_COLUMNS,
        tile_px=min(MOTION_SIDE_PX, side_px),
        motion_BTHW2=motion,
        with_legend=False,
    )
    return MotionPicture(address(sheet), address(colour_wheel(WHEEL_SIDE_PX, TRANSPARENT)), motion_limit(motion))


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
