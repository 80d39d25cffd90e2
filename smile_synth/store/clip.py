"""One clip of a store, with everything that the store knows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from smile_synth.assets import AssetRow
from smile_synth.generator.dataset import Dataset
from smile_synth.generator.labels import LabelSpec
from smile_synth.scene import NO_ASSET, Scene
from smile_synth.store.storage import Location


class Clips(Protocol):
    """What a clip needs of its store."""

    path: Location

    @property
    def label_specs(self) -> Mapping[str, LabelSpec]: ...
    @property
    def assets(self) -> Sequence[AssetRow]: ...
    @property
    def generators(self) -> Sequence[str]: ...
    @property
    def motion_cell_px(self) -> int | None: ...
    @property
    def dataset(self) -> Dataset: ...
    def column(self, name: str) -> npt.NDArray[Any]: ...
    def read_frames(self, clips: Sequence[int]) -> npt.NDArray[np.uint8]: ...
    def read_motion(self, clips: Sequence[int]) -> npt.NDArray[np.float32]: ...


class StoredClip:
    """One clip of a store; each part is read when it is first asked for, and kept.

    Args:
        store: where the clip lies.
        number: of the clip, from 0.

    Examples:
        >>> clip = ss.open_store("clips.zarr")[3]
        >>> clip.frames.shape, clip.frames.dtype
        ((8, 32, 32, 3), dtype('uint8'))
        >>> clip.boxes.shape == (clip.num_objects, 8, 4)
        True
        >>> sorted(clip.labels)[:3]
        ['direction', 'motion', 'num_objects']
        >>> clip.scene.canvas.num_frames
        8
    """

    def __init__(self, store: Clips, number: int) -> None:
        self.store, self.number = store, number

    def __repr__(self) -> str:
        return f"StoredClip({str(self.store.path)!r}, {self.number})"

    @cached_property
    def frames(self) -> npt.NDArray[np.uint8]:
        """uint8 (T, H, W, 3), RGB.

        Raises:
            DamagedStoreError: the chunk is damaged; names array, shard and clip.
        """
        frames: npt.NDArray[np.uint8] = self.store.read_frames([self.number])[0]
        return frames

    @cached_property
    def motion(self) -> npt.NDArray[np.float32] | None:
        """float32 (T, H / cell, W / cell, 2), mean (dx, dy) in pixels to the next frame, NaN where undefined.

        None where the store keeps no motion.
        """
        return None if self.store.motion_cell_px is None else self.store.read_motion([self.number])[0]

    @cached_property
    def num_objects(self) -> int:
        """Objects of the clip; its layers, in painter's order, are the first so many slots of the store's arrays."""
        # An unused slot has no pose in any frame.
        is_used_K = np.isfinite(self._value("poses")).all(axis=(1, 2))
        return int(is_used_K.sum())

    @property
    def boxes(self) -> npt.NDArray[np.float32]:
        """float32 (K, T, 4) for the clip's K objects, xyxy in canvas pixels; NaN where an object is not to be seen."""
        boxes: npt.NDArray[np.float32] = self._value("boxes")[: self.num_objects].copy()
        return boxes

    @cached_property
    def labels(self) -> dict[str, Any]:
        """What the generator says of the clip, by name; of labels per object an array (K,).

        Classes are their names, "" where undefined; numbers are floats, NaN where undefined. ``store.label_specs``
        says what each means.
        """
        found: dict[str, Any] = {}
        for name, spec in self.store.label_specs.items():
            value = self._value(f"labels/{name}")
            if spec.per == "object":
                value = value[: self.num_objects]
            if spec.kind == "class":
                value = np.array([*spec.classes, ""], object)[value]
            found[name] = value if spec.per == "object" else value.item() if spec.kind == "number" else str(value)
        return found

    @property
    def background(self) -> AssetRow | None:
        """The image behind the objects; None where the generator made it up."""
        return self._asset(int(self._value("background")))

    @property
    def objects(self) -> tuple[AssetRow | None, ...]:
        """The image of each object; None where the generator made it up."""
        return tuple(self._asset(int(row)) for row in self._value("object")[: self.num_objects])

    @property
    def generator(self) -> str:
        """Name of the generator that made the clip; one of a mixture's where it is a mixture."""
        return self.store.generators[int(self._value("generator"))]

    @cached_property
    def scene(self) -> Scene:
        """What was rendered, sampled again from the store's recipe and seed.

        Raises:
            SmileSynthError: the recipe's generator or images are not there.
            UntrustedCodeError: the recipe names code that no installed package registers.
        """
        return self.store.dataset.sample(self.number)

    def _asset(self, row: int) -> AssetRow | None:
        return None if row == NO_ASSET else self.store.assets[row]

    def _value(self, name: str) -> Any:
        return self.store.column(name)[self.number]
