"""Choices by weight."""

from __future__ import annotations

from itertools import permutations

import pytest

from smile_synth.randomness import stream
from smile_synth.sampling.choices import choose, names_in


def test_names_are_drawn_in_proportion_to_their_weights() -> None:
    rng = stream(0, "choices")
    drawn = [choose({"a": 1.0, "b": 3.0}, rng=rng) for _ in range(2000)]
    assert set(drawn) == {"a", "b"}
    assert drawn.count("b") == pytest.approx(1500, abs=80)


def test_nothing_is_drawn_where_there_is_nothing_to_choose() -> None:
    rng = stream(0, "choices")
    assert choose("a", rng=rng) == choose({"a": 2.0}, rng=rng) == "a"
    assert rng.random() == stream(0, "choices").random()
    assert names_in("a") == names_in({"a": 2.0}) == ("a",)


def test_the_order_of_the_names_has_no_influence() -> None:
    weights = {"a": 0.1, "b": 0.2, "c": 0.3}
    for seed in range(50):
        names = {choose(dict(order), rng=stream(seed, "choices")) for order in permutations(weights.items())}
        assert len(names) == 1
