"""Distributions gathered batch by batch in bounded memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smile_synth.randomness import stream
from smile_synth.report.measure.content import NUM_QUANTILES, Histogram, Quantity

CAPACITY = 100_000
NUM_BINS = 40


@dataclass(frozen=True)
class QuantitySpec:
    """What a quantity is, before it is measured.

    Args:
        name, title, unit, of, meaning: as in ``Quantity``.
    """

    name: str
    title: str
    unit: str
    of: str
    meaning: str


class Values:
    """The distribution of one quantity: exact moments, quantiles from a uniform sample of bounded size.

    Args:
        spec: what is gathered.
        capacity: values kept for quantiles and histogram; up to so many they are exact.
    """

    def __init__(self, spec: QuantitySpec, capacity: int = CAPACITY) -> None:
        self.spec = spec
        self.count = self.missing = 0
        self._capacity = capacity
        self._mean = self._squares = 0.0
        self._minimum, self._maximum = math.inf, -math.inf
        self._kept = np.empty(0)
        self._keys = np.empty(0)
        self._rng = stream(0, "report values", *spec.name.encode())

    def add(self, values: npt.ArrayLike) -> None:
        """Take in values of any shape; NaN counts as missing."""
        flat = np.asarray(values, np.float64).ravel()
        finite = flat[np.isfinite(flat)]
        self.missing += len(flat) - len(finite)
        if len(finite):
            self._add_moments(finite)
            self._keep(finite)

    def _add_moments(self, values: npt.NDArray[np.float64]) -> None:
        # Chan's update: sums of squares about the mean stay exact where plain sums of squares cancel.
        n, mean = len(values), float(values.mean())
        delta, total = mean - self._mean, self.count + len(values)
        self._squares += float(((values - mean) ** 2).sum()) + delta**2 * self.count * n / total
        self._mean += delta * n / total
        self.count = total
        self._minimum = min(self._minimum, float(values.min()))
        self._maximum = max(self._maximum, float(values.max()))

    def _keep(self, values: npt.NDArray[np.float64]) -> None:
        """Keep the values with the smallest random keys: a uniform sample of all that came, seen once."""
        self._kept = np.concatenate([self._kept, values])
        self._keys = np.concatenate([self._keys, self._rng.random(len(values))])
        if len(self._kept) > self._capacity:
            chosen = np.sort(np.argpartition(self._keys, self._capacity)[: self._capacity])
            self._kept, self._keys = self._kept[chosen], self._keys[chosen]

    def summary(self) -> Quantity:
        """Return what was gathered."""
        has_values = self.count > 0
        return Quantity(
            name=self.spec.name,
            title=self.spec.title,
            unit=self.spec.unit,
            of=self.spec.of,
            meaning=self.spec.meaning,
            count=self.count,
            missing=self.missing,
            mean=self._mean if has_values else None,
            std=math.sqrt(self._squares / self.count) if has_values else None,
            minimum=self._minimum if has_values else None,
            maximum=self._maximum if has_values else None,
            quantiles=np.quantile(self._kept, np.linspace(0, 1, NUM_QUANTILES)).tolist() if has_values else [],
            histogram=self._histogram() if has_values else None,
        )

    def _histogram(self) -> Histogram:
        counts, edges = np.histogram(self._kept, _bin_edges(self._kept))
        return Histogram(edges=edges.tolist(), counts=counts.tolist())


def _bin_edges(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return edges that hold every value; whole numbers sit in the middle of their bins while they are few."""
    low, high = float(values.min()), float(values.max())
    if high - low <= NUM_BINS and (values == np.round(values)).all():
        return np.arange(low - 0.5, high + 1.0)
    if low == high:
        return np.array([low - 0.5, high + 0.5])
    return np.linspace(low, high, NUM_BINS + 1)
