"""Values that run from key frame to key frame: evenly, accelerating or decelerating."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from smile_synth.params import StrictParams
from smile_synth.sampling.choices import Weight, choose

Easing = Literal["even", "accelerating", "decelerating"]
Values = npt.NDArray[np.float64]
Target = Callable[[Values, int, int], Values]


class KeyFrameParams(StrictParams):
    """How many key frames lie inside a clip, and how values run between them.

    Source: SMILE, CVPR 2025, for the defaults.
    """

    inner: tuple[float, ...] = Field(
        (0.5, 0.3, 0.2), min_length=1, max_length=8, description="weights of 0, 1, 2, ... key frames inside the clip"
    )
    easing: dict[Easing, Weight] = Field(
        {"even": 0.7, "accelerating": 0.15, "decelerating": 0.15},
        min_length=1,
        description="weights of how a value runs from one key frame to the next",
    )

    @model_validator(mode="after")
    def _some_weight(self) -> KeyFrameParams:
        if min(self.inner) < 0 or sum(self.inner) <= 0:
            raise ValueError(f"the weights of inner key frames must be 0 or more, and not all 0, got {self.inner}")
        return self


def sample_values(
    start: Values, target: Target, num_frames: int, params: KeyFrameParams, *, rng: np.random.Generator
) -> Values:
    """Sample key frames and the values in every frame.

    Args:
        start: float64 (n,), the values in the first frame.
        target: given the values at a key frame, that frame and the next key frame, returns the values there.
        num_frames: frames of the clip.
        params: how many key frames, how values run between them.
        rng: decides key frames and easing (and whatever ``target`` draws).

    Returns:
        float64 (T, n).
    """
    values_TN = np.empty((num_frames, len(start)))
    values_TN[0] = start
    for first, last in pairwise(sample_key_frames(num_frames, params, rng=rng)):
        begin = values_TN[first].copy()
        end = target(begin, first, last)
        share_T1 = _eased(last - first, choose(params.easing, rng=rng))
        values_TN[first + 1 : last + 1] = begin + share_T1 * (end - begin)
    return values_TN


def sample_key_frames(num_frames: int, params: KeyFrameParams, *, rng: np.random.Generator) -> Sequence[int]:
    """Sample key frames: first and last frame, and some between, evenly spaced but for up to a third of the spacing."""
    last = num_frames - 1
    # Plain Python numbers: for a handful of them this is faster than making arrays.
    rest, count = rng.random() * sum(params.inner), 0
    while count < len(params.inner) - 1 and rest >= params.inner[count]:
        rest -= params.inner[count]
        count += 1
    spacing = last / (count + 1)
    inner = (round(spacing * (n + rng.uniform(-1 / 3, 1 / 3))) for n in range(1, count + 1))
    return sorted({0, last, *inner})


@lru_cache(maxsize=1024)
def _eased(num_frames: int, easing: Easing) -> Values:
    """Return how far a value has come in each of the frames up to the next key frame, (num_frames, 1), up to 1."""
    time = np.arange(1, num_frames + 1)[:, None] / num_frames
    if easing == "accelerating":
        time = time * time
    elif easing == "decelerating":
        time = time * (2.0 - time)
    time.flags.writeable = False
    return time
