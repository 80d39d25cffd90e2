"""Pictures of a training: what the student sees and where it errs, and the loss over the steps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from smile_synth.masking.grid import TokenGrid
from smile_synth.media.motion import INK, PAPER, WHEEL_PX, motion_colours, motion_legend, motion_limit
from smile_synth.training.metrics import Row

Image_HWC = npt.NDArray[np.uint8]
Value = TypeVar("Value", bound=np.generic)

HIDDEN_GREY = 128
# Pictures of smaller frames are enlarged to about this side.
TILE_PX = 128
CAPTION_PX, FONT_PX, GAP_PX = 16, 11, 4
SCALE_WIDTH_PX, SCALE_HEIGHT_PX = 80, 10
# Room for the captions of the smallest pictures.
MIN_WIDTH_PX = 420
SMOOTHING_SHARE, SMOOTHING_POINTS = 50, 8


class Panel(NamedTuple):
    """One row of a picture: a tile for every tubelet.

    Args:
        caption: what it shows.
        tiles_THWC: uint8 (tubelets, H, W, 3).
        largest: value of the brightest colour where colours stand for values; None where they do not.
    """

    caption: str
    tiles_THWC: Image_HWC
    largest: float | None = None


def mask_panels(
    frames_THWC: Image_HWC,
    is_masked_N: npt.NDArray[np.bool_],
    grid: TokenGrid,
    *,
    error_N: npt.NDArray[np.float32] | None = None,
    motions_N2: Sequence[npt.NDArray[np.float32]] = (),
    unpredicted: str = "",
) -> list[Panel]:
    """Return the rows of a picture, one column a tubelet: the input, what the student sees, where the error is, motion.

    Args:
        frames_THWC: uint8 clip.
        is_masked_N: hidden tokens.
        grid: the tokens of the clip.
        error_N: error of each hidden token; the others are not looked at. None where nothing hidden is predicted.
        motions_N2: true and predicted motion of every token in pixels a frame, x before y, NaN where there is none;
            the first sets the scale, by ``motion_limit``.
        unpredicted: tokens whose motion is not predicted, where there are any: the caption says that they are grey.

    Returns:
        Two to five rows. Errors go from dark red for none to bright yellow for the clip's largest; motion has the
        colours of ``motion_colours``.
    """
    first_frames = frames_THWC[:: grid.tubelet_size]
    hidden = _on_pixels(is_masked_N, grid)[..., None]
    seen = np.where(hidden, np.uint8(HIDDEN_GREY), first_frames)
    rows: list[tuple[str, npt.NDArray[Any], float | None]] = [
        ("input, the first frame of every tubelet", first_frames, None),
        ("what the student sees", seen, None),
    ]
    if error_N is not None:
        largest = float(error_N[is_masked_N].max()) if is_masked_N.any() else 0.0
        heat = _hot(_on_pixels(error_N / max(largest, 1e-12), grid))
        rows.append(("squared error of hidden tokens", np.where(hidden, heat, first_frames // 4), largest))
    if len(motions_N2):
        limit = motion_limit(motions_N2[0])
        predicted = f"predicted motion; grey: {unpredicted}, which are not predicted" if unpredicted else ""
        for caption, motion_N2 in zip(("true motion", predicted or "predicted motion"), motions_N2, strict=True):
            rows.append((caption, _on_pixels(motion_colours(motion_N2, limit), grid), None))
    return [Panel(caption, tiles.astype(np.uint8), largest) for caption, tiles, largest in rows]


def captioned(panels: Sequence[Panel], title: str, *, limit_px: float | None = None) -> Image_HWC:
    """Return rows as one picture, each below its caption and with its colour scale; small ones are enlarged.

    Args:
        panels: of one size.
        title: written above all.
        limit_px: length at the rim of the colour wheel of motion, per frame; None for no wheel.
    """
    tubelets, height, width, _ = panels[0].tiles_THWC.shape
    factor = max(1, TILE_PX // max(height, width))
    across = width * factor + GAP_PX
    step = CAPTION_PX + height * factor + GAP_PX
    size = (
        max(across * tubelets, MIN_WIDTH_PX) + GAP_PX,
        CAPTION_PX + GAP_PX + step * len(panels) + (0 if limit_px is None else WHEEL_PX + GAP_PX),
    )
    sheet = Image.new("RGB", size, PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_PX)
    pen.text((GAP_PX, GAP_PX), title, fill=INK, font=font, anchor="lt")
    for number, panel in enumerate(panels):
        top = CAPTION_PX + GAP_PX + number * step
        pen.text((GAP_PX, top), panel.caption, fill=INK, font=font, anchor="lt")
        if panel.largest is not None:
            _draw_scale(sheet, GAP_PX + round(pen.textlength(panel.caption, font)) + 12, top, panel.largest)
        for place, tile_HWC in enumerate(panel.tiles_THWC):
            sheet.paste(Image.fromarray(enlarged(tile_HWC, factor)), (GAP_PX + place * across, top + CAPTION_PX))
    if limit_px is not None:
        sheet.paste(motion_legend(limit_px, size[0] - 2 * GAP_PX), (GAP_PX, size[1] - WHEEL_PX - GAP_PX))
    return np.asarray(sheet)


def _draw_scale(sheet: Image.Image, left: int, top: int, largest: float) -> None:
    """Draw the colours of an error from none to the largest, with both values."""
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_PX)
    pen.text((left, top), "0", fill=INK, font=font, anchor="lt")
    ramp = np.repeat(np.linspace(0, 1, SCALE_WIDTH_PX, dtype=np.float32)[None], SCALE_HEIGHT_PX, axis=0)
    sheet.paste(Image.fromarray(_hot(ramp)), (left + 10, top))
    pen.text((left + SCALE_WIDTH_PX + 14, top), f"{largest:.3g}", fill=INK, font=font, anchor="lt")


def _on_pixels(values_N: npt.NDArray[Value], grid: TokenGrid) -> npt.NDArray[Value]:
    on_grid = values_N.reshape(grid.tubelets, grid.rows, grid.columns, *values_N.shape[1:])
    return on_grid.repeat(grid.patch_size, axis=1).repeat(grid.patch_size, axis=2)


def _hot(share_HW: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    share = np.clip(share_HW, 0, 1)[..., None]
    ramp = np.clip(share * 3 - np.array([0, 1, 2], np.float32) + np.array([0.3, 0, 0], np.float32), 0, 1)
    return (255 * ramp).astype(np.uint8)


def enlarged(image_HWC: Image_HWC, factor: int) -> Image_HWC:
    """Return a picture with every pixel repeated ``factor`` times along both sides; as it is for a factor below 2."""
    return image_HWC.repeat(factor, axis=0).repeat(factor, axis=1) if factor > 1 else image_HWC


def save_png(image_HWC: Image_HWC, path: Path) -> None:
    """Write an image; the folder is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image_HWC).save(path)


