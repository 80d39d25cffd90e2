"""Choices by weight, and spans that rise."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from smile_synth.params import StrictParams
from smile_synth.randomness import stream
from smile_synth.sampling.choices import Span, choose, names_in


class Params(StrictParams):
    width_px: Span[Annotated[float, Field(ge=1, le=9)]] = Field((2, 4), description="width")


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


@pytest.mark.parametrize("span", [(4, 2), (0, 2), (2, 10), (2,)])
def test_a_span_rises_within_its_bounds(span: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        Params.model_validate({"width_px": span})
