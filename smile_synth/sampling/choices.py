"""What parameters leave to chance: one of several names, by weight."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import Annotated, TypeVar

import numpy as np
from pydantic import Field

Name = TypeVar("Name", bound=str)
Weight = Annotated[float, Field(gt=0, le=1e6, description="share of this choice, relative to the others")]


def choose(options: Name | Mapping[Name, float], *, rng: np.random.Generator) -> Name:
    """Return one name: the only one, or one drawn with probability proportional to its weight.

    The order of the names has no influence: equal weights and an equal ``rng`` give the same name.

    Args:
        options: a name, or weights above 0 by name.
        rng: where the choice comes from; nothing is drawn where there is nothing to choose.
    """
    if isinstance(options, str):
        return options
    names = sorted(options)
    if len(names) == 1:
        return names[0]
    edges = list(accumulate(options[name] for name in names))
    return names[bisect_right(edges, rng.random() * edges[-1])]


def names_in(options: Name | Mapping[Name, float]) -> tuple[Name, ...]:
    """Return every name that ``choose`` can return."""
    return (options,) if isinstance(options, str) else tuple(options)
