"""Cut-out objects that move over a background, as SMILE pastes them onto video."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from smile_synth.assets import OUTLINES, DrawnObject
from smile_synth.errors import GeneratorError, nearest
from smile_synth.generator.base import Generator, GeneratorContext
from smile_synth.generator.labels import UNDEFINED_CLASS, LabelSpec
from smile_synth.params import Span, StrictParams
from smile_synth.sampling.backgrounds import BackgroundParams, sample_background
from smile_synth.sampling.motion import Motion, MotionParams, motion_label_specs, motion_labels, sample_motion
from smile_synth.scene import Layer, Scene


class CutoutsParams(StrictParams):
    """How many objects, which ones, how they move, and over what."""

    num_objects: Span[Annotated[int, Field(ge=1, le=32)]] = Field(
        (2, 2), description="fewest and most objects per clip, uniform"
    )
    classes: tuple[str, ...] = Field(
        (),
        description="classes to choose objects from, each equally often (built-in: polygon, blob, ellipse, letter); "
        "empty means all objects alike",
    )
    order: Literal["largest-first", "random"] = Field(
        "largest-first", description="which object is painted first, and so covered by the others"
    )
    motion: MotionParams = Field(MotionParams(), description="path, size and angle over time")
    background: BackgroundParams = Field(BackgroundParams(), description="what the objects move over")


class Cutouts(Generator[CutoutsParams]):
    """Cut-out objects on smooth, straight, curved or bouncing paths, rotating and changing size.

    Source: SMILE (CVPR 2025) for smooth and straight paths, sizes, rotation and the order of painting.
    """

    Params = CutoutsParams

    def __init__(self, params: CutoutsParams, context: GeneratorContext) -> None:
        super().__init__(params, context)
        self._class_names = context.assets.objects.class_names
        for name in params.classes:
            if name not in self._class_names:
                raise GeneratorError(
                    f"generator 'cutouts': there are no objects of class {name!r}."
                    f"{nearest(name, self._class_names)} Known: {', '.join(self._class_names)}"
                )

    @property
    def max_objects(self) -> int:
        """Most objects of a clip."""
        return self.params.num_objects[1]

    @property
    def label_specs(self) -> Mapping[str, LabelSpec]:
        """Labels of every object, and the number of objects."""
        return {
            **motion_label_specs(),
            "outline": LabelSpec("Outline of a built-in object", "class", "object", classes=OUTLINES),
            "object_class": LabelSpec("Class of the object", "class", "object", classes=self._class_names),
            "num_objects": LabelSpec("Number of objects", "number", "clip"),
        }

    def sample(self, *, rng: np.random.Generator) -> Scene:
        """Sample a background, then objects and their trajectories over it."""
        canvas, assets = self.context.canvas, self.context.assets
        background = sample_background(self.params.background, canvas, assets, rng=rng)
        count = int(rng.integers(self.params.num_objects[0], self.params.num_objects[1] + 1))
        pairs = [self._sample_object(rng) for _ in range(count)]
        if self.params.order == "largest-first":
            pairs.sort(key=lambda pair: -float(pair[1].size_T2[0].prod()))
        return Scene(
            canvas=canvas,
            background=background.image,
            camera_T33=background.camera_T33,
            background_id=background.asset_id,
            layers=tuple(_layer(drawn, motion) for drawn, motion in pairs),
            labels={
                **motion_labels([motion for _, motion in pairs]),
                "outline": np.array([_index(OUTLINES, drawn.outline) for drawn, _ in pairs], dtype=np.int32),
                "object_class": np.array(
                    [self._class_names.index(drawn.class_name) for drawn, _ in pairs], dtype=np.int32
                ),
                "num_objects": count,
            },
        )

    def _sample_object(self, rng: np.random.Generator) -> tuple[DrawnObject, Motion]:
        drawn = self.context.assets.objects.sample(rng=rng, class_names=self.params.classes)
        height, width = drawn.texture.shape[:2]
        return drawn, sample_motion(self.params.motion, self.context.canvas, rng=rng, aspect=width / height)


def _layer(drawn: DrawnObject, motion: Motion) -> Layer:
    height, width = drawn.texture.shape[:2]
    return Layer(
        texture=drawn.texture,
        pose_T6=motion.pose_T6(height, width),
        opacity_T=np.ones(len(motion.angle_T), dtype=np.float32),
        object_id=drawn.asset_id,
        class_name=drawn.class_name,
    )


def _index(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else UNDEFINED_CLASS
