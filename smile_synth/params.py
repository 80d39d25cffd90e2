"""The base of every parameter model, and how its errors read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from smile_synth.errors import nearest

Positive = Annotated[int, Field(ge=1)]


class StrictParams(BaseModel):
    """Parameters that refuse unknown keys and cannot change after they were checked.

    Every field of a subclass carries a description, its unit and its range.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True)


def first_problem(error: ValidationError, model: type[BaseModel], *, where: str) -> str:
    """Return the first problem of ``error`` in one line: where, what, got, allowed.

    Args:
        error: what validating ``model`` raised.
        model: the model that was validated; its fields are named where a key is unknown.
        where: what the values belong to, such as ``recipe demo.yaml``.
    """
    problems = error.errors(include_url=False)
    start = _path(problems[0]["loc"])
    # Every choice of a union complains of its own; the one that got furthest is the one that was meant.
    first = max(
        (problem for problem in problems if _path(problem["loc"]).startswith(start)),
        key=lambda problem: len(problem["loc"]),
    )
    path = _path(first["loc"])
    others = len({_path(problem["loc"]) for problem in problems} - {start, path})
    more = f" (and {others} more)" if others else ""
    if first["type"] == "extra_forbidden":
        known = sorted(_fields_at(model, first["loc"][:-1]))
        key = str(first["loc"][-1])
        return f"{where}: unknown key {path!r}.{nearest(key, known)} Known here: {', '.join(known)}{more}"
    if first["type"] == "missing":
        return f"{where}: {path!r} is missing{more}"
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    got = "" if isinstance(first["input"], dict) else f", got {first['input']!r}"
    if first["type"] == "literal_error":
        got += "." + nearest(str(first["input"]), re.findall(r"'([^']*)'", first["ctx"]["expected"]))
    return f"{where}: {path + ': ' if path else ''}{message}{got.removesuffix('.')}{more}"


def _path(loc: Iterable[int | str]) -> str:
    """Return where a problem lies as recipes write it, without pydantic's names of the choices of a union."""
    return ".".join(str(part) for part in loc if "[" not in str(part))


def _fields_at(model: type[BaseModel], path: Iterable[Any]) -> set[str]:
    """Return the field names of the model that stands at ``path`` inside ``model``."""
    here: set[type[BaseModel]] = {model}
    for part in path:
        inner: set[type[BaseModel]] = set()
        for candidate in here:
            info = candidate.model_fields.get(str(part))
            inner |= _models_in(info.annotation) if info is not None else set()
            inner |= {candidate} if candidate.__name__ == part or isinstance(part, int) else set()
        here = inner or here
    return {name for candidate in here for name in candidate.model_fields}


def _models_in(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    found: set[type[BaseModel]] = set()
    for argument in get_args(annotation):
        found |= _models_in(argument)
    return found
