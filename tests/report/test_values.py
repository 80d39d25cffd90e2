"""Distributions gathered in batches equal those of all values at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smile_synth.report.measure.values import QuantitySpec, Values

SPEC = QuantitySpec("speed", "Speed", "px/frame", "object", "How fast.")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.floats(-1e6, 1e6), max_size=6), min_size=1, max_size=6))
def test_moments_do_not_depend_on_batches(batches):
    values = Values(SPEC)
    for batch in batches:
        values.add(batch)
    flat = np.array([value for batch in batches for value in batch])
    summary = values.summary()
    assert summary.count == len(flat)
    if len(flat):
        assert summary.mean == pytest.approx(flat.mean(), abs=1e-3)
        assert summary.std == pytest.approx(flat.std(), abs=1e-3)
        assert summary.quantiles[0] == summary.minimum == flat.min()
        assert sum(summary.histogram.counts) == len(flat)


def test_missing_values_are_counted_and_left_out():
    values = Values(SPEC)
    values.add([np.nan, 1, 3, np.inf])
    summary = values.summary()
    assert (summary.count, summary.missing, summary.mean) == (2, 2, 2)


def test_nothing_gathered_gives_an_empty_summary():
    summary = Values(SPEC).summary()
    assert summary.count == 0
    assert summary.mean is None
    assert summary.histogram is None
    assert summary.median is None


def test_memory_is_bounded_and_quantiles_stay_near():
    values = Values(SPEC, capacity=2000)
    for start in range(0, 100_000, 1000):
        values.add(np.arange(start, start + 1000))
    summary = values.summary()
    assert summary.count == 100_000
    assert sum(summary.histogram.counts) == 2000
    assert summary.median == pytest.approx(50_000, abs=4_000)
    assert summary.maximum == 99_999


def test_whole_numbers_get_a_bin_each():
    values = Values(QuantitySpec("n", "Objects", "objects", "frame", "How many."))
    values.add([1, 1, 2, 4])
    histogram = values.summary().histogram
    assert histogram.edges == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert histogram.counts == [2, 1, 0, 1]


def test_examples_are_clips_with_their_own_values_and_cover_every_bar():
    rng = np.random.default_rng(1)
    clips, numbers = np.arange(200), rng.normal(size=(200, 5)) ** 3
    values = Values(SPEC)
    for part in (slice(0, 90), slice(90, 200)):
        values.add(numbers[part], clips[part] + 1000)
    summary = values.summary()
    assert all(value in numbers[clip - 1000] for clip, value in summary.examples)
    shown = np.array([value for _, value in summary.examples])
    histogram = summary.histogram
    held = np.histogram(shown, histogram.edges)[0]
    assert ((held > 0) == (np.array(histogram.counts) > 0)).all()
    assert len(summary.examples) < 3 * 80


def test_values_without_clips_have_no_examples():
    values = Values(SPEC)
    values.add([1, 2, 3])
    assert values.summary().examples == []
