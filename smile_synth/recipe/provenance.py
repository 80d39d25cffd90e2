"""A resolved recipe as YAML that says of every value where it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from smile_synth.params import shortened
from smile_synth.recipe.layers import Layer, apply_override, in_order, merge

DEFAULT = "default"
COMMAND_LINE = "--set"
# Comments of one recipe stand in one column, but for values that are longer than this.
COLUMN = 44


@dataclass(frozen=True, eq=False)
class _Marked:
    """A value and what wrote it; equal to whatever the value is equal to."""

    value: Any
    origin: str

    def __eq__(self, other: object) -> bool:
        return bool(self.value == (other.value if isinstance(other, _Marked) else other))

    def __hash__(self) -> int:
        return hash(self.value)


def annotated(resolved: Mapping[str, Any], layers: Sequence[Layer], overrides: Sequence[str]) -> str:
    """Return a resolved recipe as YAML, with a comment on every value: a recipe, ``--set`` or ``default``.

    Args:
        resolved: the checked recipe with every default.
        layers: what was written, the user's own recipe first.
        overrides: ``key.sub=value`` each.
    """
    return "".join(f"{line}\n" for line in _lines(resolved, _marks(layers, overrides), ""))


def value_at(path: str, resolved: Mapping[str, Any], layers: Sequence[Layer], overrides: Sequence[str]) -> str:
    """Return one value of a resolved recipe as YAML with its origin, or say that the recipe has none.

    Args:
        path: keys and places in lists.
        resolved, layers, overrides: as for ``annotated``.
    """
    value: Any = resolved
    mark = _marks(layers, overrides)
    for part in path.split("."):
        value, mark = (_step(one, part) for one in (value, mark))
        if value is None:
            return "not set"
    return f"{_flow(value)}  ({_origin(mark)})"


def _step(here: Any, part: str) -> Any:
    if isinstance(here, Mapping):
        return here.get(part)
    if isinstance(here, list) and part.isdecimal() and int(part) < len(here):
        return here[int(part)]
    return None


def _marks(layers: Sequence[Layer], overrides: Sequence[str]) -> Any:
    marks: Any = {}
    for layer in reversed(layers):
        marks = merge(marks, _marked(layer.values, layer.origin))
    for override in in_order(overrides):
        apply_override(marks, override, lambda value: _marked(value, COMMAND_LINE))
    return marks


def _marked(value: Any, origin: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _marked(inner, origin) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_marked(inner, origin) for inner in value]
    return _Marked(value, origin)


def _lines(values: Mapping[str, Any], marks: Any, indent: str) -> Iterator[str]:
    for key, value in values.items():
        mark = marks.get(key) if isinstance(marks, Mapping) else None
        if isinstance(value, Mapping) and value:
            yield f"{indent}{_flow(key)}:"
            yield from _lines(value, mark, f"{indent}  ")
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            yield f"{indent}{_flow(key)}:"
            for place, item in enumerate(value):
                inner = mark[place] if isinstance(mark, list) and place < len(mark) else None
                first, *rest = _lines(item, inner, f"{indent}    ")
                yield f"{indent}  - {first.lstrip()}"
                yield from rest
        else:
            text = f"{indent}{_flow(key)}: {_flow(value)}"
            yield f"{text:<{COLUMN}}  # {_origin(mark)}"


def _origin(mark: Any) -> str:
    """Return what wrote a value; of a list, everything that wrote a part of it."""
    found = list(dict.fromkeys(_origins(mark)))
    return shortened(", ".join(found)) if found else DEFAULT


def _origins(mark: Any) -> Iterator[str]:
    if isinstance(mark, _Marked):
        yield mark.origin
    elif isinstance(mark, list | Mapping):
        for inner in mark.values() if isinstance(mark, Mapping) else mark:
            yield from _origins(inner)


def _flow(value: Any) -> str:
    """Return a value as YAML in one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...").strip()
