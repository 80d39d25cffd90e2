"""How closely labels go together: what a probe of one label may read off another."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from smile_synth.generator.labels import LabelSpec
from smile_synth.report.measure.content import Correlation

Floats = npt.NDArray[np.float64]

MIN_PAIRS = 20


class LabelTable:
    """Keeps the labels of some clips, a column each.

    Args:
        specs: labels by name.
    """

    def __init__(self, specs: Mapping[str, LabelSpec]) -> None:
        self._specs = dict(specs)
        self._clips = 0
        self._columns: dict[str, list[Floats]] = {name: [] for name in specs}
        self._clip_of_object: list[npt.NDArray[np.int64]] = []

    def add(self, labels: Mapping[str, npt.NDArray[np.generic]], is_present_BK: npt.NDArray[np.bool_]) -> None:
        """Take in the labels of some clips.

        Args:
            labels: by name, (B,) or (B, K).
            is_present_BK: slots that hold an object.
        """
        for name, spec in self._specs.items():
            values = labels[name].astype(np.float64)
            if spec.classes:
                values = np.where((values >= 0) & (values < len(spec.classes)), values, np.nan)
            self._columns[name].append(values[is_present_BK] if spec.per == "object" else values)
        self._clip_of_object.append(np.nonzero(is_present_BK)[0] + self._clips)
        self._clips += len(is_present_BK)

    def correlations(self) -> list[Correlation]:
        """Return one entry for every pair of labels; pairs with a label per object are taken over objects."""
        columns = {name: np.concatenate(parts) if parts else np.empty(0) for name, parts in self._columns.items()}
        clip_of_object = np.concatenate(self._clip_of_object) if self._clip_of_object else np.empty(0, np.int64)
        found = []
        for first, second in itertools.combinations(self._specs, 2):
            a, b = columns[first], columns[second]
            per = [self._specs[name].per for name in (first, second)]
            if "object" in per:
                a, b = (
                    column if kind == "object" else column[clip_of_object]
                    for column, kind in zip((a, b), per, strict=True)
                )
            found.append(self._correlation(first, second, a, b))
        return found

    def _correlation(self, first: str, second: str, a: Floats, b: Floats) -> Correlation:
        both = np.isfinite(a) & np.isfinite(b)
        a, b, count = a[both], b[both], int(both.sum())
        is_class = [bool(self._specs[name].classes) for name in (first, second)]
        varies = count >= MIN_PAIRS and np.ptp(a) > 0 and np.ptp(b) > 0
        if all(is_class):
            kind, value = "cramers_v", cramers_v(a, b) if varies else None
        elif any(is_class):
            classes, numbers = (a, b) if is_class[0] else (b, a)
            kind, value = "correlation_ratio", correlation_ratio(classes, numbers) if varies else None
        else:
            kind, value = "spearman", spearman(a, b) if varies else None
        return Correlation.model_validate(
            {"first": first, "second": second, "kind": kind, "value": value, "count": count}
        )


def spearman(a_V: Floats, b_V: Floats) -> float:
    """Return the correlation of two numbers' ranks, -1 to 1; both must vary."""
    return float(np.corrcoef(rankdata(a_V), rankdata(b_V))[0, 1])


def cramers_v(a_V: Floats, b_V: Floats) -> float | None:
    """Return Cramer's V of two classes, 0 to 1, corrected for few values; both must vary.

    Returns:
        None where there are hardly more values than classes.

    Source: Bergsma, A bias-correction for Cramer's V, 2013.
    """
    (a, rows), (b, columns) = _numbered(a_V), _numbered(b_V)
    n = len(a)
    seen = np.bincount(a * columns + b, minlength=rows * columns).reshape(rows, columns)
    expected = seen.sum(1, keepdims=True) * seen.sum(0, keepdims=True) / n
    chi2 = float(((seen - expected) ** 2 / expected).sum())
    phi2 = max(0.0, chi2 / n - (rows - 1) * (columns - 1) / (n - 1))
    smaller = min(rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)) - 1
    return float(min(1.0, np.sqrt(phi2 / smaller))) if smaller > 0 else None


def correlation_ratio(class_V: Floats, number_V: Floats) -> float | None:
    """Return how much of the spread of a number's ranks lies between classes, as a root, 0 to 1; both must vary.

    Returns:
        None where there are hardly more values than classes.

    Source: epsilon squared of Kelley, 1935, on the ranks of Kruskal and Wallis, 1952.
    """
    places, classes = _numbered(class_V)
    ranks, n = rankdata(number_V), len(number_V)
    if n <= classes:
        return None
    sizes = np.bincount(places)
    means = np.bincount(places, ranks) / sizes
    between = float((sizes * (means - ranks.mean()) ** 2).sum())
    share = between / float(((ranks - ranks.mean()) ** 2).sum())
    return float(np.sqrt(max(0.0, 1 - (1 - share) * (n - 1) / (n - classes))))


def _numbered(values_V: Floats) -> tuple[npt.NDArray[np.int64], int]:
    """Return the place of each value among those that occur, and how many do."""
    found, places = np.unique(values_V, return_inverse=True)
    return places.astype(np.int64), len(found)
