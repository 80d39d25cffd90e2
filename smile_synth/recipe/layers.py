"""Values over values: what a recipe inherits, what it changes of it, and what the command line sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smile_synth.errors import RecipeError
from smile_synth.params import canonical, shortened, shown
from smile_synth.recipe.dataset import DatasetParams
from smile_synth.recipe.yaml import parse_yaml

GENERATOR, PARAMS = "generator", "params"


@dataclass(frozen=True)
class Layer:
    """What one recipe writes.

    Args:
        origin: name of the recipe.
        values: as written, without ``extends``.
    """

    origin: str
    values: Mapping[str, Any]


def flatten(layers: Sequence[Layer]) -> dict[str, Any]:
    """Return the values of all layers over each other, the first one on top; nothing in them is shared."""
    values: dict[str, Any] = {}
    for layer in reversed(layers):
        values = merge(values, layer.values)
    plain: dict[str, Any] = canonical(values)
    return plain


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the values of ``top`` over it, mapping by mapping; lists are replaced whole.

    Where ``top`` names another generator, its parameters take the place of those of ``base``, which belong to the
    generator of before.
    """
    merged = dict(base)
    if GENERATOR in top and top[GENERATOR] != base.get(GENERATOR, DatasetParams().generator):
        merged.pop(PARAMS, None)
    for key, value in top.items():
        inner = merged.get(key)
        both_maps = isinstance(inner, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(inner, value) if both_maps else value  # type: ignore[arg-type]
    return merged


def inherited_from(path: Sequence[str], layers: Sequence[Layer], overrides: Sequence[str]) -> str:
    """Return the recipe that a value was inherited from; empty where the user's own recipe or override wrote it.

    Args:
        path: keys and places in lists that lead to the value.
        layers: the user's own recipe first.
        overrides: ``key.sub=value`` each.
    """
    if any(list(path[: len(parts)]) == parts for parts in map(_override_path, overrides)):
        return ""
    holders = [layer.origin for layer in layers if _holds(layer.values, path)]
    return holders[0] if holders and holders[0] != layers[0].origin else ""


def _holds(values: Any, path: Sequence[str]) -> bool:
    for part in path:
        if isinstance(values, Mapping) and part in values:
            values = values[part]
        elif isinstance(values, list) and part.isdecimal() and int(part) < len(values):
            values = values[int(part)]
        else:
            return False
    return True


def _override_path(override: str) -> list[str]:
    return override.partition("=")[0].strip().split(".")


def in_order(overrides: Sequence[str]) -> list[str]:
    """Return overrides in the order to apply them: a generator before its own parameters, all else as given."""
    ordered: list[str] = []
    for override in overrides:
        path = _override_path(override)
        params = [*path[:-1], PARAMS]
        own = (i for i, other in enumerate(ordered) if _override_path(other)[: len(params)] == params)
        ordered.insert(next(own, len(ordered)) if path[-1] == GENERATOR else len(ordered), override)
    return ordered


def apply_override(values: dict[str, Any], override: str, wrap: Callable[[Any], Any] = lambda value: value) -> None:
    """Set one value, in place; another generator drops the parameters of the one before.

    Args:
        values: what to change.
        override: ``key.sub=value``; a number among the keys is a place in a list, the value is read as YAML.
        wrap: makes of the value what is set.

    Raises:
        RecipeError: it is no such text, its value is not YAML, or it leads into something without keys.
    """
    parts = _override_path(override)
    _, equals, text = override.partition("=")
    if not equals or not all(parts):
        raise RecipeError(f"--set takes key.sub=value, got {shown(override)}")
    value = wrap(parse_yaml(text, where=f"--set {shortened(override)}"))
    here: Any = values
    for part in parts[:-1]:
        here = _step_into(here, part, override)
    if isinstance(here, list):
        here[_index(here, part=parts[-1], override=override)] = value
        return
    if parts[-1] == GENERATOR and value != here.get(GENERATOR, DatasetParams().generator):
        here.pop(PARAMS, None)
    here[parts[-1]] = value


def _step_into(here: Any, part: str, override: str) -> Any:
    if isinstance(here, list):
        inner = here[_index(here, part, override)]
    else:
        inner = here.get(part)
        if inner is None:
            inner = here[part] = {}
    if not isinstance(inner, dict | list):
        raise RecipeError(f"--set {shortened(override)}: {shown(part)} holds {shown(inner)}, which has no keys inside")
    return inner


def _index(here: list[Any], part: str, override: str) -> int:
    # No more digits than a list can have places: int() refuses thousands of them, and takes those of other scripts.
    if part.isascii() and part.isdigit() and len(part) < 10 and int(part) < len(here):
        return int(part)
    places = f"a list of {len(here)}, 0 to {len(here) - 1}" if here else "a list that is empty"
    raise RecipeError(f"--set {shortened(override)}: {shown(part)} must be a place in {places}")
