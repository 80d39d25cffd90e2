from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from smile_synth.params import NoEffect, Span, StrictParams, canonical, first_problem


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


class Numbers(StrictParams):
    count: int = Field(1, description="how many")
    share: float = Field(1.0, description="of all")
    crops: Literal[1, 3] = Field(1, description="a number among few")
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field({"b": 1.0, "a": 1.0}, description="by name")
    width_px: Span[Annotated[float, Field(ge=1, le=9)]] | None = Field(None, description="from, to")
    flag: bool | None = Field(None, description="yes or no")
    free: dict[str, Any] = Field(default_factory=dict, description="what somebody else checks")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"count": True}, "count: input should be a number, got true"),
        ({"share": False}, "share: input should be a number, got false"),
        ({"crops": True}, "crops: input should be a number, got true"),
        ({"weights": {"a": True}}, "weights.a: input should be a number, got true"),
        ({"width_px": [True, 2]}, "width_px.0: input should be a number, got true"),
        ({"flag": 1}, "flag: input should be a valid boolean, got 1"),
        ({"share": float("nan")}, "share: input should be a finite number, got nan"),
        ({"weights": {"a": float("inf")}}, "weights.a: input should be a finite number, got inf"),
        ({"flag": "x" * 500}, f"flag: input should be a valid boolean, got '{'x' * 75}...'"),
        ({"weights": {"[a]": -1, "\x1b[31m": 0}}, "weights.[a]: input should be greater than 0, got -1 (and 1 more)"),
        ({"flag": 16**5000}, "flag: input should be a valid boolean, got a huge number"),
    ],
)
def test_true_is_no_number_and_numbers_are_finite(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Numbers.model_validate(values)
    assert first_problem(caught.value, Numbers, where="r") == f"r: {said}"


@pytest.mark.parametrize("span", [(4, 2), (0, 2), (2, 10), (2,)])
def test_a_span_rises_within_its_bounds(span: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        Numbers.model_validate({"width_px": span})


def test_mappings_are_sorted_at_every_depth_defaults_included() -> None:
    params = Numbers.model_validate({"free": {"z": [{"d": 1, "c": 2}], "a": {"y": 1, "x": 2}}})
    assert list(params.weights) == ["a", "b"]
    assert str(params.free) == "{'a': {'x': 2, 'y': 1}, 'z': [{'c': 2, 'd': 1}]}"


def test_endless_nesting_is_refused() -> None:
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    with pytest.raises(ValueError, match="nested deeper than 64 levels"):
        canonical(deep)


class Still(StrictParams):
    NO_EFFECT = (NoEffect(("speed",), when=lambda still: still.kind == "still", why="on kind {kind!r}"),)

    kind: Literal["still", "moving"] = Field("moving", description="whether it moves")
    speed: float = Field(1.0, description="pixels a frame")


class Coloured(Still):
    NO_EFFECT = (NoEffect(("hue",), when=lambda still: still.grey, why="in grey", instead="drop it"),)

    grey: bool = Field(False, description="no colour")
    hue: float = Field(0.0, description="degrees")


def test_a_field_without_effect_is_refused_by_name_also_in_a_subclass() -> None:
    with pytest.raises(ValidationError, match="speed has no effect on kind 'still': leave it out"):
        Coloured(kind="still", speed=2)
    with pytest.raises(ValidationError, match="hue has no effect in grey: drop it"):
        Coloured(grey=True, hue=10)
    still = Coloured(kind="still", grey=True)
    assert Coloured.model_validate(still.model_dump()) == still, "defaults written out are no settings"


def test_parameters_cannot_change_after_they_were_checked() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Inner().speed = 2.0  # type: ignore[misc]


class Camera(StrictParams):
    """Inside the inside."""

    motion: str = Field("still", description="kind of motion")
    strength: float = Field(1.0, description="factor")


class Ground(StrictParams):
    """Inside."""

    kind: str = Field("photograph", description="what it is")
    exponent: float = Field(1.3, description="of the spectrum")
    camera: Camera = Field(Camera(), description="how it is seen")


class Scenery(StrictParams):
    """Parameters whose groups have defaults of their own."""

    ground: Ground = Field(Ground(kind="black", camera=Camera(strength=2.0)), description="what is behind")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Ground(kind="black", camera=Camera(strength=2.0))),
        ({"exponent": 1.0}, Ground(kind="black", exponent=1.0, camera=Camera(strength=2.0))),
        ({"camera": {"motion": "zoom"}}, Ground(kind="black", camera=Camera(motion="zoom", strength=2.0))),
        ({"kind": "leaves"}, Ground(kind="leaves", camera=Camera(strength=2.0))),
    ],
)
def test_a_group_given_in_part_keeps_the_rest_of_its_default(given: dict[str, object], expected: Ground) -> None:
    assert Scenery.model_validate({"ground": given}).ground == expected


def test_what_is_wrong_inside_a_group_is_still_refused() -> None:
    with pytest.raises(ValidationError, match="grund"):
        Scenery.model_validate({"ground": {"grund": 1}})
