"""The report as one HTML page that needs nothing but itself."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import yaml
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from smile_synth.report.measure.appearance_statistics import COLOUR_LIMIT
from smile_synth.report.measure.content import AssetUse, Extreme, Natural, Quantity, Report, ReportedFeatures, Training
from smile_synth.report.page import plots
from smile_synth.report.page.pictures import Film
from smile_synth.report.page.sentences import (
    correlated_labels,
    correlations_sentence,
    counts_sentence,
    number,
    quantity_sentence,
)
from smile_synth.store.summary import format_size

MAX_NBYTES = 10_000_000


@dataclass(frozen=True)
class Still:
    """A frame on the contact sheet.

    Args:
        clip: number of the clip.
        source: ``data:`` address of the picture.
    """

    clip: int
    source: str


@dataclass(frozen=True)
class MotionPicture:
    """Clips above their motion, and what its colours mean.

    Args:
        source: ``data:`` address of the picture.
        wheel: the same of the colour wheel.
        limit_px: length at the rim of the wheel, in pixels a frame.
    """

    source: str
    wheel: str
    limit_px: float


@dataclass(frozen=True)
class Thumbnail:
    """An asset as a clip shows it.

    Args:
        source: ``data:`` address of the picture; empty where the asset is nowhere visible.
        name, note: what to write below it.
        clip: number of the clip; None where the asset is nowhere visible.
    """

    source: str
    name: str
    note: str
    clip: int | None


@dataclass(frozen=True)
class PagePictures:
    """The pictures of a page.

    Args:
        contact_sheet: frames.
        animated: a few clips.
        extremes: what they show, and clips.
        masks: a clip whole, and as the student sees it in each stage of training.
        motion: a few clips with their motion; None for a store without motion.
        gallery: small films of other clips, for whoever clicks on a bar.
        assets: by kind, an address for each of the most used; empty where it is nowhere visible.
    """

    contact_sheet: list[Still]
    animated: list[Film]
    extremes: list[tuple[Extreme, list[Film]]]
    masks: list[Film]
    motion: MotionPicture | None = None
    gallery: list[Film] = field(default_factory=list)
    assets: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Plate:
    """A plot with its heading and its sentence.

    Args:
        title: heading.
        svg: the plot.
        caption: what it shows, in a sentence.
    """

    title: str
    svg: Markup
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Args:
        anchor: name for links.
        title: heading.
        intro: a sentence or two.
        plates: its plots.
        tables: title, column names and rows.
        films: clips shown below the plots.
        thumbnails: title and pictures, shown above the tables.
    """

    anchor: str
    title: str
    intro: str
    plates: list[Plate] = field(default_factory=list)
    tables: list[tuple[str, list[str], list[list[str]]]] = field(default_factory=list)
    films: list[Film] = field(default_factory=list)
    thumbnails: list[tuple[str, list[Thumbnail]]] = field(default_factory=list)


def build_page(report: Report, pictures: PagePictures, store: str = "") -> str:
    """Return the page as HTML.

    Args:
        report: what it says.
        pictures: what it shows.
        store: path or URL of the store, for a command that shows a clip; empty: its name.
    """
    template = page_environment().get_template("page.html.j2")
    return template.render(
        report=report,
        preview=shlex.join(["smile-synth", "preview", store or report.overview.name]),
        pictures=pictures,
        facts=list(_facts(report)),
        sections=list(_sections(report, pictures)),
        gallery=Markup(gallery_data(pictures.gallery)),
        recipe=yaml.safe_dump(report.overview.recipe, sort_keys=False, allow_unicode=True),
        style=Markup(page_text("page.css")),
        script=Markup(page_text("page.js")),
    )


def film_data(film: Film) -> str:
    """Return what the page's script needs to draw over a film, as JSON."""
    return json.dumps({"frames": film.frames, "boxes": film.boxes}, separators=(",", ":"))


