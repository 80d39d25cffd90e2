from __future__ import annotations

from typing import Literal

import pytest
from pydantic import Field, ValidationError

from smile_synth.params import StrictParams, first_problem


class Inner(StrictParams):
    speed: float = Field(1.0, ge=0, le=5, description="pixels a frame")


class Outer(StrictParams):
    count: int = Field(description="how many")
    inner: Inner = Field(Inner(), description="nested")
    many: tuple[Inner, ...] = Field((), description="a list")
    kind: Literal["volume", "flow"] | dict[Literal["volume", "flow"], float] = Field("flow", description="a choice")


def problem(values: dict[str, object]) -> str:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(values)
    return first_problem(caught.value, Outer, where="recipe r.yaml")


def test_an_unknown_key_names_the_nearest_known_one() -> None:
    assert (
        problem({"cuont": 1, "count": 2})
        == "recipe r.yaml: unknown key 'cuont'. Did you mean 'count'? Known here: count, inner, kind, many"
    )


def test_an_unknown_nested_key_names_the_keys_that_stand_there() -> None:
    assert "unknown key 'inner.sped'. Did you mean 'speed'? Known here: speed" in problem(
        {"count": 1, "inner": {"sped": 2}}
    )
    assert "unknown key 'many.0.sped'. Did you mean 'speed'?" in problem({"count": 1, "many": [{"sped": 2}]})


def test_a_value_out_of_range_gives_path_range_and_value() -> None:
    assert problem({"count": 1, "inner": {"speed": 7}}) == (
        "recipe r.yaml: inner.speed: input should be less than or equal to 5, got 7"
    )


def test_an_unknown_choice_names_the_nearest_one_whether_alone_or_as_a_key() -> None:
    assert problem({"count": 1, "kind": "volum"}) == (
        "recipe r.yaml: kind: input should be 'volume' or 'flow', got 'volum'. Did you mean 'volume'?"
    )
    assert problem({"count": 1, "kind": {"flw": 1}}).endswith("Did you mean 'flow'?")


def test_a_missing_key_is_named_and_further_problems_are_counted() -> None:
    assert problem({"inner": {"speed": -1}}) == "recipe r.yaml: 'count' is missing (and 1 more)"


def test_parameters_cannot_change_after_they_were_checked() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Inner().speed = 2.0  # type: ignore[misc]
