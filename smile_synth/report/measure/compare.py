"""Several datasets side by side, the largest differences first."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import Field

from smile_synth.report.measure.content import Part, Quantity, Report, quantities
from smile_synth.report.measure.feature_statistics import frechet_distance
from smile_synth.report.measure.survey import Surveyed

SCHEMA_VERSION = 1


class ComparedQuantity(Part):
    """The distribution of one number in every dataset."""

    difference: float = Field(description="largest Kolmogorov-Smirnov distance between two datasets, 0 to 1")
    distributions: list[Quantity | None] = Field(description="one for each dataset, null where it has none")


class ComparedFigure(Part):
    """One number for every dataset."""

    name: str = Field(description="key, stable between versions")
    title: str = Field(description="what people call it")
    unit: str = Field(description="unit of the values")
    values: list[float | None] = Field(description="one for each dataset, null where it is not defined")


class Comparison(Part):
    """Several datasets side by side."""

    schema_version: int = Field(SCHEMA_VERSION, description="version of this layout")
    names: list[str] = Field(description="names of the datasets")
    quantities: list[ComparedQuantity] = Field(description="distributions, the most different first")
    figures: list[ComparedFigure] = Field(description="single metrics, the largest relative difference first")
    frechet_distances: list[list[float | None]] | None = Field(
        description="between every two datasets in the same features; null where their features differ"
    )
    verdicts: list[list[str]] = Field(description="codes of the warnings of each dataset")
    reports: list[Report] = Field(description="the whole report of each dataset")


def compare_stores(surveyed: Sequence[Surveyed]) -> Comparison:
    """Return what is the same and what differs between datasets.

    Args:
        surveyed: two or more.
    """
    reports = [one.report for one in surveyed]
    return Comparison(
        names=_names(reports),
        quantities=_quantities(reports),
        figures=sorted(_figures(reports), key=lambda figure: -relative_difference(figure.values)),
        frechet_distances=_distances(surveyed),
        verdicts=[[finding.code for finding in report.verdict] for report in reports],
        reports=reports,
    )


def ks_distance(one: Quantity, other: Quantity) -> float:
    """Return the largest difference between two distribution functions, from their quantiles.

    Args:
        one, other: with values.
    """
    places = np.unique([*one.quantiles, *other.quantiles])
    return float(np.abs(_share_up_to(one, places) - _share_up_to(other, places)).max())


def relative_difference(values: Sequence[float | None]) -> float:
    """Return the span of the values over the largest of them, 0 where nothing differs.

    Args:
        values: one for each dataset; undefined ones are left out.
    """
    known = [value for value in values if value is not None]
    largest = max((abs(value) for value in known), default=0.0)
    return (max(known) - min(known)) / largest if largest else 0.0


def _share_up_to(
    quantity: Quantity, places: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the share of values at or below each place; equal quantiles count up to the last of them."""
    steps = np.searchsorted(quantity.quantiles, places, side="right") - 1
    exact = np.clip(steps, 0, None) / (len(quantity.quantiles) - 1)
    return np.where(steps < 0, 0.0, exact)


def _names(reports: Sequence[Report]) -> list[str]:
    """Return a different name for every dataset, numbered where folders are called the same."""
    names = [report.overview.name for report in reports]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: i + 1].count(name)})" for i, name in enumerate(names)
    ]


def _quantities(reports: Sequence[Report]) -> list[ComparedQuantity]:
    tables = [quantities(report) for report in reports]
    names = list(dict.fromkeys(name for table in tables for name in table))
    compared = []
    for name in names:
        found = [table[name] if name in table and table[name].quantiles else None for table in tables]
        pairs = itertools.combinations([quantity for quantity in found if quantity is not None], 2)
        distances = [ks_distance(a, b) for a, b in pairs]
        if distances:
            compared.append(ComparedQuantity(difference=max(distances), distributions=found))
    return sorted(compared, key=lambda entry: -entry.difference)


def _figures(reports: Sequence[Report]) -> Iterator[ComparedFigure]:
    def figure(name: str, title: str, unit: str, values: Sequence[float | None]) -> ComparedFigure:
        return ComparedFigure(name=name, title=title, unit=unit, values=list(values))

    looks, motions, features = ([getattr(r, part) for r in reports] for part in ("appearance", "motion", "features"))
    overviews = [report.overview for report in reports]
    yield figure("clips", "Clips", "", [o.clips for o in overviews])
    yield figure("disk", "On disk", "MB", [o.bytes_on_disk / 1e6 for o in overviews])
    yield figure("off_canvas", "Objects off the canvas", "% of frames", [100 * m.off_canvas_share for m in motions])
    moving = [100 * m.moving_cameras / o.sampled_clips for m, o in zip(motions, overviews, strict=True)]
    yield figure("moving_cameras", "Clips with a moving camera", "%", moving)
    still = [100 * look.still_clips / o.sampled_clips for look, o in zip(looks, overviews, strict=True)]
    yield figure("still_clips", "Clips that do not change", "%", still)
    yield figure("near_duplicates", "Near-duplicates", "%", [100 * look.near_duplicate_share for look in looks])
    yield figure("exponent", "Exponent of the amplitude spectrum", "", [look.amplitude_exponent for look in looks])
    model = _common_model(reports)
    if model is not None:
        unit = f"in {model}"
        yield figure("diversity", "Diversity (log-determinant)", unit, [f.diversity_logdet for f in features])
        yield figure("effective_rank", "Effective rank", unit, [f.effective_rank for f in features])
        if any(f.frechet_distance is not None for f in features):
            natural = [f.frechet_distance for f in features]
            yield figure("frechet_natural", "Fréchet distance to natural frames", unit, natural)


def _common_model(reports: Sequence[Report]) -> str | None:
    """Return the feature model of all datasets, None where metrics in features cannot be compared."""
    seen = {
        (report.features.model, report.overview.height, report.overview.width) if report.features else None
        for report in reports
    }
    only = seen.pop() if len(seen) == 1 else None
    return only[0] if only is not None else None


def _distances(surveyed: Sequence[Surveyed]) -> list[list[float | None]] | None:
    if _common_model([one.report for one in surveyed]) is None:
        return None
    moments = [one.moments for one in surveyed if one.moments is not None]
    return [[0.0 if a is b else frechet_distance(a, b) for b in moments] for a in moments]
