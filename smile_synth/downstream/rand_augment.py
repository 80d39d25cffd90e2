"""RandAugment for clips: operations are drawn once, then applied to every frame alike."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from timm.data.auto_augment import rand_augment_transform

from smile_synth.errors import RecipeError

GREY = (128, 128, 128)
MOST_MAGNITUDE = 10.0
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Operation:
    """One drawn operation: timm's function and its arguments."""

    function: Any
    arguments: tuple[Any, ...]


class RandAugment:
    """Draws operations as timm's RandAugment does, with a generator of the caller's.

    Args:
        notation: such as ``rand-m7-n4-mstd0.5-inc1``.

    Raises:
        RecipeError: timm does not read the notation.
    """

    def __init__(self, notation: str) -> None:
        try:
            made = rand_augment_transform(notation, {})
        except (AssertionError, ValueError, KeyError, IndexError) as error:
            raise RecipeError(
                f"finetune.vary.rand_augment must be in timm's notation, such as rand-m7-n4-mstd0.5-inc1, "
                f"got {notation!r} ({error})"
            ) from None
        self._operations, self._count, self._weights = made.ops, made.num_layers, made.choice_weights

    def draw(self, rng: np.random.Generator) -> list[Operation]:
        """Return the operations for one clip; some draws leave operations out."""
        chosen = rng.choice(len(self._operations), self._count, replace=self._weights is None, p=self._weights)
        return [drawn for place in chosen if (drawn := self._draw_one(self._operations[int(place)], rng)) is not None]

    def _draw_one(self, operation: Any, rng: np.random.Generator) -> Operation | None:
        if rng.random() > operation.prob:
            return None
        magnitude = float(operation.magnitude)
        if operation.magnitude_std == float("inf"):
            magnitude = rng.uniform(0, magnitude)
        elif operation.magnitude_std > 0:
            magnitude = rng.normal(magnitude, operation.magnitude_std)
        magnitude = float(np.clip(magnitude, 0.0, operation.magnitude_max or MOST_MAGNITUDE))
        if operation.level_fn is None:
            return Operation(operation.aug_fn, ())
        # timm turns a magnitude into arguments with a sign that Python's global generator draws.
        with seeded_random(int(rng.integers(2**32))):
            return Operation(operation.aug_fn, tuple(operation.level_fn(magnitude, operation.hparams)))


def apply(operations: list[Operation], frames_THWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the frames, uint8 (T, H, W, 3), after all operations; edges that come into view are grey."""
    if not operations:
        return frames_THWC
    changed = []
    for frame_HWC in frames_THWC:
        image = Image.fromarray(frame_HWC)
        for operation in operations:
            image = operation.function(image, *operation.arguments, fillcolor=GREY, resample=Image.Resampling.BICUBIC)
        changed.append(np.asarray(image))
    return np.stack(changed)


@contextmanager
def seeded_random(seed: int) -> Iterator[None]:
    """Seed the global generators of Python and numpy, which timm draws from, and put them back afterwards."""
    with _LOCK:
        before, numpy_before = random.getstate(), np.random.get_state()  # noqa: NPY002
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(before)
            np.random.set_state(numpy_before)  # noqa: NPY002
