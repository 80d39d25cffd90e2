"""Labels of several generators in one dataset: one table of names, undefined where a generator has none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from smile_synth.errors import GeneratorError
from smile_synth.scene import Label

UNDEFINED_CLASS = -1
UNDEFINED_NUMBER = math.nan


@dataclass(frozen=True)
class LabelSpec:
    """What a label means and how it is stored.

    Args:
        description: one sentence for people.
        kind: ``class`` is stored as int32 (-1 where undefined), ``number`` as float32 (NaN where undefined).
        per: one value a ``clip``, or one per ``object`` slot, in painter's order.
        unit: such as ``px/frame`` or ``deg``; empty for classes.
        classes: names of the classes, in order of their indices; empty for numbers.
    """

    description: str
    kind: Literal["class", "number"] = "number"
    per: Literal["clip", "object"] = "clip"
    unit: str = ""
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.kind == "class") != bool(self.classes):
            raise GeneratorError(
                f"a label of kind 'class' names its classes and a number names none, got {self.kind!r}, {self.classes}"
            )

    def problem_with(self, value: object, num_objects: int) -> str:
        """Return what is wrong with a scene's value of this label, or an empty string.

        Args:
            value: what the scene says.
            num_objects: layers of the scene.
        """
        given = np.asarray(value)
        expected = (num_objects,) if self.per == "object" else ()
        if given.shape != expected:
            kind = f"one value for each of its {num_objects} objects" if self.per == "object" else "one value"
            return f"must have {kind}, got shape {given.shape}"
        if self.kind == "class":
            if given.size and given.dtype.kind not in "iu":
                return f"must be whole numbers, got {given.dtype}"
            if ((given < -1) | (given >= len(self.classes))).any():
                return f"must be -1 to {len(self.classes) - 1}, the indices of its classes, got {given.tolist()}"
        elif given.size and (given.dtype.kind not in "iuf" or np.isinf(given).any()):
            return f"must be finite, or NaN where it is undefined, got {given.tolist()}"
        return ""


def join_specs(specs_of: Mapping[str, Mapping[str, LabelSpec]]) -> dict[str, LabelSpec]:
    """Return one specification for every label that any of several generators has.

    Labels of the same name become one; where they name different classes, the joint label has all of them.

    Args:
        specs_of: the label specifications of each generator, by its name.

    Raises:
        GeneratorError: two labels of the same name are of different kinds, units, or per clip and per object.
    """
    joined: dict[str, LabelSpec] = {}
    first_with: dict[str, str] = {}
    for generator, specs in specs_of.items():
        for name, spec in specs.items():
            if name not in joined:
                joined[name], first_with[name] = spec, generator
                continue
            known = joined[name]
            if (known.kind, known.per, known.unit) != (spec.kind, spec.per, spec.unit):
                raise GeneratorError(
                    f"label {name!r} is a {known.kind} per {known.per} in {known.unit or 'no unit'} for "
                    f"{first_with[name]!r}, but a {spec.kind} per {spec.per} in {spec.unit or 'no unit'} for "
                    f"{generator!r}; these generators do not combine: rename the label in one of them"
                )
            new = tuple(c for c in spec.classes if c not in known.classes)
            joined[name] = replace(known, classes=known.classes + new) if new else known
    return joined


def translate(
    labels: Mapping[str, Label], own: Mapping[str, LabelSpec], joint: Mapping[str, LabelSpec], *, num_objects: int
) -> dict[str, Label]:
    """Say a scene's labels in the words of a joint table.

    Args:
        labels: of one scene.
        own: what the scene's generator declares.
        joint: from ``join_specs``.
        num_objects: layers of the scene.

    Returns:
        A value for every joint label: class indices of the joint table, and -1 or NaN for what the scene does not have.
    """
    return {
        name: _renumbered(labels[name], own[name], spec) if name in labels else _undefined(spec, num_objects)
        for name, spec in joint.items()
    }


def _renumbered(value: Label, own: LabelSpec, joint: LabelSpec) -> Label:
    if own.classes == joint.classes:
        return value
    numbers = np.array([*(joint.classes.index(name) for name in own.classes), UNDEFINED_CLASS], np.int32)
    renumbered = numbers[np.asarray(value)]
    return renumbered if own.per == "object" else int(renumbered)


def _undefined(spec: LabelSpec, num_objects: int) -> Label:
    if spec.kind == "class":
        return np.full(num_objects, UNDEFINED_CLASS, np.int32) if spec.per == "object" else UNDEFINED_CLASS
    return np.full(num_objects, np.nan, np.float32) if spec.per == "object" else UNDEFINED_NUMBER
