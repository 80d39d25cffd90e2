"""``mixture``: each clip comes from one of several generators, drawn by weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from smile_synth.generator.base import Generator, GeneratorContext
from smile_synth.generator.dataset import build_generator
from smile_synth.generator.labels import LabelSpec, join_specs, translate
from smile_synth.params import StrictParams
from smile_synth.sampling.choices import Weight, choose
from smile_synth.scene import Scene


class PartParams(StrictParams):
    """One generator of a mixture."""

    weight: Weight = Field(1.0, description="share of the clips, relative to the other parts")
    generator: str = Field(
        "", description="name, package.module:Class or file.py:Class; empty means the part's own name"
    )
    params: dict[str, Any] = Field(default_factory=dict, description="the generator's own parameters")


class MixtureParams(StrictParams):
    """Which generators, and how often each."""

    parts: Annotated[dict[str, PartParams], Field(min_length=1)] = Field(
        default_factory=lambda: {"cutouts": PartParams(), "shapes": PartParams(), "pseudo_motion": PartParams()},
        description="generators by the name that each part is to have",
    )


class Mixture(Generator[MixtureParams]):
    """Clips of several generators in one dataset, each clip from one of them, drawn by weight."""

    Params = MixtureParams

    def __init__(self, params: MixtureParams, context: GeneratorContext) -> None:
        super().__init__(params, context)
        self._parts = {
            name: build_generator(part.generator or name, part.params, context, context.folder)
            for name, part in params.parts.items()
        }
        self._weights = {name: part.weight for name, part in params.parts.items()}
        self._specs = join_specs({name: part.label_specs for name, part in self._parts.items()})

    @property
    def families(self) -> tuple[str, ...]:
        """Names of the parts, in the order of their label ``family``."""
        return tuple(self._parts)

    @property
    def parts(self) -> tuple[Generator[Any], ...]:
        """The parts."""
        return tuple(self._parts.values())

    @property
    def max_objects(self) -> int:
        """Most objects of any part."""
        return max(part.max_objects for part in self._parts.values())

    @property
    def label_specs(self) -> Mapping[str, LabelSpec]:
        """Every label of every part, undefined in clips of the others, and which part a clip comes from."""
        family = LabelSpec("which part of the mixture the clip comes from", "class", classes=self.families)
        return {**self._specs, "family": family}

    def sample(self, *, rng: np.random.Generator) -> Scene:
        """Sample a part by its weight, and a scene of it."""
        name = choose(self._weights, rng=rng)
        part = self._parts[name]
        scene = part.sample(rng=rng)
        labels = translate(scene.labels, part.label_specs, self._specs, num_objects=len(scene.layers))
        return replace(scene, generator=name, labels={**labels, "family": self.families.index(name)})
