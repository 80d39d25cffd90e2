"""Correlations of labels are those that their definitions give."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from smile_synth.generator.labels import LabelSpec
from smile_synth.report.measure.correlations import LabelTable, correlation_ratio, cramers_v, spearman

RNG = np.random.default_rng(5)


def test_spearman_is_scipys():
    a, b = RNG.normal(size=(2, 200))
    assert spearman(a, b + a) == pytest.approx(scipy.stats.spearmanr(a, b + a).statistic)
    assert spearman(a, -(a**3)) == pytest.approx(-1)


def test_cramers_v_is_scipys_but_for_its_correction():
    a = RNG.integers(0, 4, 50_000).astype(float)
    b = np.where(RNG.random(50_000) < 0.3, a, RNG.integers(0, 4, 50_000))
    table = scipy.stats.contingency.crosstab(a, b).count
    assert cramers_v(a, b) == pytest.approx(scipy.stats.contingency.association(table, "cramer"), abs=1e-3)
    assert cramers_v(a, (a + 1) % 4) == pytest.approx(1)


def test_correlations_of_few_independent_values_are_not_inflated():
    of_classes, of_numbers = [], []
    for _ in range(50):
        a, b = RNG.integers(0, 6, (2, 40)).astype(float)
        of_classes.append(cramers_v(a, b))
        of_numbers.append(correlation_ratio(a, RNG.normal(size=40)))
    # Uncorrected they would be about 0.35.
    assert np.mean(of_classes) < 0.12
    assert np.mean(of_numbers) < 0.15


def test_correlation_ratio_does_not_depend_on_the_order_of_classes():
    classes = RNG.integers(0, 3, 300).astype(float)
    number = np.array([0.0, 9.0, 4.0])[classes.astype(int)] + RNG.normal(size=300)
    first = correlation_ratio(classes, number)
    assert first == pytest.approx(correlation_ratio((classes + 1) % 3, np.exp(number)), abs=1e-9)
    assert 0.9 < first <= 1


def table_of(**columns):
    specs = {
        "kind": LabelSpec("class of a clip", "class", classes=("a", "b")),
        "speed": LabelSpec("of an object", per="object", unit="px/frame"),
        "size": LabelSpec("of an object", per="object", unit="px"),
    }
    is_present = np.ones((30, 2), bool)
    is_present[::2, 1] = False
    table = LabelTable(specs)
    for part in (slice(0, 13), slice(13, 30)):
        table.add({name: values[part] for name, values in columns.items()}, is_present[part])
    return {(c.first, c.second): c for c in table.correlations()}


def test_label_of_a_clip_holds_for_each_of_its_objects():
    kind = RNG.integers(0, 2, 30)
    speed = kind[:, None] + RNG.random((30, 2)) / 10
    found = table_of(kind=kind, speed=speed, size=speed)
    assert {pair: c.kind for pair, c in found.items()} == {
        ("kind", "speed"): "correlation_ratio",
        ("kind", "size"): "correlation_ratio",
        ("speed", "size"): "spearman",
    }
    assert {c.count for c in found.values()} == {45}
    assert found["kind", "speed"].value > 0.8
    assert found["speed", "size"].value == pytest.approx(1)


def test_undefined_values_are_left_out_and_a_label_without_others_correlates_with_nothing():
    kind = RNG.integers(0, 2, 30)
    kind[:9] = -1
    speed = RNG.random((30, 2))
    found = table_of(kind=kind, speed=speed, size=np.full((30, 2), np.nan))
    assert found["kind", "speed"].count == 21 + 11
    assert (found["speed", "size"].value, found["speed", "size"].count) == (None, 0)
