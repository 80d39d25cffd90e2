"""Distributions gathered batch by batch in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smile_synth.randomness import stream
from smile_synth.report.measure.content import NUM_QUANTILES, Histogram, Quantity

CAPACITY = 100_000
NUM_BINS = 40
EXAMPLES_A_BIN = 3
NO_CLIP = -1


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
        self._clips = np.empty(0, np.int64)
        self._rng = stream(0, "report values", *spec.name.encode())

    def add(self, values: npt.ArrayLike, clips: npt.ArrayLike = NO_CLIP) -> None:
        """Take in values of any shape; NaN counts as missing.

        Args:
            values: of one or more clips.
            clips: the clip of each item along the first axis of ``values``.
        """
        given = np.asarray(values, np.float64)
        owners = np.asarray(clips, np.int64)
        flat = given.ravel()
        clip_of = np.broadcast_to(owners.reshape(owners.shape + (1,) * (given.ndim - owners.ndim)), given.shape).ravel()
        is_finite = np.isfinite(flat)
        self.missing += int((~is_finite).sum())
        if is_finite.any():
            self._add_moments(flat[is_finite])
            self._keep(flat[is_finite], clip_of[is_finite])

    def _add_moments(self, values: npt.NDArray[np.float64]) -> None:
        # Chan's update: sums of squares about the mean stay exact where plain sums of squares cancel.
        n, mean = len(values), float(values.mean())
        delta, total = mean - self._mean, self.count + len(values)
        self._squares += float(((values - mean) ** 2).sum()) + delta**2 * self.count * n / total
        self._mean += delta * n / total
        self.count = total
        self._minimum = min(self._minimum, float(values.min()))
        self._maximum = max(self._maximum, float(values.max()))

    def _keep(self, values: npt.NDArray[np.float64], clips: npt.NDArray[np.int64]) -> None:
        """Keep the values with the smallest random keys: a uniform sample of all that came, seen once."""
        self._kept = np.concatenate([self._kept, values])
        self._clips = np.concatenate([self._clips, clips])
        self._keys = np.concatenate([self._keys, self._rng.random(len(values))])
        if len(self._kept) > self._capacity:
            chosen = np.sort(np.argpartition(self._keys, self._capacity)[: self._capacity])
            self._kept, self._keys, self._clips = self._kept[chosen], self._keys[chosen], self._clips[chosen]

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
            examples=self._examples() if has_values else [],
        )

    def _histogram(self) -> Histogram:
        counts, edges = np.histogram(self._kept, _bin_edges(self._kept))
        return Histogram(edges=edges.tolist(), counts=counts.tolist())

    def _examples(self) -> list[tuple[int, float]]:
        """Return a few clips for every bin over all values, and over those without the ends."""
        is_known = self._clips != NO_CLIP
        values, clips = self._kept[is_known], self._clips[is_known]
        if not len(values):
            return []
        in_order = np.argsort(example_order(clips), kind="stable")
        values, clips = values[in_order], clips[in_order]
        low, high = np.quantile(values, (0.01, 0.99))
        chosen: set[tuple[int, float]] = set()
        grids = [_bin_edges(values), np.linspace(low, high, NUM_BINS + 1)] if low < high else [_bin_edges(values)]
        for edges in grids:
            bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
            for place in np.unique(bins).tolist():
                inside = np.flatnonzero(bins == place)
                _, first = np.unique(clips[inside], return_index=True)
                for i in inside[np.sort(first)[:EXAMPLES_A_BIN]].tolist():
                    chosen.add((int(clips[i]), float(values[i])))
        return sorted(chosen)


def example_order(clips: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Return keys by which examples are chosen, the smallest first: the same clips everywhere, so that few will do."""
    return clips.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)


def few_examples(clips: Iterable[int]) -> list[int]:
    """Return some clips out of many, without repetition."""
    found = np.unique(np.fromiter(clips, np.int64))
    return sorted(found[np.argsort(example_order(found), kind="stable")][:EXAMPLES_A_BIN].tolist())


def _bin_edges(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return edges that hold every value; whole numbers sit in the middle of their bins while they are few."""
    low, high = float(values.min()), float(values.max())
    if high - low <= NUM_BINS and (values == np.round(values)).all():
        return np.arange(low - 0.5, high + 1.0)
    if low == high:
        return np.array([low - 0.5, high + 0.5])
    return np.linspace(low, high, NUM_BINS + 1)
