"""``stack``: the objects of some generators over the background of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from smile_synth.errors import GeneratorError
from smile_synth.generator.base import Generator, GeneratorContext
from smile_synth.generator.dataset import build_generator
from smile_synth.generator.labels import LabelSpec, join_specs, translate
from smile_synth.params import StrictParams
from smile_synth.scene import Label, Scene


class PieceParams(StrictParams):
    """One generator of a stack."""

    generator: str = Field(description="name, package.module:Class or file.py:Class")
    params: dict[str, Any] = Field(default_factory=dict, description="the generator's own parameters")


class StackParams(StrictParams):
    """What lies under what."""

    background: PieceParams = Field(
        PieceParams(generator="gratings"), description="gives background, camera and whatever objects it has itself"
    )
    objects: Annotated[list[PieceParams], Field(min_length=1)] = Field(
        default_factory=lambda: [PieceParams(generator="cutouts")],
        description="generators whose objects lie over it, the first ones lowest; their backgrounds are not used",
    )


class Stack(Generator[StackParams]):
    """The objects of one or more generators over the background and camera of another."""

    Params = StackParams

    def __init__(self, params: StackParams, context: GeneratorContext) -> None:
        super().__init__(params, context)
        pieces = [params.background, *params.objects]
        self._pieces = [build_generator(p.generator, p.params, context, context.folder) for p in pieces]
        for piece, generator in zip(params.objects, self._pieces[1:], strict=True):
            if generator.max_objects == 0:
                raise GeneratorError(
                    f"generator 'stack': {piece.generator!r} has no objects to lay over a background; "
                    "name it as 'background', or take it out of 'objects'"
                )
        self._specs = join_specs({f"{i}": piece.label_specs for i, piece in enumerate(self._pieces)})

    @property
    def parts(self) -> tuple[Generator[Any], ...]:
        """The pieces."""
        return tuple(self._pieces)

    @property
    def max_objects(self) -> int:
        """Objects of all pieces together."""
        return sum(piece.max_objects for piece in self._pieces)

    @property
    def label_specs(self) -> Mapping[str, LabelSpec]:
        """Labels of all pieces; where two say the same of a whole clip, the upper one's holds."""
        return self._specs

    def sample(self, *, rng: np.random.Generator) -> Scene:
        """Sample a scene of every piece, and lay them over each other."""
        scenes = [piece.sample(rng=rng) for piece in self._pieces]
        below = scenes[0]
        return Scene(
            canvas=below.canvas,
            background=below.background,
            camera_T33=below.camera_T33,
            background_id=below.background_id,
            layers=tuple(layer for scene in scenes for layer in scene.layers),
            labels=self._join_labels(scenes),
            background_surface=below.background_surface,
        )

    def _join_labels(self, scenes: list[Scene]) -> dict[str, Label]:
        joined: dict[str, Label] = {}
        for piece, scene in zip(self._pieces, scenes, strict=True):
            said = translate(scene.labels, piece.label_specs, self._specs, num_objects=len(scene.layers))
            for name, spec in self._specs.items():
                if spec.per == "object":
                    joined[name] = np.concatenate([joined[name], said[name]]) if name in joined else said[name]
                elif name in piece.label_specs or name not in joined:
                    joined[name] = said[name]
        if "num_objects" in joined:
            joined["num_objects"] = sum(len(scene.layers) for scene in scenes)
        return joined
