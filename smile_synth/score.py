"""How good answers are: top-1 accuracy with a bootstrap interval, and what was taken for what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

COVERAGE = 0.95
RESAMPLES_AT_ONCE = 256


@dataclass(frozen=True)
class Interval:
    """A metric with the interval that holds it in 95 % of the resampled test parts.

    Args:
        value: the metric on the test part as it is.
        low, high: 2.5 % and 97.5 % quantiles over resamples.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Score:
    """Answers of one classifier held against the truth.

    Args:
        accuracy: share of right answers, 0 to 1.
        is_right: bool (test clips,), for comparisons on the same clips.
        confusion: int64 (classes, classes); row = truth, column = answer.
    """

    accuracy: Interval
    is_right: npt.NDArray[np.bool_]
    confusion: npt.NDArray[np.int64]


def score(
    answers: npt.NDArray[np.int64],
    truth: npt.NDArray[np.int64],
    num_classes: int,
    *,
    resamples: int,
    rng: np.random.Generator,
) -> Score:
    """Hold answers against the truth.

    Args:
        answers: int64 (clips,), class numbers.
        truth: int64 (clips,), class numbers.
        num_classes: how many classes there are.
        resamples: bootstrap resamples.
        rng: draws the resamples.

    Returns:
        Accuracy with its interval, right or wrong for each clip, and the confusion matrix.
    """
    is_right = answers == truth
    accuracy = bootstrap_mean(is_right.astype(np.float64), resamples=resamples, rng=rng)
    return Score(accuracy, is_right, confusion_matrix(answers, truth, num_classes))


def confusion_matrix(
    answers: npt.NDArray[np.int64], truth: npt.NDArray[np.int64], num_classes: int
) -> npt.NDArray[np.int64]:
    """Return how often each class (row) got each answer (column), int64 (classes, classes)."""
    counts = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(counts, (truth, answers), 1)
    return counts


def bootstrap_mean(values: npt.NDArray[np.float64], *, resamples: int, rng: np.random.Generator) -> Interval:
    """Return the mean of ``values`` with its percentile bootstrap interval.

    Args:
        values: float64 (clips,), at least one.
        resamples: how many times the clips are drawn with replacement.
        rng: draws them.
    """
    means: list[npt.NDArray[np.float64]] = []
    for first in range(0, resamples, RESAMPLES_AT_ONCE):
        count = min(RESAMPLES_AT_ONCE, resamples - first)
        means.append(values[rng.integers(0, len(values), (count, len(values)))].mean(axis=1))
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(np.concatenate(means), (tail, 1 - tail))
    return Interval(float(values.mean()), float(low), float(high))


def difference(one: Score, other: Score, *, resamples: int, rng: np.random.Generator) -> Interval:
    """Return how much more often ``one`` is right than ``other`` on the same clips, paired clip by clip.

    Args:
        one, other: scores of the same test clips in the same order.
        resamples: bootstrap resamples.
        rng: draws the resamples.
    """
    gain = one.is_right.astype(np.float64) - other.is_right.astype(np.float64)
    return bootstrap_mean(gain, resamples=resamples, rng=rng)


def chance_level(train: npt.NDArray[np.int64], test: npt.NDArray[np.int64]) -> float:
    """Return the accuracy on ``test`` of always giving the commonest class of ``train``."""
    commonest = int(np.bincount(train).argmax())
    return float((test == commonest).mean())
