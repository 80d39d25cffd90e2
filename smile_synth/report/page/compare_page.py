"""The comparison of datasets as one HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from smile_synth.report.measure.compare import ComparedQuantity, Comparison
from smile_synth.report.measure.content import Quantity
from smile_synth.report.page import plots
from smile_synth.report.page.files import ReportFiles, write_text
from smile_synth.report.page.page import Plate, Section, Still, page_environment, page_text
from smile_synth.report.page.pictures import still
from smile_synth.report.page.sentences import number, with_unit
from smile_synth.store import Store

STILLS_EACH = 8
STILL_SIDE_PX = 128
MAX_SERIES = 4
NOTABLE = 0.1
NAMED = 5


def write_comparison(comparison: Comparison, stores: Sequence[Store], files: ReportFiles) -> None:
    """Write the page and the JSON of a comparison.

    Args:
        comparison: what differs.
        stores: the datasets, in the comparison's order.
        files: where to.

    Raises:
        ReportError: the place cannot be written.
    """
    shown = [_stills(store, report.contact_sheet) for store, report in zip(stores, comparison.reports, strict=True)]
    template = page_environment().get_template("compare.html.j2")
    page = template.render(
        comparison=comparison,
        version=comparison.reports[0].smile_synth_version,
        sheets=list(zip(comparison.names, comparison.verdicts, shown, strict=True)),
        summary=_summary(comparison),
        sections=list(_sections(comparison)),
        style=Markup(page_text("page.css")),
    )
    write_text(files.content, comparison.model_dump_json(indent=1) + "\n")
    write_text(files.page, page)


def _stills(store: Store, clips: Sequence[int]) -> list[Still]:
    middle = store.canvas.num_frames // 2
    few = clips[:: max(1, len(clips) // STILLS_EACH)][:STILLS_EACH]
    return [Still(clip, still(store.read_frames([clip])[0, middle], max_side_px=STILL_SIDE_PX)) for clip in few]


def _summary(comparison: Comparison) -> str:
    """Return in a sentence what differs most."""
    largest = [entry for entry in comparison.quantities if entry.difference > NOTABLE][:NAMED]
    if not largest:
        return "No distribution differs notably."
    titles = [next(q.title for q in entry.distributions if q is not None).lower() for entry in largest]
    named = [f"{title} ({entry.difference:.2f})" for title, entry in zip(titles, largest, strict=True)]
    return f"What differs most, with distances from 0 to 1: {', '.join(named)}."


def _sections(comparison: Comparison) -> Iterator[Section]:
    names = comparison.names
    rows = [
        [f"{figure.title}, {figure.unit}" if figure.unit else figure.title, *(_or_dash(v) for v in figure.values)]
        for figure in comparison.figures
    ]
    tables = [("Single metrics", ["metric", *names], rows)]
    if comparison.frechet_distances is not None:
        model = comparison.reports[0].features.model if comparison.reports[0].features else ""
        distances = [
            [name, *(_or_dash(value) for value in row)]
            for name, row in zip(names, comparison.frechet_distances, strict=True)
        ]
        tables.append(
            (f"Fréchet distances in {model}; smaller is nearer, few frames make them larger", ["", *names], distances)
        )
    intro = "One number for each dataset, the largest relative differences first. A dash: none, or too few frames."
    yield Section("metrics", "Metrics", intro, tables=tables)
    plates = [_plate(names, compared) for compared in comparison.quantities]
    intro = (
        "The most different first, by the Kolmogorov-Smirnov distance: the largest gap between two distribution "
        "functions, 0 where they are the same and 1 where they do not overlap."
    )
    if len(names) > MAX_SERIES:
        intro += f" Plots show the first {MAX_SERIES} datasets; the JSON has all."
    yield Section("distributions", "Distributions", intro, plates)


def _plate(names: Sequence[str], compared: ComparedQuantity) -> Plate:
    pairs = zip(names, compared.distributions, strict=True)
    series: list[tuple[str, Quantity]] = [(name, quantity) for name, quantity in pairs if quantity is not None]
    first = series[0][1]
    medians = "; ".join(f"{name} {with_unit(q.median or 0.0, first.unit)}" for name, q in series)
    caption = f"{first.meaning} Distance {compared.difference:.2f}. Medians: {medians}."
    return Plate(first.title, Markup(plots.histogram_plot(series[:MAX_SERIES])), caption)


def _or_dash(value: float | None) -> str:
    return "—" if value is None else number(value)
