"""The contract between smile-synth and a generator, ours or a user's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np

from smile_synth.assets import Assets
from smile_synth.errors import GeneratorError
from smile_synth.params import StrictParams
from smile_synth.scene import Canvas, Scene

ParamsT = TypeVar("ParamsT", bound=StrictParams)


@dataclass(frozen=True)
class LabelSpec:
    """What a label means and how it is stored.

    Args:
        description: one sentence for people.
        kind: ``class`` is stored as int32 (-1 where undefined), ``number`` as float32 (NaN where undefined).
        per: one value a ``clip``, or one per ``object`` slot, in painter's order.
        unit: such as ``px/frame`` or ``deg``; empty for classes.
        classes: names of the classes, in order of their numbers; empty for numbers.
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
                return f"must be -1 to {len(self.classes) - 1}, the numbers of its classes, got {given.tolist()}"
        elif given.size and (given.dtype.kind not in "iuf" or np.isinf(given).any()):
            return f"must be finite, or NaN where it is undefined, got {given.tolist()}"
        return ""


@dataclass(frozen=True)
class GeneratorContext:
    """What a generator is given beside its own parameters.

    Args:
        canvas: size of every clip.
        assets: where backgrounds and objects come from.
        folder: what file names in parameters start from, usually the recipe's folder.
    """

    canvas: Canvas
    assets: Assets
    folder: Path = Path()


class Generator(ABC, Generic[ParamsT]):
    """Base of every generator: subclass it, name its parameters, and write ``sample``.

    The first sentence of the subclass's docstring is what ``smile-synth generators list`` shows.
    """

    Params: ClassVar[type[StrictParams]]

    def __init__(self, params: ParamsT, context: GeneratorContext) -> None:
        self.params = params
        self.context = context

    @property
    @abstractmethod
    def max_objects(self) -> int:
        """Most layers that a scene of this generator has (0 or more)."""

    @property
    def label_specs(self) -> Mapping[str, LabelSpec]:
        """Labels that every scene of this generator carries, by name."""
        return {}

    @property
    def parts(self) -> tuple[Generator[Any], ...]:
        """Generators that this one draws scenes from; their code counts as part of its own."""
        return ()

    @abstractmethod
    def sample(self, *, rng: np.random.Generator) -> Scene:
        """Draw one scene; every random choice comes from ``rng`` and from nothing else."""
