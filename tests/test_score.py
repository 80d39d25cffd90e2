"""Accuracies, intervals and paired differences."""

from __future__ import annotations

import numpy as np
import pytest

from smile_synth.score import bootstrap_mean, chance_level, difference, score


def test_confusion_has_truth_in_rows_and_answers_in_columns() -> None:
    result = score(np.array([1, 1, 0]), np.array([0, 1, 0]), 2, resamples=100, rng=np.random.default_rng(0))
    assert result.confusion.tolist() == [[1, 1], [0, 1]]
    assert result.accuracy.value == pytest.approx(2 / 3)


def test_bootstrap_interval_agrees_with_the_binomial_standard_error() -> None:
    values = (np.arange(400) % 4 > 0).astype(np.float64)
    interval = bootstrap_mean(values, resamples=4000, rng=np.random.default_rng(1))
    half_width = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert interval.value == 0.75
    assert interval.high - 0.75 == pytest.approx(half_width, rel=0.1)
    assert 0.75 - interval.low == pytest.approx(half_width, rel=0.1)


def test_paired_difference_is_narrower_than_the_difference_of_two_intervals() -> None:
    rng = np.random.default_rng(2)
    truth = np.zeros(300, np.int64)
    one = (rng.random(300) < 0.4).astype(np.int64)
    other = one.copy()
    other[:10] = 1
    scores = [score(answers, truth, 2, resamples=1000, rng=np.random.default_rng(3)) for answers in (one, other)]
    gain = difference(scores[0], scores[1], resamples=1000, rng=np.random.default_rng(3))
    alone = scores[0].accuracy
    assert gain.high - gain.low < 0.5 * (alone.high - alone.low)


def test_chance_is_the_accuracy_of_the_commonest_training_class() -> None:
    assert chance_level(np.array([0, 1, 1]), np.array([1, 0, 0, 0])) == 0.25
