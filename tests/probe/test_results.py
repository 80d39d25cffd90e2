"""What the table says of a trained model: above, below or not told apart from chance and the baselines."""

from __future__ import annotations

import numpy as np

from smile_synth.probe.results import ProbeResults, QuestionResult, Reading
from smile_synth.score import Interval, Score


def trained(accuracy: Interval, over_untrained: Interval | None, over_differences: Interval | None) -> Reading:
    score = Score(accuracy, is_right=np.ones(4, bool), confusion=np.eye(2, dtype=np.int64))
    return Reading("trained", "trained student", "linear", 8, score, {}, over_untrained, over_differences)


def last_line(reading: Reading) -> str:
    question = QuestionResult("direction", "Where to", ("left", "right"), 10, 10, 0.5, (reading,))
    return ProbeResults("run", (question,)).table().splitlines()[-1]


def test_every_comparison_is_named_with_its_interval() -> None:
    reading = trained(Interval(0.9, 0.8, 0.95), Interval(0.3, 0.2, 0.4), Interval(-0.2, -0.3, -0.1))
    assert last_line(reading) == (
        "direction, linear: trained is above chance (+40.0 points [+30.0, +45.0]), "
        "above untrained (+30.0 points [+20.0, +40.0]), below frame differences (-20.0 points [-30.0, -10.0])"
    )


def test_an_interval_around_zero_decides_nothing() -> None:
    assert last_line(trained(Interval(0.5, 0.4, 0.6), None, None)) == (
        "direction, linear: trained is not told apart from chance (+0.0 points [-10.0, +10.0])"
    )
    assert "is below chance" in last_line(trained(Interval(0.3, 0.2, 0.4), None, None))
