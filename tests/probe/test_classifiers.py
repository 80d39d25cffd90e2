"""Linear and nearest-neighbour classifiers, views, and what is held out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smile_synth.errors import ProbeError
from smile_synth.probe.classifiers import (
    Examples,
    Fitted,
    fit_linear,
    fit_neighbours,
    group_accuracy,
    group_means,
    held_out,
)
from smile_synth.recipe.probe import LinearProbeParams, NeighboursParams


def blobs(per_class: int, classes: int, *, seed: int, views: int = 1, spread: float = 0.5) -> Examples:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, 12))
    labels = np.repeat(np.arange(classes), per_class * views)
    features = centres[labels] + spread * rng.normal(size=(len(labels), 12))
    return Examples(features.astype(np.float32), labels, np.repeat(np.arange(per_class * classes), views))


def fit(name: str, train: Examples) -> Fitted:
    if name == "linear":
        return fit_linear(train, LinearProbeParams(strengths=(0.1,)), share=0.25, rng=np.random.default_rng(0))
    return fit_neighbours(train, NeighboursParams(neighbours=5))


@pytest.mark.parametrize("name", ["linear", "knn"])
def test_separable_classes_are_told_apart(name: str) -> None:
    fitted = fit(name, blobs(30, 4, seed=1))
    test = blobs(20, 4, seed=2)
    assert group_accuracy(fitted.probabilities(test.features), test) > 0.95


@pytest.mark.parametrize("name", ["linear", "knn"])
def test_shuffled_labels_are_answered_at_chance(name: str) -> None:
    train, test = blobs(100, 2, seed=1), blobs(200, 2, seed=2)
    shuffled = Examples(train.features, np.random.default_rng(5).permutation(train.labels), train.groups)
    accuracy = group_accuracy(fit(name, shuffled).probabilities(test.features), test)
    assert 0.3 < accuracy < 0.7


@pytest.mark.parametrize("name", ["linear", "knn"])
def test_probabilities_sum_to_one_and_scale_of_a_feature_does_not_matter(name: str) -> None:
    train, test = blobs(30, 3, seed=1), blobs(10, 3, seed=2)
    factors = np.array([1000.0] + [1.0] * 11, np.float32)
    scaled = Examples(train.features * factors, train.labels, train.groups)
    plain = fit(name, train).probabilities(test.features)
    np.testing.assert_allclose(plain.sum(axis=1), 1.0, atol=1e-9)
    np.testing.assert_allclose(fit(name, scaled).probabilities(test.features * factors), plain, atol=1e-3)


def test_strength_is_chosen_on_the_validation_part_and_reported() -> None:
    fitted = fit_linear(blobs(40, 3, seed=1, spread=2.0), LinearProbeParams(), share=0.25, rng=np.random.default_rng(0))
    assert fitted.chosen["strength"] in LinearProbeParams().strengths
    assert 0 <= fitted.validation_accuracy <= 1


def test_a_feature_that_never_changes_does_no_harm() -> None:
    train, test = blobs(30, 3, seed=1), blobs(10, 3, seed=2)
    train.features[:, 0] = test.features[:, 0] = 7
    assert group_accuracy(fit("linear", train).probabilities(test.features), test) > 0.9


def test_views_of_a_clip_are_averaged() -> None:
    probabilities = np.array([[0.6, 0.4], [0.6, 0.4], [0.0, 1.0], [0.2, 0.8]])
    means = group_means(probabilities, np.array([7, 3, 7, 3]))
    np.testing.assert_allclose(means, [[0.4, 0.6], [0.3, 0.7]])


@given(
    counts=st.lists(st.integers(2, 20), min_size=2, max_size=5),
    views=st.integers(1, 3),
    share=st.floats(0.05, 0.85),
    seed=st.integers(0, 1000),
)
def test_held_out_splits_every_class_and_never_a_group(counts: list[int], views: int, share: float, seed: int) -> None:
    labels = np.repeat(np.repeat(np.arange(len(counts)), counts), views)
    groups = np.repeat(np.arange(sum(counts)), views)
    examples = Examples(np.zeros((len(labels), 1), np.float32), labels, groups)
    is_held = held_out(examples, share=share, rng=np.random.default_rng(seed))
    assert set(groups[is_held]).isdisjoint(groups[~is_held])
    for label in range(len(counts)):
        assert 0 < is_held[labels == label].mean() < 1


def test_whole_scenes_are_held_out_where_every_class_keeps_examples() -> None:
    scenes = np.repeat([5, 7, 9], 20)
    labels = np.tile([0, 1], 30)
    examples = Examples(np.zeros((60, 1), np.float32), labels, np.arange(60), scenes)
    is_held = held_out(examples, share=0.2, rng=np.random.default_rng(0))
    assert is_held.sum() == 20
    assert len(np.unique(scenes[is_held])) == 1
    one_class_a_scene = Examples(examples.features, (scenes == 5).astype(np.int64), examples.groups, scenes)
    is_held = held_out(one_class_a_scene, share=0.2, rng=np.random.default_rng(0))
    assert is_held.sum() == 12
    assert set(one_class_a_scene.labels[is_held]) == {0, 1}


def test_more_neighbours_than_examples_is_an_error_that_says_what_to_change() -> None:
    with pytest.raises(ProbeError, match=r"10 neighbours cannot vote among 6 .* probe\.knn\.neighbours"):
        fit_neighbours(blobs(3, 2, seed=1), NeighboursParams(neighbours=10))
