"""Parameter models are told to people with type, range, default and meaning."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field

from smile_synth.errors import RecipeError
from smile_synth.params import Span, StrictParams
from smile_synth.recipe.keys import Key, keys_of, look_up, values_of
from smile_synth.recipe.recipe import Recipe


class Inner(StrictParams):
    """Inside."""

    weight: float = Field(0.5, gt=0, le=1, description="share, 0 to 1")


class Outer(StrictParams):
    """Outside."""

    count: int = Field(ge=1, description="how many")
    kind: Literal["a", "b"] | dict[Literal["a", "b"], float] = Field("a", description="which")
    pair: Span[Annotated[int, Field(ge=1, le=9)]] = Field((1, 2), description="from, to")
    sizes: tuple[Annotated[float, Field(gt=0)], ...] = Field((), description="sizes, px")
    is_on: bool = Field(True, description="whether")
    name: str | None = Field(None, description="what it is called")
    step_px_per_frame: float = Field(1.0, description="how far")
    rows: int = Field(3, description="how many", json_schema_extra={"unit": "px"})
    maybe: Inner | None = Field(None, description="inside, or nothing")
    several: tuple[Inner, ...] = Field((), description="many inside")
    named: dict[str, Inner] = Field({}, description="many by name")
    inner: Inner = Field(Inner(), description="inside")
    heavy: Inner = Field(Inner(weight=0.9), description="inside, with another default")


@pytest.mark.parametrize(
    "key",
    [
        Key("count", "int", ">= 1", "", "", "how many"),
        Key("kind", "a | b or {a | b: float}", "", "", "a", "which"),
        Key("pair", "[int, int]", ">= 1, <= 9", "", "[1, 2]", "from, to"),
        Key("sizes", "list of float", "> 0", "", "[]", "sizes, px"),
        Key("is_on", "bool", "", "", "true", "whether"),
        Key("name", "str or null", "", "", "null", "what it is called"),
        Key("step_px_per_frame", "float", "", "px/frame", "1.0", "how far"),
        Key("rows", "int", "", "px", "3", "how many"),
        Key("inner.weight", "float", "> 0, <= 1", "", "0.5", "share, 0 to 1"),
        Key("heavy.weight", "float", "> 0, <= 1", "", "0.9", "share, 0 to 1"),
        Key("maybe", "section or null", "", "", "null", "inside, or nothing", Inner),
        Key("maybe.weight", "float", "> 0, <= 1", "", "0.5", "share, 0 to 1"),
        Key("several", "list of sections", "", "", "[]", "many inside", Inner),
        Key("several.N.weight", "float", "> 0, <= 1", "", "0.5", "share, 0 to 1"),
        Key("named.NAME.weight", "float", "> 0, <= 1", "", "0.5", "share, 0 to 1"),
    ],
    ids=lambda key: key.path,
)
def test_a_key_is_told_whole(key: Key) -> None:
    assert key in list(keys_of(Outer))


def test_sections_are_no_values() -> None:
    paths = [key.path for key in values_of(Outer)]
    assert "inner" not in paths
    assert "inner.weight" in paths


def test_places_and_names_stand_for_those_of_the_user() -> None:
    key, inside = look_up(Outer, ["several", "3", "weight"])
    assert key is not None
    assert (key.path, key.default, inside) == ("several.3.weight", "0.5", [])
    key, inside = look_up(Outer, ["named", "mine"], "params.")
    assert key is not None
    assert (key.path, [inner.path for inner in inside]) == ("params.named.mine", ["params.named.mine.weight"])
    _, inside = look_up(Outer, ["several"])
    assert [inner.path for inner in inside] == ["several.N.weight"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("cuont", "there is no key 'cuont'. Did you mean 'count'? Known here: count, heavy, inner, is_on, kind"),
        ("inner.wieght", "there is no key 'inner.wieght'. Did you mean 'weight'? Known in inner: weight"),
        ("count.x", "there is no key 'count.x': count has no keys inside"),
        ("several.first", "there is no key 'several.first'. Known in several: N"),
    ],
)
def test_an_unknown_key_names_the_nearest(path: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        look_up(Outer, path.split("."))
    assert said in str(caught.value)


def test_every_key_of_a_recipe_has_a_meaning_and_every_span_of_pixels_a_unit() -> None:
    for key in keys_of(Recipe):
        assert key.description, key.path
        if "pixels" in key.description and key.kind.startswith("int"):
            assert key.unit == "px", key.path
