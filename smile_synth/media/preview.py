"""Clips as pictures: contact sheets and animations, with boxes and trajectories drawn on request."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from smile_synth.errors import SmileSynthError
from smile_synth.files import replace_file
from smile_synth.media.motion import WHEEL_PX, Motion, motion_colours, motion_legend, motion_limit

Frames = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.float32]

STILL_SUFFIXES = (".png", ".jpg", ".jpeg")
MOVING_SUFFIXES = (".gif", ".webp", ".mp4")
MOST_PIXELS_A_SIDE = {".jpg": 65_535, ".jpeg": 65_535, ".gif": 65_535, ".webp": 16_383, ".mp4": 16_384}
GAP_PX = 2
CAPTION_PX = 12
# Space for the words next to the colour wheel.
LEGEND_WIDTH_PX = 400
PAPER = (255, 255, 255)
INK = (70, 70, 70)
OBJECT_COLOURS = (
    (255, 84, 84),
    (64, 196, 255),
    (255, 208, 0),
    (112, 224, 96),
    (232, 112, 255),
    (255, 150, 40),
    (0, 224, 196),
    (160, 160, 255),
)


class PreviewError(SmileSynthError):
    """A picture cannot be made from what was given."""


def contact_sheet(
    frames_BTHWC: Frames,
    *,
    boxes_BKT4: Boxes | None = None,
    captions: Sequence[str] | None = None,
    columns: int = 8,
    tile_px: int = 128,
    show_boxes: bool = False,
    show_paths: bool = False,
    motion_BTHW2: Motion | None = None,
    with_legend: bool = True,
) -> Image.Image:
    """Return one picture of several clips: a row per clip, a column per frame.

    Args:
        frames_BTHWC: uint8 (B, T, H, W, 3).
        boxes_BKT4: float32 (B, K, T, 4), xyxy in canvas pixels, NaN where absent; needed for boxes and paths.
        captions: a short text per clip, written above its row; None for ``clip 0`` and so on, empty for no captions.
        columns: most frames of a clip to show, evenly spaced from the first to the last.
        tile_px: longest side of a frame in the picture; see ``fit``.
        show_boxes: draw every object's box.
        show_paths: draw the trajectory of every object's box centre up to the frame shown.
        motion_BTHW2: float32 (B, T, H / cell, W / cell, 2), shown below the frames; None for none.
        with_legend: say below the sheet what the colours of motion mean.

    Returns:
        An RGB picture.

    Raises:
        PreviewError: the arrays do not fit each other.
    """
    _check_clips(frames_BTHWC, boxes_BKT4, show_boxes or show_paths)
    num_clips, num_frames = frames_BTHWC.shape[:2]
    texts = [f"clip {i}" for i in range(num_clips)] if captions is None else list(captions)
    height, width, scale = fit(frames_BTHWC.shape[2], frames_BTHWC.shape[3], tile_px)
    shown = np.unique(np.linspace(0, num_frames - 1, min(columns, num_frames)).round().astype(int))
    caption_px = CAPTION_PX if texts else 0
    motion = None if motion_BTHW2 is None else _Motion.of(motion_BTHW2, frames_BTHWC)
    row_px = caption_px + height + (0 if motion is None else height + 1)
    sheet = _sheet(num_clips, len(shown), row_px, width)
    for row in range(num_clips):
        top = GAP_PX + row * (row_px + GAP_PX)
        if texts:
            _write(sheet, (GAP_PX, top), texts[row])
        boxes = None if boxes_BKT4 is None else boxes_BKT4[row]
        for column, t in enumerate(shown):
            tile = _tile(frames_BTHWC[row, t], (width, height))
            if boxes is not None:
                _mark(tile, boxes, int(t), scale, show_boxes=show_boxes, show_paths=show_paths)
            left = GAP_PX + column * (width + GAP_PX)
            sheet.paste(tile, (left, top + caption_px))
            if motion is not None:
                sheet.paste(motion.tile(row, int(t), (width, height)), (left, top + caption_px + height + 1))
    return sheet if motion is None or not with_legend else motion.with_legend(sheet)


def animation(
    frames_BTHWC: Frames,
    *,
    boxes_BKT4: Boxes | None = None,
    tile_px: int = 128,
    show_boxes: bool = False,
    show_paths: bool = False,
    motion_BTHW2: Motion | None = None,
) -> Frames:
    """Return one clip that shows several clips side by side.

    Args:
        frames_BTHWC: uint8 (B, T, H, W, 3).
        boxes_BKT4: as for ``contact_sheet``.
        tile_px: longest side that small frames are enlarged to; larger ones stay.
        show_boxes, show_paths: as for ``contact_sheet``.
        motion_BTHW2: the same, shown next to each clip.

    Returns:
        uint8 (T, rows, columns, 3), rows and columns even, as video codecs want them.

    Raises:
        PreviewError: the arrays do not fit each other.
    """
    _check_clips(frames_BTHWC, boxes_BKT4, show_boxes or show_paths)
    num_clips, num_frames, height, width, _ = frames_BTHWC.shape
    height, width, scale = fit(height, width, max(tile_px, height, width))
    columns = math.ceil(math.sqrt(num_clips))
    motion = None if motion_BTHW2 is None else _Motion.of(motion_BTHW2, frames_BTHWC)
    tile_width = width if motion is None else 2 * width + 1
    pages = []
    for t in range(num_frames):
        page = _sheet(math.ceil(num_clips / columns), columns, height, tile_width)
        for clip in range(num_clips):
            tile = _tile(frames_BTHWC[clip, t], (width, height))
            if boxes_BKT4 is not None:
                _mark(tile, boxes_BKT4[clip], t, scale, show_boxes=show_boxes, show_paths=show_paths)
            row, column = divmod(clip, columns)
            left, top = GAP_PX + column * (tile_width + GAP_PX), GAP_PX + row * (height + GAP_PX)
            page.paste(tile, (left, top))
            if motion is not None:
                page.paste(motion.tile(clip, t, (width, height)), (left + width + 1, top))
        pages.append(np.asarray(page if motion is None else motion.with_legend(page)))
    stacked = np.stack(pages)
    return np.pad(stacked, ((0, 0), (0, stacked.shape[1] % 2), (0, stacked.shape[2] % 2), (0, 0)), mode="edge")


@dataclass(frozen=True, eq=False)
class _Motion:
    """Motion of clips, and the length that its colours go up to."""

    motion_BTHW2: Motion
    limit_px: float

    @classmethod
    def of(cls, motion_BTHW2: Motion, frames_BTHWC: Frames) -> _Motion:
        shape = motion_BTHW2.shape
        if len(shape) != 5 or shape[:2] != frames_BTHWC.shape[:2] or shape[4] != 2:
            expected = (*frames_BTHWC.shape[:2], "H / cell", "W / cell", 2)
            raise PreviewError(f"motion must be {expected} like the clips, got {shape}")
        return cls(motion_BTHW2, motion_limit(motion_BTHW2))

    def tile(self, clip: int, t: int, size: tuple[int, int]) -> Image.Image:
        """Return one frame's motion in the size of a frame, its cells sharp."""
        colours = Image.fromarray(motion_colours(self.motion_BTHW2[clip, t], self.limit_px))
        return colours.resize(size, Image.Resampling.NEAREST)

    def with_legend(self, sheet: Image.Image) -> Image.Image:
        """Return a sheet with the wheel below it."""
        whole = Image.new("RGB", (max(sheet.width, LEGEND_WIDTH_PX), sheet.height + WHEEL_PX + 2 * GAP_PX), PAPER)
        whole.paste(sheet, (0, 0))
        whole.paste(motion_legend(self.limit_px, whole.width - 2 * GAP_PX), (GAP_PX, sheet.height + GAP_PX))
        return whole


