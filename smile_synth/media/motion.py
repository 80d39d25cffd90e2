"""Motion as colour: hue says where to, brightness how far; grey where there is none to know."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Motion = npt.NDArray[np.float32]

WHEEL_PX = 48
UNDEFINED = (128, 128, 128)
PAPER, INK = (255, 255, 255), (70, 70, 70)
# Nine in ten of what moves is shown by its brightness; the fastest are as bright as the limit.
SHOWN_QUANTILE = 0.9
MIN_LIMIT_PX = 0.1


def motion_colours(motion_2: Motion, limit_px: float) -> npt.NDArray[np.uint8]:
    """Return motion as colours.

    Args:
        motion_2: float (..., 2), (dx, dy) in pixels, NaN where undefined.
        limit_px: from this length on, colours are full.

    Returns:
        uint8 (..., 3); black where nothing moves, grey where motion is undefined.
    """
    dx, dy = np.moveaxis(np.nan_to_num(motion_2.astype(np.float64)), -1, 0)
    # The root keeps slow motion apart from none.
    brightness = np.sqrt(np.minimum(np.hypot(dx, dy) / limit_px, 1.0))[..., None]
    sixths = (np.arctan2(dy, dx) / (2 * np.pi) % 1.0)[..., None] * 6
    hue = np.clip(np.abs((sixths + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    colours = (255 * brightness * hue).round().astype(np.uint8)
    return np.where(np.isfinite(motion_2).all(axis=-1, keepdims=True), colours, np.array(UNDEFINED, np.uint8))


def motion_limit(motion_2: Motion) -> float:
    """Return a length in pixels, of one or two digits, from which on colours may be full."""
    lengths = np.hypot(motion_2[..., 0], motion_2[..., 1])
    moving = lengths[lengths > MIN_LIMIT_PX]
    limit = float(np.quantile(moving, SHOWN_QUANTILE)) if len(moving) else 1.0
    digits = 10.0 ** np.floor(np.log10(limit))
    return float(max(MIN_LIMIT_PX, np.ceil(limit / digits * 2) / 2 * digits))


def colour_wheel(side_px: int, paper: tuple[int, ...] = PAPER) -> Image.Image:
    """Return the colours of all directions, and of all lengths up to the limit, as a disc.

    Args:
        side_px: diameter.
        paper: RGB, or RGBA, around the disc.
    """
    y, x = (np.indices((side_px, side_px)) + 0.5) / side_px * 2 - 1
    wheel = motion_colours(np.stack([x, y], axis=-1).astype(np.float32), 1.0)
    is_outside = np.hypot(x, y) > 1
    if len(paper) == 4:
        wheel = np.dstack([wheel, np.full((side_px, side_px), 255, np.uint8)])
    wheel[is_outside] = paper
    return Image.fromarray(wheel)


def motion_legend(limit_px: float, width: int) -> Image.Image:
    """Return the colour wheel and what it means, as a strip ``width`` pixels wide."""
    strip = Image.new("RGB", (width, WHEEL_PX), PAPER)
    strip.paste(colour_wheel(WHEEL_PX), (0, 0))
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(10)
    lines = (
        "colour: where it moves until the next frame, seen from the middle of the wheel",
        f"black: still; at the rim: {limit_px:g} px a frame and more",
        "grey: not defined (the last frame, and pictures that change)",
    )
    for i, line in enumerate(lines):
        pen.text((WHEEL_PX + 6, 3 + 15 * i), line, fill=INK, font=font, anchor="lt")
    return strip
