"""Which frames of a video make a clip, and which squares of its frames are seen."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from smile_synth.errors import VideoError

Positions = npt.NDArray[np.int64]


def dense_positions(num_frames: int, clip_frames: int, stride: int, *, rng: np.random.Generator | None) -> Positions:
    """Return every ``stride``-th frame from a start; a video that is too short repeats its last frame.

    Args:
        num_frames: of the video.
        clip_frames: T.
        stride: frames from one sampled frame to the next.
        rng: draws the start, any possible one equally often; None centres the clip.

    Returns:
        int64 (T,), in rising order.

    Raises:
        VideoError: there is no frame.
    """
    _check_frames(num_frames)
    room = max(0, num_frames - ((clip_frames - 1) * stride + 1))
    start = room // 2 if rng is None else int(rng.integers(room + 1))
    return np.minimum(start + stride * np.arange(clip_frames), num_frames - 1).astype(np.int64)


def uniform_positions(num_frames: int, clip_frames: int, *, rng: np.random.Generator | None) -> Positions:
    """Return one frame of each of T equal parts of a video, which together are the whole of it.

    Args:
        num_frames: of the video; fewer than T repeat frames.
        clip_frames: T.
        rng: draws a frame of each part; None takes the middle ones, ``floor((k + 1/2) num_frames / T)``.

    Returns:
        int64 (T,), in rising order.

    Raises:
        VideoError: there is no frame.

    Source: Temporal Segment Networks, ECCV 2016; the middle ones as VideoMAE tests. VideoMAE trains on parts of
    ``num_frames // T`` frames and never sees the remainder at the end; these parts leave nothing out.
    """
    _check_frames(num_frames)
    steps = np.arange(clip_frames)
    if rng is None:
        return ((2 * steps + 1) * num_frames // (2 * clip_frames)).astype(np.int64)
    first = steps * num_frames // clip_frames
    end = np.maximum((steps + 1) * num_frames // clip_frames, first + 1)
    return rng.integers(first, end).astype(np.int64)


def dense_views(num_frames: int, clip_frames: int, stride: int, segments: int) -> Positions:
    """Return the frames of the clips that a video is tested on, spread over it from its first frame to its last.

    Of every ``stride``-th frame of the video, clip s begins at the one of number ``floor(s (n - T) / (segments - 1))``,
    n being how many they are; a single clip is centred.

    Args:
        num_frames: of the video; the last sampled frame is repeated where they are fewer than T.
        clip_frames: T.
        stride: frames from one sampled frame to the next.
        segments: number of clips.

    Returns:
        int64 (segments, T).

    Raises:
        VideoError: there is no frame.

    Source: VideoMAE, NeurIPS 2022: the released code's test on Kinetics.
    """
    _check_frames(num_frames)
    sampled = np.arange(0, num_frames, stride)
    room = max(0, len(sampled) - clip_frames)
    starts = [room // 2] if segments == 1 else [room * segment // (segments - 1) for segment in range(segments)]
    places = np.add.outer(np.array(starts), np.arange(clip_frames))
    views: Positions = sampled[np.minimum(places, len(sampled) - 1)]
    return views


def uniform_views(num_frames: int, clip_frames: int, segments: int) -> Positions:
    """Return the frames of the clips that a video is tested on, each spread over all of it, offset to each other.

    Frame k of clip s is ``floor((k + s / segments) num_frames / T)``; a single clip takes the middles of the parts.

    Args:
        num_frames: of the video; fewer than T repeat frames.
        clip_frames: T.
        segments: number of clips.

    Returns:
        int64 (segments, T).

    Raises:
        VideoError: there is no frame.

    Source: VideoMAE, NeurIPS 2022: the released code's test on Something-Something v2, whose segments are 2.
    """
    if segments == 1:
        return uniform_positions(num_frames, clip_frames, rng=None)[None]
    _check_frames(num_frames)
    parts = np.arange(clip_frames) * segments + np.arange(segments)[:, None]
    return (parts * num_frames // (clip_frames * segments)).astype(np.int64)


def crop_corners(height: int, width: int, side: int, crops: Literal[1, 3]) -> Positions:
    """Return where the squares that a video is tested on begin: one in the centre, or three along the long side.

    Of three, square c begins at ``floor(c (long - side) / 2)`` of the long side.

    Args:
        height, width: of the frames, in pixels.
        side: of the squares, in pixels; at most the short side.
        crops: number of squares.

    Returns:
        int64 (crops, 2): row and column of the first pixel.

    Raises:
        VideoError: the squares are larger than the frames.

    Source: VideoMAE, NeurIPS 2022, whose frames are scaled so that the short side is that of the square.
    """
    if side > min(height, width):
        raise VideoError(f"a square of {side} px does not fit into frames of {height}x{width}; scale them up first")
    centre = np.array([(height - side) // 2, (width - side) // 2], np.int64)
    if crops == 1:
        return centre[None]
    corners = np.repeat(centre[None], crops, axis=0)
    long_axis = int(width > height)
    corners[:, long_axis] = np.arange(crops) * (max(height, width) - side) // (crops - 1)
    return corners


def _check_frames(num_frames: int) -> None:
    if num_frames < 1:
        raise VideoError(f"a clip needs a video with at least 1 frame, got {num_frames}")