def gallery_data(films: Sequence[Film]) -> str:
    """Return the films that the page's script shows on a click, as JSON that can stand inside HTML."""
    keys = ("source", "width", "height", "frames")
    content = {film.clip: {key: getattr(film, key) for key in keys} for film in films}
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")


def page_environment(*, autoescape: bool = True) -> Environment:
    """Return what fills templates.

    Args:
        autoescape: whether texts are made safe for HTML.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("smile_synth.report", room) for room in ("page", "card")]),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["film_data"] = film_data
    environment.filters["number"] = number
    return environment


def page_text(name: str) -> str:
    """Return the text of a file that pages include."""
    return Path(str(resources.files("smile_synth.report.page") / name)).read_text(encoding="utf-8")


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    o = report.overview
    yield "Clips", number(o.clips)
    yield "Looked at", f"{number(o.sampled_clips)} clips" + ("" if o.sampled_clips < o.clips else " (all)")
    yield "A clip", f"{o.frames} frames of {o.height} x {o.width} px"
    yield "Objects a clip", f"up to {o.max_objects}"
    yield "On disk", f"{format_size(o.bytes_on_disk)}, {format_size(o.bytes_on_disk / o.clips)} a clip"
    yield "Generators", ", ".join(o.generators)
    yield "Seed", str(o.seed)
    yield "Digest", o.digest
    yield "Written by", ", ".join(f"{name} {version}" for name, version in o.versions.items())
    for kind in report.assets:
        yield f"Licences of {kind.kind}s", ", ".join(f"{e.name} ({e.count})" for e in kind.licences.counts)


def _sections(report: Report, pictures: PagePictures) -> Iterator[Section]:
    yield _motion(report)
    if report.labels or report.label_quantities:
        yield _labels(report)
    yield _appearance(report)
    if report.features is not None:
        yield _features(report.features, report.natural)
    if report.training is not None:
        yield _training(report.training, pictures.masks)
    if report.assets:
        yield _assets(report, pictures.assets)


def _motion(report: Report) -> Section:
    motion, o = report.motion, report.overview
    plates = [_quantity_plate(quantity) for quantity in motion.quantities if quantity.count]
    missing = [quantity.title.lower() for quantity in motion.quantities if not quantity.count]
    if motion.direction.total:
        rose = Markup(plots.rose_plot(motion.rose))
        plates.insert(1, Plate(motion.rose.title, rose, counts_sentence(motion.direction)))
    heat = plots.grid_plot(motion.heat_map, extent=(0, o.width, o.height, 0), x_title="x (px)", y_title="y (px)")
    if any(map(any, motion.heat_map.values)):
        plates.insert(2, Plate(motion.heat_map.title, Markup(heat), motion.heat_map.meaning))
    intro = (
        f"How objects move over the canvas of {o.width} x {o.height} px. Objects are off the canvas in "
        f"{100 * motion.off_canvas_share:.3g} % of the frames they are drawn in, and touch its border in "
        f"{100 * motion.cut_off_share:.3g} % of those they are seen in. The camera moves in {motion.moving_cameras} of "
        f"{o.sampled_clips} clips."
    )
    if missing:
        intro += f" There was nothing to measure for: {', '.join(missing)}."
    return Section("motion", "Motion", intro, plates)


def _labels(report: Report) -> Section:
    plates = [
        Plate(counts.title, Markup(plots.counts_plot(counts)), counts_sentence(counts))
        for counts in report.labels
        if counts.total
    ]
    plates += [_quantity_plate(quantity) for quantity in report.label_quantities if quantity.count]
    names = correlated_labels(report.label_correlations)
    if names:
        shown = [pair for pair in report.label_correlations if pair.first in names and pair.second in names]
        svg = Markup(plots.correlation_plot(names, shown))
        plates.append(Plate("Correlations of labels", svg, correlations_sentence(shown)))
    rows = [(counts.name, counts.of, counts.total, counts.undefined) for counts in report.labels] + [
        (q.name, f"{q.of}s", q.count, q.missing) for q in report.label_quantities
    ]
    table = [
        [name.removeprefix("label_"), of, number(defined), number(missing), _missing_share(defined, missing)]
        for name, of, defined, missing in rows
    ]
    tables = [("Missing values", ["label", "of", "defined", "undefined", "share undefined"], table)]
    intro = "What the generator wrote down about its clips, for probes."
    return Section("labels", "Labels", intro, plates, tables)


def _missing_share(defined: int, missing: int) -> str:
    if not defined:
        return "undefined throughout" if missing else "there are none"
    return f"{100 * missing / (defined + missing):.3g} %"


def _appearance(report: Report) -> Section:
    look, natural = report.appearance, report.natural
    plates = [_quantity_plate(quantity, natural) for quantity in look.quantities if quantity.count]
    limits = (-COLOUR_LIMIT, COLOUR_LIMIT, -COLOUR_LIMIT, COLOUR_LIMIT)
    colours = plots.grid_plot(
        look.colour_plane, extent=limits, x_title="a* (green to red)", y_title="b* (blue to yellow)"
    )
    plates.append(Plate(look.colour_plane.title, Markup(colours), look.colour_plane.meaning))
    curves = [(report.overview.name, look.spectrum)]
    if natural is not None and natural.spectrum is not None:
        curves.append((natural.folder, natural.spectrum))
    plates.append(
        Plate(look.spectrum.title, Markup(plots.curves_plot(curves, is_log=True)), _spectrum_sentence(report))
    )
    intro = (
        f"What frames look like. {look.still_clips} of {report.overview.sampled_clips} clips do not change at all; "
        f"{100 * look.near_duplicate_share:.3g} % of {look.compared_clips} compared clips look the same as another."
    )
    if natural is not None:
        intro += (
            f" Beside it: {natural.clips} clips of {natural.videos} videos and {natural.images} images in "
            f"{natural.folder}, every {natural.stride}. frame, scaled and cropped to the same size"
            + (f"; {len(natural.skipped)} files could not be read." if natural.skipped else ".")
        )
    return Section("appearance", "Appearance", intro, plates)


def _spectrum_sentence(report: Report) -> str:
    look, natural = report.appearance, report.natural
    if look.amplitude_exponent is None:
        return f"{look.spectrum.meaning} Frames are too small to fit an exponent."
    s = look.amplitude_exponent
    text = (
        f"{look.spectrum.meaning} Amplitude falls as 1/frequency^{s:.2f}, so power as 1/frequency^{2 * s:.2f}. "
        "Natural images lie near 1 in amplitude (2 in power); 1.2 to 1.4 in amplitude did best in the literature."
    )
    if natural is not None and natural.amplitude_exponent is not None:
        text += f" {natural.folder}: {natural.amplitude_exponent:.2f} in amplitude."
    return text


def _features(features: ReportedFeatures, natural: Natural | None) -> Section:
    few = f"too few frames for {features.width} channels; give larger --clips and --feature-clips"
    rows = [
        ["frames", str(features.frames), "the middle ones of as many clips; a vector is the mean over a frame"],
        [
            "diversity",
            _or(features.diversity_logdet, few),
            "log-determinant of their covariance; larger: more varied",
        ],
        ["effective rank", _or(features.effective_rank, few), f"directions in use, of {features.width}"],
        ["variance over tokens", number(features.variance_over_tokens), "mean over channels, within a frame"],
        ["variance over clips", number(features.variance_over_clips), "mean over channels, between means of frames"],
    ]
    if natural is not None:
        too_few = "too few frames on one of the sides"
        rows += [
            [
                f"diversity of {natural.folder}",
                _or(natural.diversity_logdet, too_few),
                f"{natural.feature_frames} frames",
            ],
            [
                "Fréchet distance",
                _or(features.frechet_distance, too_few),
                f"to {natural.folder}; smaller is nearer, few frames make it larger",
            ],
        ]
    intro = (
        f"What a frozen image model sees, here {features.model}. Metrics of different feature models, and of different "
        "frame sizes, cannot be compared."
    )
    plates = [_quantity_plate(quantity, note=f"Features: {features.model}.") for quantity in features.quantities]
    return Section(
        "features", "Features", intro, plates, [(f"In {features.model}", ["metric", "value", "meaning"], rows)]
    )


def _training(training: Training, films: list[Film]) -> Section:
    teacher = f", with the teacher {training.teacher}" if training.teacher else ", with pixels as target"
    intro = (
        f"What the recipe {training.recipe!r} would do: show each clip {number(training.epochs)} times{teacher}. "
        "Object tokens are those that a box overlaps; what the student does not see is grey."
    )
    rows = [
        [
            masks.stage,
            masks.kind,
            f"{masks.hidden_tokens} of {masks.tokens}",
            "in every mask" if not masks.wrong_counts else f"WRONG in {masks.wrong_counts} masks",
            f"{100 * masks.object_token_share:.3g} %",
            _percent(masks.object_tokens_hidden),
            _percent(masks.other_tokens_hidden),
        ]
        for masks in training.masks
    ]
    columns = [
        "stage",
        "mask",
        "tokens hidden",
        "count",
        "object tokens, of all",
        "object tokens hidden",
        "other tokens hidden",
    ]
    return Section("training", "Masks", intro, tables=[("What masks hide", columns, rows)], films=films)


def _or(value: float | None, otherwise: str) -> str:
    return otherwise if value is None else number(value)


def _percent(share: float | None) -> str:
    return "there are none" if share is None else f"{100 * share:.3g} %"


def _assets(report: Report, sources: dict[str, list[str]]) -> Section:
    plates, tables, thumbnails = [], [], []
    for kind in report.assets:
        if len(kind.classes.counts) > 1:
            plates.append(
                Plate(kind.classes.title, Markup(plots.counts_plot(kind.classes)), counts_sentence(kind.classes))
            )
        even = "" if kind.evenness is None else f"; evenness {kind.evenness:.2f} of 1"
        title = f"{kind.kind.capitalize()}s: {kind.used} of {kind.available} used in {kind.draws} draws{even}"
        pictures = sources.get(kind.kind, [""] * len(kind.most_used))
        shown = [_thumbnail(use, source) for use, source in zip(kind.most_used, pictures, strict=True)]
        thumbnails.append((title, shown))
        if kind.unused:
            listed = ", ".join(kind.unused)
            more = kind.available - kind.used - len(kind.unused)
            text = listed + (f" and {more} more" if more else "")
            tables.append((f"Unused {kind.kind}s", ["names"], [[text]]))
    intro = "How often backgrounds and objects are used in the sampled clips; pictures are cut out of the clips."
    return Section("assets", "Assets", intro, plates, tables, thumbnails=thumbnails)


def _thumbnail(use: AssetUse, source: str) -> Thumbnail:
    uses = f"{number(use.count)} use{'' if use.count == 1 else 's'}"
    note = f"{use.class_name}, {uses}" if use.class_name else uses
    return Thumbnail(source, use.name, note, None if use.view is None else use.view.clip)


def _quantity_plate(quantity: Quantity, natural: Natural | None = None, note: str = "") -> Plate:
    beside: Sequence[Quantity] = natural.quantities if natural is not None else ()
    other = next((q for q in beside if q.name == quantity.name and q.quantiles), None)
    series = [("this dataset", quantity)]
    caption = f"{quantity_sentence(quantity)} {note}".rstrip()
    if other is not None and natural is not None and other.median is not None:
        series.append((natural.folder, other))
        caption += f" {natural.folder}: median {number(other.median)}."
    return Plate(quantity.title, Markup(plots.histogram_plot(series, with_clips=True)), caption)
