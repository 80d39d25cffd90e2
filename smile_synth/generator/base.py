"""The contract between smile-synth and a generator, ours or a user's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from smile_synth.assets import Assets
from smile_synth.generator.labels import LabelSpec
from smile_synth.params import StrictParams
from smile_synth.scene import Canvas, Scene

ParamsT = TypeVar("ParamsT", bound=StrictParams)


@dataclass(frozen=True)
class GeneratorContext:
    """What a generator is given in addition to its parameters.

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
        """Sample one scene; every random choice comes from ``rng`` and from nothing else."""
