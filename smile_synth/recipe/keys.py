"""Every key of a parameter model as people ask for it: type, range, unit, default and meaning."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from smile_synth.errors import RecipeError, nearest
from smile_synth.params import shown

# What stands for a place in a list, and for a name that the user chooses.
PLACE, NAME = "N", "NAME"
# The unit of a key with this name, or whose name ends with this word; json_schema_extra={"unit": ...} says any other.
UNITS = {
    "patch_size": "px",
    "tubelet_size": "frames",
    "image_size": "px",
    "short_side": "px",
    "batch_size": "clips",
    "micro_batch": "clips",
    "clips_per_shard": "clips",
    "min_clips_per_class": "clips",
    "frame_stride": "frames",
    "px": "px",
    "deg": "degrees",
    "s": "s",
    "epochs": "epochs",
    "steps": "steps",
    "clips": "clips",
    "frames": "frames",
    "batches": "batches",
    "threads": "threads",
    "frame": "per frame",
}
RATES = {"px_per_frame": "px/frame", "deg_per_frame": "degrees/frame"}


@dataclass(frozen=True)
class Key:
    """One key.

    Args:
        path: with dots for keys inside keys, as ``--set`` takes it; ``N`` stands for a place in a list, ``NAME`` for a
            name of the user's choice.
        kind: type and choices, in words; ``section`` for a group of keys.
        allowed: range; empty where any value of the type will do.
        unit: empty for a number without one, and for what is no number.
        default: as YAML would hold it; empty for a key that must be given.
        description: meaning.
        model: the parameters of a section; None for a value.
    """

    path: str
    kind: str
    allowed: str
    unit: str
    default: str
    description: str
    model: type[BaseModel] | None = None


def keys_of(model: type[BaseModel], prefix: str = "", defaults: Any = None) -> Iterator[Key]:
    """Yield every key of a model, sections before the keys inside them.

    Args:
        model: the parameters.
        prefix: what precedes their names.
        defaults: an instance of ``model`` that holds their defaults, where these are not the model's own.
    """
    for name, info in model.model_fields.items():
        default = getattr(defaults, name) if isinstance(defaults, model) else _default(info)
        path, inner, step = f"{prefix}{name}", *_model_in(info.annotation)
        yield _key(path, info, default, inner, step)
        if inner is not None and not issubclass(model, inner):
            yield from keys_of(inner, f"{path}.{step}", default)


def values_of(model: type[BaseModel]) -> list[Key]:
    """Return the keys of a model that hold a value, sections left out."""
    return [key for key in keys_of(model) if key.model is None]


def look_up(model: type[BaseModel], parts: Sequence[str], prefix: str = "") -> tuple[Key | None, list[Key]]:
    """Return one key of a model, and the keys directly inside it.

    Args:
        model: the parameters.
        parts: names that lead to the key; a place in a list is a number or ``N``. Empty for the model itself.
        prefix: what precedes all paths, such as ``dataset.params.``.

    Returns:
        The key, None for the model itself; and what lies inside it, nothing where it holds a value.

    Raises:
        RecipeError: there is no such key; the message names the nearest, and all that are there.
    """
    known = {tuple(key.path.split(".")): key for key in keys_of(model)}
    here: tuple[str, ...] = ()
    for part in parts:
        here = (*here, _step(known, here, part, prefix + ".".join(parts)))
    path = prefix + ".".join(parts)
    levels = (here, (*here, PLACE), (*here, NAME))
    inside: list[Key] = next(filter(None, (_children(known, level, path, len(here)) for level in levels)), [])
    if here in known:
        return replace(known[here], path=path), inside
    if not here:
        return None, inside
    group = known[here[:-1]]
    return Key(path, "section", "", "", "", f"one of {group.path}: {group.description}", group.model), inside


_Known = Mapping[tuple[str, ...], Key]


def _children(known: _Known, level: tuple[str, ...], path: str, depth: int) -> list[Key]:
    deeper = len(level) + 1
    found = {steps: key for steps, key in known.items() if len(steps) == deeper and steps[:-1] == level}
    return [
        replace(key, path=".".join(filter(None, (path.rstrip("."), *steps[depth:])))) for steps, key in found.items()
    ]


def _step(known: _Known, here: tuple[str, ...], part: str, path: str) -> str:
    """Return the schema's own name of the next part of a path."""
    choices = {steps[len(here)] for steps in known if steps[: len(here)] == here and len(steps) > len(here)}
    if part in choices:
        return part
    if PLACE in choices and part.isdecimal():
        return PLACE
    if NAME in choices:
        return NAME
    if here and not choices:
        raise RecipeError(f"there is no key {shown(path)}: {'.'.join(here)} has no keys inside")
    where = f"in {'.'.join(here)}" if here else "here"
    raise RecipeError(
        f"there is no key {shown(path)}.{nearest(part, choices)} Known {where}: {', '.join(sorted(choices))}"
    )


def _key(path: str, info: FieldInfo, default: Any, inner: type[BaseModel] | None, step: str) -> Key:
    name = path.rpartition(".")[2]
    shown = "" if default is PydanticUndefined else _plain(default)
    if inner is not None and not step:
        shown = "null" if default is None else ""
    kind = _kind(info.annotation)
    unit = unit_of(name, info) if any(word in kind for word in ("int", "float")) else ""
    return Key(path, kind, _allowed(info), unit, shown, info.description or "", inner)


def unit_of(name: str, info: FieldInfo) -> str:
    """Return the unit of a number, as its field states it or as its name ends; empty where there is none."""
    extra = info.json_schema_extra
    if isinstance(extra, dict) and "unit" in extra:
        return str(extra["unit"])
    rate = next((unit for ending, unit in RATES.items() if name.endswith(ending)), "")
    return rate or UNITS.get(name) or UNITS.get(name.rpartition("_")[2], "")


def _model_in(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """Return the model that a field holds, and what stands between the field and the model's keys."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _model_in(arguments[0])
    if origin in (Union, types.UnionType):
        found = [_model_in(argument) for argument in arguments]
        return next(((model, step) for model, step in found if model is not None), (None, ""))
    if origin in (list, tuple) and arguments:
        return _model_in(arguments[0])[0], f"{PLACE}."
    if origin is dict:
        return _model_in(arguments[1])[0], f"{NAME}."
    return None, ""


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
        return f"list of {_kind(arguments[0])}{'s' if _model_in(arguments[0])[0] else ''}"
    if origin is tuple:
        return f"[{', '.join(_kind(argument) for argument in arguments)}]"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    return {type(None): "null", Any: "any"}.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _allowed(info: FieldInfo) -> str:
    """Return the range of a number, or of the numbers in a list, a span or weights by name."""
    return ", ".join(filter(None, (_bounds(info.metadata), _bounds_inside(info.annotation))))


def _bounds_inside(annotation: Any) -> str:
    for argument in get_args(annotation):
        is_annotated = get_origin(argument) is Annotated
        bounds = (_bounds(get_args(argument)[1:]) if is_annotated else "") or _bounds_inside(argument)
        if bounds:
            return bounds
    return ""


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
            case annotated_types.MinLen(min_length=1):
                parts.append("not empty")
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
