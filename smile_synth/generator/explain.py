"""Any key of a recipe, or of a generator's parameters, explained from the schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smile_synth.generator.registry import find, registered_names
from smile_synth.recipe.dataset import DatasetParams
from smile_synth.recipe.keys import Key, look_up
from smile_synth.recipe.recipe import EXTENDS, Recipe

PARAMS = "params"


@dataclass(frozen=True)
class Explanation:
    """A key and what lies directly inside it.

    Args:
        key: the key; None for the recipe as a whole.
        inside: keys of a section; empty for a value.
        generator: whose parameters they are; empty for the recipe's own keys.
    """

    key: Key | None
    inside: tuple[Key, ...]
    generator: str = ""


def explain(path: str, recipe: Recipe | None = None) -> Explanation:
    """Look a key up.

    Args:
        path: of a recipe, such as ``pretrain.optimizer``, where a place in a list is a number or ``N``; or a generator
            and one of its parameters, such as ``shapes.num_objects``; empty for the recipe as a whole.
        recipe: whose generators the keys in ``params`` belong to; None for the default generator.

    Raises:
        RecipeError: there is no such key; the message names the nearest, and all that are there.
        GeneratorError: the generator that the parameters belong to cannot be found.
    """
    if path == EXTENDS.path:
        return Explanation(EXTENDS, ())
    parts = path.split(".") if path else []
    if parts and parts[0] in registered_names():
        return _of_generator(parts[0], parts[1:], parts[0])
    if ":" in path:
        # A file or module: its name has dots of its own.
        return _of_generator(path, [], path, recipe)
    if PARAMS in parts:
        place = parts.index(PARAMS) + 1
        look_up(Recipe, parts[:place])
        name = _generator_at(parts[: place - 1], recipe)
        return _of_generator(name, parts[place:], ".".join(parts[:place]), recipe)
    key, inside = look_up(Recipe, parts)
    return Explanation(key, tuple(inside))


def _of_generator(name: str, parts: Sequence[str], prefix: str, recipe: Recipe | None = None) -> Explanation:
    model = find(name, Path.cwd() if recipe is None else recipe.folder).Params
    key, inside = look_up(model, parts, f"{prefix}.")
    if key is None:
        key = Key(prefix, "section", "", "", "", f"parameters of the generator {name!r}", model)
    return Explanation(key, tuple(inside), name)


def _generator_at(parts: Sequence[str], recipe: Recipe | None) -> str:
    """Return the generator of the section at a path: the recipe's, or the default."""
    values: Any = {} if recipe is None else recipe.resolved()
    for part in parts:
        values = values.get(part) if isinstance(values, dict) else None
    named = values.get("generator") if isinstance(values, dict) else None
    return str(named or DatasetParams().generator)


def rows_of(key: Key) -> list[tuple[str, str]]:
    """Return what is known of a key as pairs of label and text, for people."""
    rows = [("type", key.kind), ("range", key.allowed), ("unit", key.unit)]
    default = key.default or ("" if key.model else "none: it must be given")
    return [(label, text) for label, text in (*rows, ("default", default)) if text]
