"""Parameter models as tables for people: one row a parameter, with type, range, default and meaning."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined


@dataclass(frozen=True)
class ParameterRow:
    """One parameter.

    Args:
        name: with dots for parameters inside parameters, as ``--set`` takes it.
        kind: type and choices, in words.
        allowed: range; empty where any value of the type will do.
        default: as YAML would hold it; empty for a parameter that must be given.
        description: meaning and unit.
    """

    name: str
    kind: str
    allowed: str
    default: str
    description: str


def parameter_rows(model: type[BaseModel], prefix: str = "", defaults: Any = None) -> Iterator[ParameterRow]:
    """Yield every parameter of a model, those of models inside it under their dotted names.

    Args:
        model: the parameters.
        prefix: what precedes their names.
        defaults: an instance of ``model`` that holds their defaults, where these are not the model's own.
    """
    for name, info in model.model_fields.items():
        default = getattr(defaults, name) if isinstance(defaults, model) else _default(info)
        inner = _model_in(info.annotation)
        if inner is not None:
            yield from parameter_rows(inner, f"{prefix}{name}.", default)
        else:
            shown = "" if default is PydanticUndefined else _plain(default)
            yield ParameterRow(f"{prefix}{name}", _kind(info.annotation), _allowed(info), shown, info.description or "")


def _model_in(annotation: Any) -> type[BaseModel] | None:
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_model else None


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0])
    if origin is Literal:
        return " | ".join(str(argument) for argument in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(argument) for argument in arguments)
    if origin is dict:
        return f"{{{_kind(arguments[0])}: {_kind(arguments[1])}}}"
    if origin is list or (origin is tuple and arguments[-1] is Ellipsis):
        return f"list of {_kind(arguments[0])}"
    if origin is tuple:
        return f"[{', '.join(_kind(argument) for argument in arguments)}]"
    return {type(None): "null", Any: "any"}.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _allowed(info: FieldInfo) -> str:
    """Return the range of a number, or of the numbers in a list, a span or weights by name."""
    inner = [argument for argument in get_args(info.annotation) if get_origin(argument) is Annotated]
    return _bounds(info.metadata) or next((bounds for item in inner if (bounds := _bounds(get_args(item)[1:]))), "")


def _bounds(rules: Iterable[Any]) -> str:
    parts = []
    for rule in rules:
        if isinstance(rule, FieldInfo):
            return _bounds(rule.metadata)
        match rule:
            case annotated_types.Ge(ge=bound):
                parts.append(f">= {bound}")
            case annotated_types.Gt(gt=bound):
                parts.append(f"> {bound}")
            case annotated_types.Le(le=bound):
                parts.append(f"<= {bound}")
            case annotated_types.Lt(lt=bound):
                parts.append(f"< {bound}")
    return ", ".join(parts)


def _default(info: FieldInfo) -> Any:
    return info.get_default(call_default_factory=True, validated_data={})


def _plain(value: Any) -> str:
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(mode="json"))
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_plain(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_plain(item) for item in value) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value) if str(value) else "''"
