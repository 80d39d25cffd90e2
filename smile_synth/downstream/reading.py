"""Clips of one video: varied ones to train on, and the views that a video is tested on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torchvision.transforms import v2

from smile_synth.downstream import rand_augment
from smile_synth.downstream.rand_augment import RandAugment
from smile_synth.loader.augment import NUMBERS_A_CROP, sample_crops
from smile_synth.recipe.finetune import VaryParams
from smile_synth.recipe.videos import VideosParams
from smile_synth.videos.decoding import decode
from smile_synth.videos.frames import Frames, VideoInfo
from smile_synth.videos.positions import crop_corners
from smile_synth.videos.sampled import clip_positions, view_positions

MakeRng = Callable[[str], np.random.Generator]


class VariedClips:
    """Reads a video once and varies the clip several times, the same for all of its frames.

    Args:
        videos: how frames are sampled and decoded.
        vary: how clips are varied.
        side: of a clip, in pixels.

    Raises:
        RecipeError: RandAugment's notation is not timm's.
    """

    def __init__(self, videos: VideosParams, vary: VaryParams, side: int) -> None:
        self._videos, self._vary, self._side = videos, vary, side
        self._augment = None if vary.rand_augment is None else RandAugment(vary.rand_augment)

    def __call__(self, file: Path, make_rng: MakeRng) -> Frames:
        """Return uint8 (repeats, T, side, side, 3).

        Args:
            file: the video.
            make_rng: gives the generator for a purpose, the same one whenever it is asked again.

        Raises:
            VideoError: the video cannot be read.
        """

        def choose(info: VideoInfo) -> npt.NDArray[np.int64]:
            return clip_positions(self._videos, info.num_frames, rng=make_rng("frames"))

        frames = decode(file, choose, short_side=self._videos.short_side, decoder=self._videos.decoder)
        return np.stack([self.vary(frames, make_rng(f"repeat {number}")) for number in range(self._vary.repeats)])

    def vary(self, frames_THWC: Frames, rng: np.random.Generator) -> Frames:
        """Return the frames after RandAugment, a crop and perhaps a flip: uint8 (T, side, side, 3)."""
        if self._augment is not None:
            frames_THWC = rand_augment.apply(self._augment.draw(rng), frames_THWC)
        _, height, width, _ = frames_THWC.shape
        numbers = rng.random((1, NUMBERS_A_CROP))
        if self._vary.crop_area is None:
            side = min(height, width)
            left, top = (width - side) // 2, (height - side) // 2
            corners = (left, top, left + side, top + side)
        else:
            edges = sample_crops(self._vary.crop_area, self._vary.crop_aspect, height, width, numbers)[0]
            corners = tuple(int(edge) for edge in edges)  # type: ignore[assignment]
        clip = resized_crop(frames_THWC, corners, self._side)
        return clip[:, :, ::-1] if rng.random() < self._vary.flip_probability else clip


class ViewReader:
    """Reads the views of a video: segments of time, squares of space.

    Args:
        videos: how many views, and how frames are sampled and decoded.
        side: of a view, in pixels; frames are scaled so that it is their short side.
    """

    def __init__(self, videos: VideosParams, side: int) -> None:
        self._videos, self._side = videos, side

    @property
    def num_views(self) -> int:
        """Views of a video."""
        return self._videos.segments * self._videos.crops

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Of what is read of a video."""
        return (self.num_views, self._videos.frames, self._side, self._side, 3)

    def __call__(self, file: Path) -> Frames:
        """Return uint8 (segments x crops, T, side, side, 3); the crops of a segment stand together.

        Raises:
            VideoError: the video cannot be read.
        """
        videos, side = self._videos, self._side
        frames = decode(
            file,
            lambda info: view_positions(videos, info.num_frames).ravel(),
            short_side=side,
            decoder=videos.decoder,
        )
        frames_STHWC = frames.reshape(videos.segments, videos.frames, *frames.shape[1:])
        _, height, width, _ = frames.shape
        corners = crop_corners(height, width, side, videos.crops)
        return np.stack(
            [clip[:, top : top + side, left : left + side] for clip in frames_STHWC for top, left in corners]
        )


def resized_crop(frames_THWC: Frames, corners: Sequence[int], side: int) -> Frames:
    """Return a rectangle of all frames, x1 y1 x2 y2 in pixels, scaled to a square: uint8 (T, side, side, 3)."""
    left, top, right, bottom = corners
    clip_TCHW = torch.from_numpy(np.ascontiguousarray(frames_THWC)).permute(0, 3, 1, 2)
    scaled = v2.functional.resized_crop(clip_TCHW, top, left, bottom - top, right - left, [side, side], antialias=True)
    return np.asarray(scaled.permute(0, 2, 3, 1).numpy(), np.uint8)
