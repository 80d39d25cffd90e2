"""The report as one HTML page that needs nothing but itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from smile_synth.report import plots
from smile_synth.report.appearance_statistics import COLOUR_LIMIT
from smile_synth.report.content import Extreme, Natural, Quantity, Report
from smile_synth.report.pictures import Film
from smile_synth.report.sentences import counts_sentence, number, quantity_sentence
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
class PagePictures:
    """The pictures of a page.

    Args:
        contact_sheet: frames.
        animated: a few clips.
        extremes: what they show, and clips.
    """

    contact_sheet: list[Still]
    animated: list[Film]
    extremes: list[tuple[Extreme, list[Film]]]


@dataclass(frozen=True)
class Plate:
    """A figure with its heading and its sentence.

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
        plates: its figures.
        tables: title, column names and rows.
    """

    anchor: str
    title: str
    intro: str
    plates: list[Plate] = field(default_factory=list)
    tables: list[tuple[str, list[str], list[list[str]]]] = field(default_factory=list)


def build_page(report: Report, pictures: PagePictures) -> str:
    """Return the page as HTML.

    Args:
        report: what it says.
        pictures: what it shows.
    """
    template = _environment().get_template("page.html.j2")
    return template.render(
        report=report,
        pictures=pictures,
        facts=list(_facts(report)),
        sections=[section for section in _sections(report) if section.plates or section.tables],
        recipe=yaml.safe_dump(report.overview.recipe, sort_keys=False, allow_unicode=True),
        style=Markup(_text("page.css")),
        script=Markup(_text("page.js")),
    )


def film_data(film: Film) -> str:
    """Return what the page's script needs to draw over a film, as JSON."""
    return json.dumps({"frames": film.frames, "boxes": film.boxes}, separators=(",", ":"))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("smile_synth.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["film_data"] = film_data
    environment.filters["number"] = number
    return environment


def _text(name: str) -> str:
    return Path(str(resources.files("smile_synth.report") / name)).read_text(encoding="utf-8")


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    o = report.overview
    yield "Clips", f"{o.clips:,}".replace(",", " ")
    yield "Looked at", f"{o.sampled_clips} clips" + ("" if o.sampled_clips < o.clips else " (all)")
    yield "A clip", f"{o.frames} frames of {o.height} x {o.width} px"
    yield "Objects a clip", f"up to {o.max_objects}"
    yield "On disk", f"{format_size(o.bytes_on_disk)}, {format_size(o.bytes_on_disk / o.clips)} a clip"
    yield "Generators", ", ".join(o.generators)
    yield "Seed", str(o.seed)
    yield "Written by", ", ".join(f"{name} {version}" for name, version in o.versions.items())
    licences = [f"{e.name} ({e.count} {kind.kind}s)" for kind in report.assets for e in kind.licences.counts]
    yield "Licences of assets", "; ".join(licences) or "no assets"


def _sections(report: Report) -> Iterator[Section]:
    yield _motion(report)
    yield _labels(report)
    yield _appearance(report)
    yield _assets(report)


def _motion(report: Report) -> Section:
    motion, o = report.motion, report.overview
    plates = [_quantity_plate(quantity) for quantity in motion.quantities]
    plates.insert(1, Plate(motion.rose.title, Markup(plots.rose_plot(motion.rose)), counts_sentence(motion.direction)))
    heat = plots.grid_plot(motion.heat_map, extent=(0, o.width, o.height, 0), x_title="x (px)", y_title="y (px)")
    plates.insert(2, Plate(motion.heat_map.title, Markup(heat), motion.heat_map.meaning))
    intro = (
        f"How objects move over the canvas of {o.width} x {o.height} px. Objects are off the canvas in "
        f"{100 * motion.off_canvas_share:.3g} % of the frames they are drawn in, and touch its border in "
        f"{100 * motion.cut_off_share:.3g} % of those they are seen in. The camera moves in {motion.moving_cameras} of "
        f"{o.sampled_clips} clips."
    )
    return Section("motion", "Motion", intro, plates)


def _labels(report: Report) -> Section:
    plates = [
        Plate(counts.title, Markup(plots.counts_plot(counts)), counts_sentence(counts)) for counts in report.labels
    ]
    plates += [_quantity_plate(quantity) for quantity in report.label_quantities]
    return Section("labels", "Labels", "What the generator wrote down about its clips, for probes.", plates)


def _appearance(report: Report) -> Section:
    look, natural = report.appearance, report.natural
    plates = [_quantity_plate(quantity, natural) for quantity in look.quantities]
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


def _assets(report: Report) -> Section:
    plates, tables = [], []
    for kind in report.assets:
        if len(kind.classes.counts) > 1:
            plates.append(
                Plate(kind.classes.title, Markup(plots.counts_plot(kind.classes)), counts_sentence(kind.classes))
            )
        even = "" if kind.evenness is None else f"; evenness {kind.evenness:.2f} of 1"
        title = f"{kind.kind.capitalize()}s: {kind.used} of {kind.available} used in {kind.draws} draws{even}"
        rows = [[use.name, use.class_name, str(use.count)] for use in kind.most_used]
        tables.append((title, ["most used", "class", "uses"], rows))
        if kind.unused:
            listed = ", ".join(kind.unused)
            more = kind.available - kind.used - len(kind.unused)
            text = listed + (f" and {more} more" if more else "")
            tables.append((f"Unused {kind.kind}s", ["names"], [[text]]))
    return Section(
        "assets", "Assets", "How often backgrounds and objects are used in the sampled clips.", plates, tables
    )


def _quantity_plate(quantity: Quantity, natural: Natural | None = None) -> Plate:
    beside: Sequence[Quantity] = natural.quantities if natural is not None else ()
    other = next((q for q in beside if q.name == quantity.name and q.quantiles), None)
    series = [("this data set", quantity)]
    caption = quantity_sentence(quantity)
    if other is not None and natural is not None and other.median is not None:
        series.append((natural.folder, other))
        caption += f" {natural.folder}: median {number(other.median)}."
    return Plate(quantity.title, Markup(plots.histogram_plot(series)), caption)
