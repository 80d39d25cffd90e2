"""Parameter models are told to people with type, range, default and meaning."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field

from smile_synth.generator.parameters import ParameterRow, parameter_rows
from smile_synth.params import Span, StrictParams


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
    inner: Inner = Field(Inner(), description="inside")
    heavy: Inner = Field(Inner(weight=0.9), description="inside, with another default")


@pytest.mark.parametrize(
    "row",
    [
        ParameterRow("count", "int", ">= 1", "", "how many"),
        ParameterRow("kind", "a | b or {a | b: float}", "", "a", "which"),
        ParameterRow("pair", "[int, int]", ">= 1, <= 9", "[1, 2]", "from, to"),
        ParameterRow("sizes", "list of float", "> 0", "[]", "sizes, px"),
        ParameterRow("is_on", "bool", "", "true", "whether"),
        ParameterRow("name", "str or null", "", "null", "what it is called"),
        ParameterRow("inner.weight", "float", "> 0, <= 1", "0.5", "share, 0 to 1"),
        ParameterRow("heavy.weight", "float", "> 0, <= 1", "0.9", "share, 0 to 1"),
    ],
    ids=lambda row: row.name,
)
def test_a_parameter_is_told_in_one_row(row: ParameterRow) -> None:
    assert row in list(parameter_rows(Outer))
