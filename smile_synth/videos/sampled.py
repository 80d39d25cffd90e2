"""The frames that a recipe's section ``videos`` asks for."""

from __future__ import annotations

import numpy as np

from smile_synth.recipe.videos import VideosParams
from smile_synth.videos.positions import (
    Positions,
    dense_positions,
    dense_views,
    uniform_positions,
    uniform_views,
)


def clip_positions(params: VideosParams, num_frames: int, *, rng: np.random.Generator | None) -> Positions:
    """Return the frames of a clip to train on, int64 (T,); without ``rng`` those of the middle.

    Raises:
        VideoError: there is no frame.
    """
    if params.sampling == "uniform":
        return uniform_positions(num_frames, params.frames, rng=rng)
    return dense_positions(num_frames, params.frames, params.stride, rng=rng)


def view_positions(params: VideosParams, num_frames: int) -> Positions:
    """Return the frames of the clips that a video is tested on, int64 (segments, T).

    Raises:
        VideoError: there is no frame.
    """
    if params.sampling == "uniform":
        return uniform_views(num_frames, params.frames, params.segments)
    return dense_views(num_frames, params.frames, params.stride, params.segments)