def loss_curve(rows: Sequence[Row], path: Path) -> None:
    """Draw the loss over the updates, as it was and smoothed, with a line where a stage begins.

    Where rows say what predicting the mean would lose (``loss_of_mean``), a dashed line shows it for each stage.

    Args:
        rows: rows of the metrics with ``step``, ``loss`` and ``stage``.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    steps, losses = [row["step"] for row in rows], [float(row["loss"]) for row in rows]
    smoothed = _smooth(losses)
    axes.plot(steps, losses, color="#f0a35e", linewidth=1.0, label="loss")
    axes.plot(steps, smoothed, color="#1f4e8c", linewidth=1.8, label="smoothed")
    _draw_mean(axes, rows)
    for before, after in itertools.pairwise(rows):
        if before["stage"] != after["stage"]:
            axes.axvline(before["step"], color="grey", linestyle=":", linewidth=1)
            axes.annotate(after["stage"], (before["step"], max(losses)), fontsize=8, color="grey")
    axes.set(xlabel="update", ylabel="loss", title=f"{len(rows)} points, last smoothed {smoothed[-1]:.4f}")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def _draw_mean(axes: Any, rows: Sequence[Row]) -> None:
    """Draw what predicting the mean would lose, one level a stage: the mean over its rows that say it."""
    label = "predicting the mean"
    for _, grouped in itertools.groupby(rows, key=lambda row: row["stage"]):
        stage = list(grouped)
        known = [float(row["loss_of_mean"]) for row in stage if "loss_of_mean" in row]
        if known:
            level = float(np.mean(known))
            span = [stage[0]["step"], stage[-1]["step"]]
            axes.plot(span, [level, level], color="#555555", linestyle="--", linewidth=1.2, label=label)
            label = "_again"


def _smooth(values: Sequence[float]) -> list[float]:
    """Return a centred moving average over a fiftieth of the values, or a quarter of few; at the ends, of half as many.

    A window forgets: an exponential average of a short run would stay above a loss that fell by orders of magnitude.
    """
    window = max(len(values) / SMOOTHING_SHARE, min(len(values) / 4, SMOOTHING_POINTS), 1)
    reach = int(window) // 2
    return [float(np.mean(values[max(i - reach, 0) : i + reach + 1])) for i in range(len(values))]
