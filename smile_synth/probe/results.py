"""What came out of a probe: metrics with their intervals, as a table for people and JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from smile_synth.score import Interval, Score

RESULTS_VERSION = 1
TRAINED = "trained"
UNTRAINED = "untrained"
DIFFERENCES = "differences"


@dataclass(frozen=True, eq=False)
class Reading:
    """How well one classifier answers one question from one kind of features.

    Args:
        features: short name of the features, such as ``trained``.
        title: how people call them.
        classifier: ``linear``, ``knn`` or ``attentive``.
        num_features: values that the classifier sees of a clip.
        score: accuracy, interval and confusion matrix.
        chosen: what was chosen on the validation part.
        over_untrained: accuracy minus that of the untrained network on the same clips; None where that was not asked.
        over_differences: accuracy minus that of frame differences, likewise; these are read linearly where the
            classifier needs tokens.
    """

    features: str
    title: str
    classifier: str
    num_features: int
    score: Score
    chosen: Mapping[str, float] = field(default_factory=dict)
    over_untrained: Interval | None = None
    over_differences: Interval | None = None


@dataclass(frozen=True, eq=False)
class QuestionResult:
    """All readings of one question.

    Args:
        name: of the question.
        text: what is asked, for people.
        classes: the possible answers.
        num_train, num_test: clips (or videos) of each part.
        chance: accuracy of always giving the commonest training class.
        readings: one a kind of features and classifier.
    """

    name: str
    text: str
    classes: tuple[str, ...]
    num_train: int
    num_test: int
    chance: float
    readings: tuple[Reading, ...]

    def reading(self, features: str, classifier: str) -> Reading:
        """Return one reading; it must exist."""
        return next(r for r in self.readings if (r.features, r.classifier) == (features, classifier))


@dataclass(frozen=True, eq=False)
class ProbeResults:
    """Everything that one probe found.

    Args:
        checkpoint: what was probed, as the user named it.
        questions: in the order of the recipe.
        notes: what a reader must know, one sentence each.
        seconds: how long it took, clips and features included.
        params: the resolved parameters.
    """

    checkpoint: str
    questions: tuple[QuestionResult, ...]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    params: Mapping[str, Any] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """Return accuracies of the trained model by ``question/classifier``, for a log of metrics."""
        return {
            f"{question.name}/{reading.classifier}": reading.score.accuracy.value
            for question in self.questions
            for reading in question.readings
            if reading.features == TRAINED
        }

    def right(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Return which answers were right, by ``question/classifier/features``.

        Each is bool (clips,): the test clips, or videos, that have an answer.
        """
        return {
            f"{question.name}/{reading.classifier}/{reading.features}": reading.score.is_right
            for question in self.questions
            for reading in question.readings
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain values: every metric, interval and confusion matrix."""
        return {
            "version": RESULTS_VERSION,
            "checkpoint": self.checkpoint,
            "seconds": round(self.seconds, 1),
            "notes": list(self.notes),
            "params": dict(self.params),
            "questions": [_question_json(question) for question in self.questions],
        }

    def table(self) -> str:
        """Return the table as text, 100 columns or less for two classifiers."""
        return format_table(self)


def _question_json(question: QuestionResult) -> dict[str, Any]:
    return {
        "name": question.name,
        "text": question.text,
        "classes": list(question.classes),
        "num_train": question.num_train,
        "num_test": question.num_test,
        "chance": question.chance,
        "readings": [_reading_json(reading) for reading in question.readings],
    }


def _reading_json(reading: Reading) -> dict[str, Any]:
    return {
        "features": reading.features,
        "title": reading.title,
        "classifier": reading.classifier,
        "num_features": reading.num_features,
        "accuracy": _interval_json(reading.score.accuracy),
        "over_untrained": _interval_json(reading.over_untrained) if reading.over_untrained else None,
        "over_differences": _interval_json(reading.over_differences) if reading.over_differences else None,
        "chosen": dict(reading.chosen),
        "confusion": reading.score.confusion.tolist(),
    }


def _interval_json(interval: Interval) -> dict[str, float]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def format_table(results: ProbeResults) -> str:
    """Return accuracies in percent with 95 % intervals: a block a question, a row a kind of features."""
    classifiers = list(dict.fromkeys(r.classifier for question in results.questions for r in question.readings))
    rows = [["top-1 accuracy in %", "numbers", *classifiers]]
    for question in results.questions:
        rows += [[_heading(question), "", *("" for _ in classifiers)]]
        rows += [["  chance", "", f"{100 * question.chance:5.1f}", *("" for _ in classifiers[1:])]]
        rows += _reading_rows(question, classifiers)
    lines = _aligned(rows)
    lines.append("in brackets: where 95 % of bootstrap resamples of the test clips lie; numbers: features of a clip")
    return "\n".join([*lines, *_gains(results), *results.notes])


def _heading(question: QuestionResult) -> str:
    return (
        f"{question.name}: {question.text} ({len(question.classes)} classes; "
        f"{question.num_train} training and {question.num_test} test clips)"
    )


def _reading_rows(question: QuestionResult, classifiers: Sequence[str]) -> list[list[str]]:
    rows = []
    for features in dict.fromkeys(reading.features for reading in question.readings):
        readings = {r.classifier: r for r in question.readings if r.features == features}
        one = next(iter(readings.values()))
        cells = [_percent(readings.get(name)) for name in classifiers]
        rows.append([f"  {one.title}", str(one.num_features), *cells])
    return rows


def _percent(reading: Reading | None) -> str:
    if reading is None:
        return "    -"
    accuracy = reading.score.accuracy
    return f"{100 * accuracy.value:5.1f} [{100 * accuracy.low:.1f}, {100 * accuracy.high:.1f}]"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    # A question's own line may run on over the columns, which are empty there.
    widths = [max(len(row[column]) for row in rows if column or row[1]) for column in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [cell.ljust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
    return "  ".join([row[0].ljust(widths[0]), row[1].rjust(widths[1]), *cells]).rstrip()


def _gains(results: ProbeResults) -> list[str]:
    """Return a sentence a question on where the trained model stands: above or below chance and the baselines."""
    return [
        f"{question.name}, {reading.classifier}: trained is {_verdict(question, reading)}"
        for question in results.questions
        for reading in question.readings
        if reading.features == TRAINED
    ]


def _verdict(question: QuestionResult, reading: Reading) -> str:
    accuracy, chance = reading.score.accuracy, question.chance
    over_chance = Interval(accuracy.value - chance, accuracy.low - chance, accuracy.high - chance)
    compared = (
        ("chance", over_chance),
        ("untrained", reading.over_untrained),
        ("frame differences", reading.over_differences),
    )
    return ", ".join(f"{_side(gain)} {name} {_points(gain)}" for name, gain in compared if gain is not None)


def _side(gain: Interval) -> str:
    return "above" if gain.low > 0 else "below" if gain.high < 0 else "not told apart from"


def _points(gain: Interval) -> str:
    return f"({100 * gain.value:+.1f} points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}])"
