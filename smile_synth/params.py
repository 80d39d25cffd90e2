"""The base of every parameter model, and how its errors read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from smile_synth.errors import nearest, printable

Number = TypeVar("Number", int, float)

Positive = Annotated[int, Field(ge=1)]

DEEPEST_NESTING = 64
LONGEST_SHOWN = 80
# How pydantic names one choice of a union, such as ``literal['a','b']``, or the key of a mapping.
_CHOICE = re.compile(r"[a-z-]+\[.*\]|\[key\]", re.DOTALL)


def _rising(span: tuple[Number, Number]) -> tuple[Number, Number]:
    if span[0] > span[1]:
        raise ValueError(f"a span runs from its lower to its higher end, got {span[0]} to {span[1]}")
    return span


# Lower and higher end, such as ``Span[Annotated[float, Field(ge=0)]]``; both ends can be drawn.
Span = Annotated[tuple[Number, Number], AfterValidator(_rising)]


@dataclass(frozen=True)
class NoEffect:
    """Fields that do nothing under some setting of the others, and are refused there.

    A field counts as set where it differs from its default, so that a resolved recipe, which states every default,
    reads back.

    Args:
        fields: names of the fields.
        when: tells from the checked parameters whether the fields do nothing.
        why: what stands after "FIELD has no effect"; names in braces are replaced by the values of those fields.
        instead: what to do.
    """

    fields: tuple[str, ...]
    when: Callable[[Any], bool]
    why: str
    instead: str = "leave it out"

    def check(self, params: BaseModel) -> None:
        """Raise what pydantic takes for a validation error where one of the fields is set without effect."""
        fields = type(params).model_fields
        for name in self.fields:
            default = fields[name].get_default(call_default_factory=True, validated_data={})
            if getattr(params, name) != default and self.when(params):
                said = f"{name} has no effect {self.why.format_map(vars(params))}: {self.instead}"
                raise PydanticCustomError("no_effect", "{said}", {"said": said, "field": name})


def _tell_numbers_from_truth(schema: Any, cls: type[BaseModel]) -> Any:
    """Return pydantic's schema of ``cls``, changed so that numbers refuse booleans and booleans refuse all else."""
    if isinstance(schema, list):
        return [_tell_numbers_from_truth(item, cls) for item in schema]
    if not isinstance(schema, dict) or schema.get("cls", cls) is not cls:
        return schema
    inner = {
        # Defaults and metadata are values, not schemas.
        key: value if key in ("default", "metadata", "serialization") else _tell_numbers_from_truth(value, cls)
        for key, value in schema.items()
    }
    match schema.get("type"):
        case "int" | "float":
            return core_schema.no_info_before_validator_function(_refuse_truth, inner)
        case "literal" if {type(choice) for choice in schema["expected"]} <= {int, float}:
            return core_schema.no_info_before_validator_function(_refuse_truth, inner)
        case "bool":
            return {**inner, "strict": True}
    return inner


def _refuse_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("input should be a number")
    return value


class StrictParams(BaseModel):
    """Parameters that refuse unknown keys and cannot change after they were checked.

    Every field of a subclass carries a description, its unit and its range. Numbers are finite, and neither true nor
    false is one. Mappings are sorted by key, so that nothing can depend on the order in which they were written.
    A group of parameters that is given in part keeps the rest of the field's default.

    Attributes:
        NO_EFFECT: which fields are refused because they would do nothing; subclasses add to those of their bases.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    NO_EFFECT: ClassVar[tuple[NoEffect, ...]] = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema: CoreSchema = _tell_numbers_from_truth(handler(source), cls)
        return schema

    @model_validator(mode="before")
    @classmethod
    def _keep_defaults_of_groups(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        filled = dict(values)
        for name, field in cls.model_fields.items():
            default = field.get_default(call_default_factory=True, validated_data={})
            if isinstance(default, StrictParams) and isinstance(values.get(name), Mapping):
                filled[name] = _filled(default, values[name])
        return filled

    @model_validator(mode="after")
    def _sort_and_check_effects(self) -> StrictParams:
        for name, value in vars(self).items():
            # The class is frozen for everybody else; this is still part of making it.
            vars(self)[name] = canonical(value)
        for base in reversed(type(self).__mro__):
            for rule in vars(base).get("NO_EFFECT", ()):
                rule.check(self)
        return self


def _filled(default: StrictParams, given: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return ``given`` with what the field's default sets and ``given`` does not: shapes over black stay over black."""
    filled = dict(given)
    for name in default.model_fields_set:
        kept = getattr(default, name)
        if name not in given:
            filled[name] = kept
        elif isinstance(kept, StrictParams) and isinstance(given[name], Mapping):
            filled[name] = _filled(kept, given[name])
    return filled


