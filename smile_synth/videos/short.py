"""Videos that show fewer frames than a clip spans, whose clips therefore repeat frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from smile_synth.errors import VideoError
from smile_synth.machine.threads import map_ahead
from smile_synth.progress import track
from smile_synth.recipe.videos import DecoderName, VideosParams
from smile_synth.videos.decoding import num_frames_of

# To know its length, a whole file is read: of many videos, so many that are spread over the list.
LOOKED_AT = 2000


def clip_span(params: VideosParams) -> int:
    """Return how many frames a video must show so that a clip repeats none."""
    return params.frames if params.sampling == "uniform" else (params.frames - 1) * params.stride + 1


def video_lengths(files: Sequence[Path], decoder: DecoderName, *, threads: int) -> list[int]:
    """Return how many frames videos announce, of at most ``LOOKED_AT`` of them; those that cannot be read are left out.

    Args:
        files: of the videos.
        decoder: that reads them; no frame is decoded.
        threads: that read.
    """
    chosen = np.linspace(0, len(files) - 1, min(LOOKED_AT, len(files))).astype(int).tolist()

    def length(number: int) -> int:
        try:
            return num_frames_of(files[number], decoder)
        except VideoError:
            return 0

    lengths: list[int] = []
    with track(len(chosen), "count frames", "videos") as progress:
        for found in map_ahead(length, chosen, threads=threads, name="count", in_order=False):
            lengths += [found] if found else []
            progress.advance()
    return lengths


def short_note(params: VideosParams, lengths: Sequence[int]) -> str:
    """Return a line on how many videos are shorter than a clip, and what to lower; empty where none is.

    Args:
        params: how frames are sampled.
        lengths: frames of each video.
    """
    span = clip_span(params)
    short = [length for length in lengths if length < span]
    if not short:
        return ""
    shortest = min(short)
    if params.sampling == "uniform":
        taken, remedy = (
            f"videos.frames={params.frames}",
            f"videos.frames, such as --set videos.frames={shortest} for the shortest",
        )
    else:
        taken = f"videos.frames={params.frames}, videos.stride={params.stride}"
        remedy = f"videos.stride or videos.frames, such as {_fitting(params, shortest)} for the shortest"
    repeated = "frames" if params.sampling == "uniform" else "their last frame"
    return (
        f"{len(short)} of {len(lengths)} videos that were read show fewer than the {span} frames that a clip spans "
        f"({taken}), so their clips repeat {repeated}; lower {remedy} ({shortest} frames)."
    )


def _fitting(params: VideosParams, num_frames: int) -> str:
    """Return settings whose clips span at most ``num_frames``: the same number of frames if possible."""
    if num_frames >= params.frames:
        return f"--set videos.stride={(num_frames - 1) // (params.frames - 1)}"
    return f"--set videos.frames={num_frames} --set videos.stride=1"
