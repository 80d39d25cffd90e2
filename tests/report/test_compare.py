"""Comparisons put the largest differences first and measure them right."""

from __future__ import annotations

import numpy as np
import pytest
from report_samples import tiny_store

from smile_synth.report.measure.compare import compare_stores, ks_distance, relative_difference
from smile_synth.report.measure.survey import SurveyParams, survey
from smile_synth.report.measure.values import QuantitySpec, Values
from smile_synth.report.page.compare_page import write_comparison
from smile_synth.report.page.files import report_files
from smile_synth.report.page.plots import bar_edges, share_below


def quantity(values):
    gathered = Values(QuantitySpec("x", "X", "px", "object", "How far."))
    gathered.add(values)
    return gathered.summary()


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    return [tiny_store(folder, seed=7), tiny_store(folder, clips=40, seed=8)]


@pytest.fixture(scope="module")
def comparison(stores):
    return compare_stores([survey(store, SurveyParams()) for store in stores])


def test_ks_distance_of_known_distributions():
    rng = np.random.default_rng(0)
    uniform = rng.random(20_000)
    assert ks_distance(quantity(uniform), quantity(uniform)) == 0
    assert ks_distance(quantity(uniform), quantity(uniform + 0.25)) == pytest.approx(0.25, abs=0.03)
    assert ks_distance(quantity(uniform), quantity(uniform + 2)) == 1
    assert ks_distance(quantity(np.zeros(9)), quantity(np.ones(9))) == 1


def test_relative_difference_leaves_undefined_values_out():
    assert relative_difference([4.0, 1.0, None]) == 0.75
    assert relative_difference([0.0, 0.0]) == 0
    assert relative_difference([None, None]) == 0


def test_largest_differences_come_first(comparison):
    differences = [entry.difference for entry in comparison.quantities]
    assert differences == sorted(differences, reverse=True)
    clips = next(figure for figure in comparison.figures if figure.name == "clips")
    assert clips.values == [70, 40]


def test_same_store_twice_does_not_differ(stores):
    one = survey(stores[0], SurveyParams())
    twice = compare_stores([one, one])
    assert twice.names == ["tiny-7.zarr (1)", "tiny-7.zarr (2)"]
    assert max(entry.difference for entry in twice.quantities) == 0


def test_distances_in_features_need_features(comparison):
    assert comparison.frechet_distances is None


def test_page_shows_every_store(comparison, stores, tmp_path):
    files = report_files(tmp_path / "c.html")
    write_comparison(comparison, stores, files)
    page = files.page.read_text()
    assert page.count("tiny-7.zarr") > 2
    assert "Kolmogorov-Smirnov" in page
    assert ">Clips<" in page
    assert "Clips, clips" not in page
    assert files.content.is_file()


def test_equal_values_are_one_bar_at_the_value_beside_others():
    same, spread = quantity(np.zeros(50)), quantity(np.linspace(-1, 1, 201))
    edges = bar_edges([same, spread])
    share = np.diff(share_below(same, edges))
    (bar,) = np.flatnonzero(share)
    assert share[bar] == 1
    assert edges[bar] <= 0 <= edges[bar + 1]
    assert np.diff(share_below(spread, edges)).sum() == pytest.approx(1)


@pytest.mark.parametrize("value", [-1.0, 1.0])
def test_equal_values_at_an_end_are_not_lost(value):
    same = quantity(np.full(50, value))
    share = np.diff(share_below(same, bar_edges([same, quantity(np.linspace(-1, 1, 201))])))
    assert share[0 if value < 0 else -1] == 1


def test_two_datasets_of_one_value_share_one_bar_in_whose_middle_it_lies():
    same = quantity(np.full(50, 0.3))
    assert bar_edges([same, same]).tolist() == pytest.approx([-0.2, 0.8])
    assert np.diff(share_below(same, bar_edges([same, same]))).tolist() == [1]
