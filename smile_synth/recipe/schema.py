"""The JSON schema of recipe files, for editors and other programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from smile_synth.recipe.keys import keys_of
from smile_synth.recipe.recipe import EXTENDS, Recipe

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Models that are reached by a list are written whole: what a recipe extends fills no gaps in them.
WHOLE = frozenset({"QuestionParams", "VideosParams"})


def recipe_schema(generators: Mapping[str, type[BaseModel]] | None = None) -> dict[str, Any]:
    """Return the JSON schema of a recipe's file.

    A file that extends another may leave out what the other has, so sections require no keys. What only the whole
    recipe can break, such as keys without effect, is found by ``smile-synth recipes check``.

    Args:
        generators: name -> parameters, of the generators whose ``params`` are to be checked too.
    """
    schema = Recipe.model_json_schema()
    definitions: dict[str, Any] = schema.setdefault("$defs", {})
    branches = []
    for name, model in (generators or {}).items():
        of_generator = model.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
        definitions |= {f"{name}.{key}": value for key, value in of_generator.pop("$defs", {}).items()}
        definitions[f"{name}.params"] = of_generator
        branches.append(
            {
                "if": {"properties": {"generator": {"const": name}}, "required": ["generator"]},
                "then": {"properties": {"params": {"$ref": f"#/$defs/{name}.params"}}},
            }
        )
    for name, definition in definitions.items():
        if name not in WHOLE:
            definition.pop("required", None)
    for holder in ("DatasetParams", "SourceParams"):
        definitions[holder]["allOf"] = branches
    schema["properties"] = {"extends": {"type": "string", "description": EXTENDS.description}, **schema["properties"]}
    _add_units(schema)
    return {"$schema": DIALECT, "title": "smile-synth recipe", **schema, "description": "A recipe of smile-synth."}


def _add_units(schema: dict[str, Any]) -> None:
    """Write the unit of every number beside its range."""
    for key in keys_of(Recipe):
        if key.unit:
            place = _place(schema, key.path.split("."))
            place["unit"] = key.unit


def _place(schema: dict[str, Any], parts: list[str]) -> dict[str, Any]:
    here: Any = schema
    for part in parts:
        here = _resolved(here, schema)
        if part == "N":
            here = here["items"]
        elif part == "NAME":
            here = here["additionalProperties"]
        else:
            here = here["properties"][part]
    place: dict[str, Any] = here
    return place


def _resolved(here: Any, schema: dict[str, Any]) -> Any:
    """Follow references, and the section in "a section or null"."""
    while "properties" not in here and "items" not in here and not isinstance(here.get("additionalProperties"), dict):
        if "$ref" in here:
            here = schema["$defs"][here["$ref"].rpartition("/")[2]]
        else:
            here = next(choice for choice in here["anyOf"] if choice.get("type") != "null")
    return here