def canonical(value: Any, depth: int = 0) -> Any:
    """Return ``value`` with every mapping in it sorted by key.

    Raises:
        ValueError: mappings and lists are nested deeper than ``DEEPEST_NESTING``.
    """
    if depth > DEEPEST_NESTING:
        raise ValueError(f"values are nested deeper than {DEEPEST_NESTING} levels")
    if isinstance(value, Mapping):
        return {key: canonical(value[key], depth + 1) for key in sorted(value, key=str)}
    if type(value) in (list, tuple):
        return type(value)(canonical(item, depth + 1) for item in value)
    return value


def shown(value: Any) -> str:
    """Return a value as an error shows it: in one short piece, true, false and null as YAML writes them."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python writes
        return "a huge number"
    if len(text) <= LONGEST_SHOWN:
        return text
    # What a quote or bracket opened is closed again.
    end = text[-1] if text[-1] in "'\")]}" else ""
    return f"{shortened(text, LONGEST_SHOWN - len(end))}{end}"


def shortened(text: str, most: int = LONGEST_SHOWN) -> str:
    """Return a text cut to ``most`` characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


@dataclass(frozen=True)
class Problem:
    """What is wrong with given values.

    Args:
        path: keys and places in lists that lead to the value.
        text: where, what, got and allowed, in one line.
    """

    path: tuple[str, ...]
    text: str


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (path, our value, their value) wherever two nested plain values differ."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in [*ours, *(key for key in theirs if key not in ours)]:
            yield from differences(ours.get(key), theirs.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for place, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{path}[{place}]")
    elif ours != theirs:
        yield path, ours, theirs


def first_problem(error: ValidationError, model: type[BaseModel], *, where: str) -> str:
    """Return the first problem of ``error`` in one line: where, what, got, allowed.

    Args:
        error: what validating ``model`` raised.
        model: the model that was validated.
        where: what the values belong to, such as ``recipe demo.yaml``.
    """
    return f"{where}: {problem_of(error, model).text}"


def problem_of(error: ValidationError, model: type[BaseModel]) -> Problem:
    """Return the first problem of ``error``, and where it lies.

    Args:
        error: what validating ``model`` raised.
        model: the model that was validated; its fields are named where a key is unknown.
    """
    problems = error.errors(include_url=False)
    start = _steps(problems[0])
    # Every choice of a union complains of its own; the one that got furthest is the one that was meant.
    first = max(
        (problem for problem in problems if _steps(problem)[: len(start)] == start),
        key=lambda problem: len(problem["loc"]),
    )
    steps = _steps(first)
    others = len({_steps(problem) for problem in problems} - {start, steps})
    more = f" (and {others} more)" if others else ""
    field = first.get("ctx", {}).get("field")
    return Problem((*steps, field) if field else steps, _said(first, model) + more)


def _said(problem: ErrorDetails, model: type[BaseModel]) -> str:
    path = _readable(".".join(_steps(problem)))
    if problem["type"] == "extra_forbidden":
        known = sorted(_fields_at(model, problem["loc"][:-1]))
        return f"unknown key {path!r}.{nearest(str(problem['loc'][-1]), known)} Known here: {', '.join(known)}"
    if problem["type"] == "missing":
        return f"{path!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    got = "" if isinstance(problem["input"], dict) else f", got {shown(problem['input'])}"
    if problem["type"] == "literal_error":
        hint = nearest(str(problem["input"]), re.findall(r"'([^']*)'", problem["ctx"]["expected"]))
        got += f".{hint}" if hint else ""
    return f"{path + ': ' if path else ''}{message}{got}"


def _steps(problem: ErrorDetails) -> tuple[str, ...]:
    """Return where a problem lies as recipes write it, without pydantic's names of the choices of a union."""
    return tuple(str(part) for part in problem["loc"] if not _CHOICE.fullmatch(str(part)))


def _readable(path: str) -> str:
    """Return a path that fits into a line of a terminal, whatever its keys are."""
    return shortened(printable(path))


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
