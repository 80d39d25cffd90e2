"""The card of a dataset: Markdown for people, with the front matter that the Hugging Face Hub reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from smile_synth import __version__
from smile_synth.errors import ReportError, printable
from smile_synth.report.card.croissant import plain_name
from smile_synth.report.card.foreign_text import fence, markdown, markdown_code, without_paths, yaml_text
from smile_synth.report.card.labels import defined_labels
from smile_synth.report.card.licences import OTHER, hub_licence, licence_link, licence_uses
from smile_synth.report.measure.content import Report, quantities
from smile_synth.report.page.page import page_environment
from smile_synth.report.page.sentences import number
from smile_synth.store import Store
from smile_synth.store.summary import format_size, store_nbytes

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
LARGEST_SIZE = "1M<n<10M"
METRICS = ("speed", "size", "displacement", "time_visible", "coverage", "change", "contrast")


@dataclass(frozen=True)
class CardParams:
    """What a card says that the store does not know.

    Args:
        name: of the dataset; empty for the store's.
        creator: who made it; may be empty.
        url: where it is published; may be empty.
        licence: identifier for the whole; empty to follow from the assets.
    """

    name: str = ""
    creator: str = ""
    url: str = ""
    licence: str = ""


def card_name(store: Store, params: CardParams) -> str:
    """Return what the card calls the dataset."""
    return plain_name(params.name or store.path.resolve().stem)


def dataset_description(store: Store) -> str:
    """Return the dataset in two sentences."""
    canvas, cell_px = store.canvas, store.motion_cell_px
    motion = "" if cell_px is None else f", and with the exact motion of what is visible, in cells of {cell_px} px"
    return (
        f"{store.num_clips} synthetic clips of {canvas.num_frames} frames of {canvas.height} x {canvas.width} pixels, "
        f"rendered by smile-synth {store.manifest.versions.get('smile-synth', '')} with the generator "
        f"{without_paths(store.generators[0])}, for pretraining video models without natural video. "
        f"Every clip comes with boxes, poses and labels of its objects{motion}."
    )


def build_card(store: Store, params: CardParams, report: Report | None) -> str:
    """Return the card as Markdown.

    Args:
        store: finished.
        params: what the store does not know.
        report: metrics and warnings to put on it; None for none.
    """
    environment = page_environment(autoescape=False)
    environment.filters |= {"markdown": markdown, "markdown_code": markdown_code}
    folder, recipe = store.path.resolve().name, yaml_text(store.recipe)
    return environment.get_template("card.md.j2").render(
        front_matter=yaml_text(_front_matter(store, params)),
        name=card_name(store, params),
        description=dataset_description(store),
        store=store,
        folder=folder,
        folder_literal=json.dumps(folder, ensure_ascii=printable(folder) != folder).replace("`", "\\x60"),
        size=format_size(store_nbytes(store.path)),
        licences=[(use, licence_link(use.licence)) for use in licence_uses(store.assets)],
        labels=defined_labels(store),
        metrics=[] if report is None else _metrics(report),
        report=report,
        recipe=recipe,
        recipe_fence=fence(recipe),
        version=__version__,
    )


def read_report(path: Path, store: Store) -> Report:
    """Read a report's JSON.

    Args:
        path: that ``smile-synth report`` wrote.
        store: that it must be about.

    Raises:
        ReportError: it cannot be read, or is about another store.
    """
    try:
        report = Report.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise ReportError(
            f"{path} is not a report of this version: {first}; make one with: smile-synth report {store.path}"
        ) from None
    if (report.overview.clips, report.overview.seed) != (store.num_clips, store.seed):
        raise ReportError(
            f"{path} is about {report.overview.name} ({report.overview.clips} clips, seed {report.overview.seed}), "
            f"not about {store.path} ({store.num_clips} clips, seed {store.seed})"
        )
    return report


def _front_matter(store: Store, params: CardParams) -> dict[str, object]:
    licence = params.licence or hub_licence(store.assets)
    name = " ".join((params.name or store.path.resolve().stem).split())
    values: dict[str, object] = {"pretty_name": name, "license": " ".join(licence.split())}
    if licence == OTHER:
        values |= {"license_name": "licences-of-the-assets", "license_link": "README.md"}
    return {
        **values,
        "task_categories": ["video-classification"],
        "tags": ["video", "synthetic", "self-supervised", "masked-autoencoder", "zarr", "smile-synth"],
        "size_categories": [next((name for most, name in SIZES if store.num_clips < most), LARGEST_SIZE)],
    }


def _metrics(report: Report) -> list[tuple[str, str, str, str]]:
    """Return title, unit, median and the range of nine in ten of the metrics that say most."""
    table = quantities(report)
    return [
        (q.title, q.unit, number(q.median), f"{number(q.quantiles[5])} to {number(q.quantiles[95])}")
        for q in (table[name] for name in METRICS if name in table)
        if q.median is not None
    ]