def fit(height: int, width: int, side_px: int) -> tuple[int, int, float]:
    """Return the height and width in which to show a frame, and their ratio to its own.

    Larger frames are made smaller; much smaller ones are enlarged by a whole factor, so that they are sharp.

    Args:
        height, width: of the frame.
        side_px: longest side that it may have.
    """
    scale = side_px / max(height, width)
    if scale >= 1:
        scale = float(int(scale))
    return max(1, round(height * scale)), max(1, round(width * scale)), scale


def resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a picture in another size (width, height): averaged where smaller, with sharp pixels where larger."""
    if size == picture.size:
        return picture
    is_larger = size[0] > picture.width
    return picture.resize(size, Image.Resampling.NEAREST if is_larger else Image.Resampling.BOX)


def check_suffix(path: Path) -> None:
    """Raise PreviewError unless pictures or animations can be written under this name."""
    allowed = STILL_SUFFIXES + MOVING_SUFFIXES
    if path.suffix.lower() not in allowed:
        raise PreviewError(
            f"{path}: a preview's name must end in {', '.join(allowed)}, got {path.suffix or 'no ending'!r}"
        )


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture in the format that its name ends in; what the file held stays where this fails.

    Raises:
        PreviewError: the ending is not that of a picture, or the picture is larger than its format allows.
        OSError: the file cannot be written.
    """
    if path.suffix.lower() not in STILL_SUFFIXES:
        raise PreviewError(f"{path}: a picture's name must end in {', '.join(STILL_SUFFIXES)}, got {path.suffix!r}")
    _check_side(picture.size, path)
    _write_whole(picture, path)


