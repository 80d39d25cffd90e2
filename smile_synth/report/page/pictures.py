"""Clips as pictures inside a page: stills, and film strips that a script plays."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from smile_synth.media.preview import OBJECT_COLOURS, fit, resized

Frames = npt.NDArray[np.uint8]

MAX_FRAMES = 16
QUALITY = 70


@dataclass(frozen=True)
class Film:
    """A clip as one picture that holds its frames side by side, with boxes and paths to draw over it.

    Args:
        clip: number of the clip.
        caption: what to write below it.
        source: ``data:`` address of the picture.
        width, height: size of one frame, in pixels of the clip.
        frames: how many frames the picture holds, from left to right.
        boxes: per object, per shown frame, x, y, width, height in pixels of the clip, or None.
        paths: per object, points "x,y" of its box's centre, over all frames.
        colours: per object, its colour.
    """

    clip: int
    caption: str
    source: str
    width: int
    height: int
    frames: int
    boxes: list[list[list[float] | None]]
    paths: list[str]
    colours: list[str]


def still(frame_HWC: Frames, *, max_side_px: int) -> str:
    """Return one frame as the ``data:`` address of a WebP picture.

    Args:
        frame_HWC: uint8.
        max_side_px: longest side of the picture; see ``fit``.
    """
    return address(_resized(Image.fromarray(frame_HWC), max_side_px))


def thumbnail(frame_HWC: Frames, box: tuple[float, float, float, float] | None, *, max_side_px: int) -> str:
    """Return a part of a frame as the ``data:`` address of a WebP picture.

    Args:
        frame_HWC: uint8.
        box: x1, y1, x2, y2 of the part in pixels; None for the whole.
        max_side_px: longest side of the picture; see ``fit``.
    """
    picture = Image.fromarray(frame_HWC)
    if box is not None:
        x1, y1, x2, y2 = box
        picture = picture.crop((int(x1), int(y1), max(int(x1) + 1, round(x2)), max(int(y1) + 1, round(y2))))
    return address(_resized(picture, max_side_px))


def film(
    clip: int,
    frames_THWC: Frames,
    boxes_KT4: npt.NDArray[np.float32],
    *,
    caption: str,
    max_side_px: int,
    max_frames: int = MAX_FRAMES,
) -> Film:
    """Return a clip as a film strip.

    Args:
        clip: number of the clip.
        frames_THWC: uint8; of long clips, evenly spaced frames are shown.
        boxes_KT4: xyxy in pixels, NaN where absent.
        caption: what to write below it.
        max_side_px: longest side of the picture; see ``fit``.
        max_frames: most frames to show.
    """
    num_frames, height, width, _ = frames_THWC.shape
    shown = np.unique(np.linspace(0, num_frames - 1, min(num_frames, max_frames)).round().astype(int))
    tiles = [_resized(Image.fromarray(frames_THWC[t]), max_side_px) for t in shown]
    strip = Image.new("RGB", (tiles[0].width * len(tiles), tiles[0].height))
    for i, tile in enumerate(tiles):
        strip.paste(tile, (i * tile.width, 0))
    objects = [k for k in range(len(boxes_KT4)) if np.isfinite(boxes_KT4[k]).all(-1).any()]
    return Film(
        clip=clip,
        caption=caption,
        source=address(strip),
        width=width,
        height=height,
        frames=len(shown),
        boxes=[[_box(boxes_KT4[k, t]) for t in shown] for k in objects],
        paths=[_path(boxes_KT4[k]) for k in objects],
        colours=["#{:02x}{:02x}{:02x}".format(*OBJECT_COLOURS[k % len(OBJECT_COLOURS)]) for k in objects],
    )


def _resized(picture: Image.Image, max_side_px: int) -> Image.Image:
    height, width, _ = fit(picture.height, picture.width, max_side_px)
    return resized(picture, (width, height))


def address(picture: Image.Image) -> str:
    """Return a picture as the ``data:`` address of a WebP."""
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _box(box_4: npt.NDArray[np.float32]) -> list[float] | None:
    if not np.isfinite(box_4).all():
        return None
    x1, y1, x2, y2 = (round(float(edge), 1) for edge in box_4)
    return [x1, y1, round(x2 - x1, 1), round(y2 - y1, 1)]


def _path(boxes_T4: npt.NDArray[np.float32]) -> str:
    centres: Any = (boxes_T4[:, :2] + boxes_T4[:, 2:]) / 2
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in centres[np.isfinite(centres).all(-1)])
