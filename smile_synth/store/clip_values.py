"""What a store keeps of a clip: frames and motion, drawn one clip at a time, and small arrays filled from its scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from smile_synth.errors import GeneratorError
from smile_synth.render import render_into
from smile_synth.scene import Scene
from smile_synth.store.layout import Layout
from smile_synth.store.spec import ArraySpec
from smile_synth.store.truth import write_truth

Values = dict[str, npt.NDArray[Any]]


class DrawnClip:
    """Memory for the large arrays of one clip, drawn into again and again.

    Args:
        layout: of the store.

    Attributes:
        arrays: by name, what a chunk of each compressed array holds.
    """

    def __init__(self, layout: Layout) -> None:
        self.arrays: Values = {
            spec.name: np.empty(spec.item_shape, np.dtype(spec.dtype).newbyteorder("<"))
            for spec in layout.arrays
            if spec.compressed
        }
        motion = self.arrays.get("motion")
        self._motion_THW2 = None if motion is None else np.empty(motion.shape, np.float32)

    def draw(self, scene: Scene) -> npt.NDArray[np.float32]:
        """Draw a scene and return its boxes, float32 (layers, T, 4).

        Raises:
            SceneError: the scene cannot be rendered.
        """
        boxes_KT4 = render_into(scene, self.arrays["frames"], self._motion_THW2)
        if self._motion_THW2 is not None:
            self.arrays["motion"][...] = self._motion_THW2
        write_truth(scene, self.arrays)
        return boxes_KT4


def empty_values(arrays: Sequence[ArraySpec], num_clips: int) -> Values:
    """Return every small array for ``num_clips`` clips, holding its fill value."""
    return {
        spec.name: np.full((num_clips, *spec.item_shape), spec.fill_value, dtype=spec.dtype)
        for spec in arrays
        if not spec.compressed
    }


def fill_clip(
    values: Values, row: int, scene: Scene, boxes_KT4: npt.NDArray[np.float32], generators: Sequence[str]
) -> None:
    """Write what one scene says into its row.

    Args:
        values: from ``empty_values``.
        row: the clip's place in them.
        scene: the clip's scene.
        boxes_KT4: float32 (layers, T, 4), from the renderer.
        generators: names of the families that can appear, the recipe's first.

    Raises:
        GeneratorError: the scene names an unknown family, or a label does not have the shape of its slot.
    """
    num_layers = len(scene.layers)
    values["boxes"][row, :num_layers] = boxes_KT4
    for k, layer in enumerate(scene.layers):
        values["poses"][row, k] = layer.pose_T6
        values["opacity"][row, k] = layer.opacity_T
        values["object"][row, k] = layer.object_id
    values["background"][row] = scene.background_id
    values["generator"][row] = _generator_index(scene.generator, generators)
    values["camera"][row] = np.eye(3, dtype=np.float32) if scene.camera_T33 is None else scene.camera_T33
    _fill_labels(values, row, scene.labels, num_layers)


def _generator_index(name: str, generators: Sequence[str]) -> int:
    if not name:
        return 0
    if name not in generators:
        raise GeneratorError(f"the scene names the generator {name!r}; declared were {', '.join(generators)}")
    return generators.index(name)


def _fill_labels(values: Values, row: int, labels: Mapping[str, Any], num_layers: int) -> None:
    for name, value in labels.items():
        slots = values[f"labels/{name}"]
        given = np.asarray(value)
        if given.shape != (num_layers,)[: slots.ndim - 1]:
            kind = f"one value for each of its {num_layers} objects" if slots.ndim == 2 else "one value"
            raise GeneratorError(f"label {name!r} must have {kind}, got shape {given.shape}")
        if slots.ndim == 2:
            slots[row, :num_layers] = given
        else:
            slots[row] = given