def save_animation(frames_THWC: Frames, path: Path, *, frames_per_second: float = 12.5) -> None:
    """Write a clip as an animated GIF or WebP (endless loop) or as an H.264 MP4; the old file stays where this fails.

    Args:
        frames_THWC: uint8 (T, H, W, 3).
        path: ends in .gif, .webp or .mp4.
        frames_per_second: above 0.

    Raises:
        PreviewError: the ending is unknown, the frames are larger than the format allows, or MP4 is asked for without
            PyAV.
        OSError: the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in MOVING_SUFFIXES:
        raise PreviewError(f"{path}: an animation's name must end in {', '.join(MOVING_SUFFIXES)}, got {suffix!r}")
    _check_side((frames_THWC.shape[2], frames_THWC.shape[1]), path)
    if suffix == ".mp4":
        _save_mp4(frames_THWC, path, frames_per_second)
        return
    pages = [Image.fromarray(frame) for frame in frames_THWC]
    options: dict[str, Any] = {"quality": 85, "method": 4} if suffix == ".webp" else {}
    options["duration"] = max(1, round(1000 / frames_per_second))
    _write_whole(pages[0], path, save_all=True, append_images=pages[1:], loop=0, **options)


def _write_whole(picture: Image.Image, path: Path, **options: Any) -> None:
    # In memory first: writing a JPEG to a disk that fills up, Pillow drops the end without an error.
    encoded = io.BytesIO()
    picture.save(encoded, Image.registered_extensions()[path.suffix.lower()], **options)
    replace_file(path, encoded.getvalue())


def _save_mp4(frames_THWC: Frames, path: Path, frames_per_second: float) -> None:
    try:
        import av
    except ImportError:
        raise PreviewError(
            f"{path}: MP4 needs PyAV: pip install 'smile-synth[video]', or write .webp or .gif"
        ) from None
    from fractions import Fraction

    def write(file: Path) -> None:
        try:
            with av.open(str(file), "w") as container:
                stream = container.add_stream("libx264", rate=Fraction(frames_per_second).limit_denominator(1000))
                stream.height, stream.width = frames_THWC.shape[1:3]
                stream.pix_fmt, stream.options = "yuv420p", {"crf": "18"}
                for frame in frames_THWC:
                    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                    container.mux(stream.encode(picture))
                container.mux(stream.encode())
        except av.FFmpegError as error:
            # PyAV's own OSError cannot be given the name of the file that it is about.
            raise OSError(error.errno, error.strerror) from error

    replace_file(path, write)


def _check_side(size: tuple[int, int], path: Path) -> None:
    most = MOST_PIXELS_A_SIDE.get(path.suffix.lower(), max(size))
    if max(size) > most:
        raise PreviewError(
            f"{path}: {path.suffix} holds at most {most:,} px a side, got {size[0]:,} x {size[1]:,}; show fewer clips "
            "(--clips) or columns (--columns), or write another format"
        )


def _check_clips(frames_BTHWC: Frames, boxes_BKT4: Boxes | None, wants_boxes: bool) -> None:
    shape = frames_BTHWC.shape
    if frames_BTHWC.dtype != np.uint8 or len(shape) != 5 or shape[-1] != 3 or 0 in shape:
        raise PreviewError(f"clips must be uint8 (B, T, H, W, 3), got {frames_BTHWC.dtype} {shape}")
    if boxes_BKT4 is None:
        if wants_boxes:
            raise PreviewError("boxes or paths can only be drawn where boxes are given, got none")
        return
    expected = (shape[0], boxes_BKT4.shape[1] if boxes_BKT4.ndim == 4 else "K", shape[1], 4)
    if boxes_BKT4.shape != expected:
        raise PreviewError(f"boxes must be {expected} like the clips, got {boxes_BKT4.shape}")


def _sheet(rows: int, columns: int, height: int, width: int) -> Image.Image:
    size = (GAP_PX + columns * (width + GAP_PX), GAP_PX + rows * (height + GAP_PX))
    return Image.new("RGB", size, PAPER)


def _tile(frame_HWC: Frames, size: tuple[int, int]) -> Image.Image:
    return resized(Image.fromarray(frame_HWC), size)


def _write(sheet: Image.Image, at: tuple[int, int], text: str) -> None:
    font = ImageFont.load_default(CAPTION_PX - 2)
    ImageDraw.Draw(sheet).text(at, text, fill=INK, font=font, anchor="lt")


def _mark(tile: Image.Image, boxes_KT4: Boxes, t: int, scale: float, *, show_boxes: bool, show_paths: bool) -> None:
    """Draw boxes of frame ``t`` and the boxes' centres up to it onto a tile."""
    pen = ImageDraw.Draw(tile)
    for k, boxes_T4 in enumerate(boxes_KT4 * np.float32(scale)):
        colour = OBJECT_COLOURS[k % len(OBJECT_COLOURS)]
        if show_boxes and np.isfinite(boxes_T4[t]).all():
            x1, y1, x2, y2 = boxes_T4[t].tolist()
            pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour)
        if show_paths:
            centres_T2 = (boxes_T4[: t + 1, :2] + boxes_T4[: t + 1, 2:]) / 2
            seen = centres_T2[np.isfinite(centres_T2).all(axis=1)]
            if len(seen) > 1:
                pen.line([tuple(point) for point in seen.tolist()], fill=colour)
            if len(seen):
                x, y = seen[-1].tolist()
                pen.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=colour)
