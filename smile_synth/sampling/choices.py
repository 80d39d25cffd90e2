"""What parameters leave to chance: one of several names by weight, or a number within a span."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import Annotated, TypeVar

import numpy as np
from pydantic import AfterValidator, Field

Name = TypeVar("Name", bound=str)
Number = TypeVar("Number", int, float)

Weight = Annotated[float, Field(gt=0, le=1e6, description="share of this choice, relative to the others")]


def _rising(span: tuple[Number, Number]) -> tuple[Number, Number]:
    if span[0] > span[1]:
        raise ValueError(f"a span runs from its lower to its higher end, got {span[0]} to {span[1]}")
    return span


# Lower and higher end, such as ``Span[Annotated[float, Field(ge=0)]]``; both can be drawn.
Span = Annotated[tuple[Number, Number], AfterValidator(_rising)]


def choose(options: Name | Mapping[Name, float], *, rng: np.random.Generator) -> Name:
    """Return one name: the only one, or one drawn with probability proportional to its weight.

    Args:
        options: a name, or weights above 0 by name.
        rng: where the choice comes from; nothing is drawn where there is nothing to choose.
    """
    if isinstance(options, str):
        return options
    names = list(options)
    if len(names) == 1:
        return names[0]
    edges = list(accumulate(options.values()))
    return names[bisect_right(edges, rng.random() * edges[-1])]


def names_in(options: Name | Mapping[Name, float]) -> tuple[Name, ...]:
    """Return every name that ``choose`` can return."""
    return (options,) if isinstance(options, str) else tuple(options)
