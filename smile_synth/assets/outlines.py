"""Outlines to cut objects with: polygons, blobs, ellipses, letters."""

from __future__ import annotations

import string
from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from smile_synth.assets.packages import package_folder

Alpha = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]

GLYPHS = string.ascii_uppercase + string.digits
# Drawn this many times larger, then averaged: an integer filter, the same everywhere.
_OVERSAMPLING = 4


def draw_outline(kind: str, side: int, *, rng: np.random.Generator) -> Alpha:
    """Draw a filled outline that touches a square's sides but for a margin of one pixel, with soft edges.

    Args:
        kind: one of ``OUTLINES``.
        side: pixels of the longer side of the square that it is drawn in.
        rng: decides the form.

    Returns:
        uint8 (h, w) alpha, cut to the outline, with one transparent pixel all round.
    """
    if kind == "letter":
        return _trimmed(_softened(_letter(side - 4, rng)))
    mask = _filled(_POINTS[kind](rng), _OVERSAMPLING * (side - 4))
    height, width = (-(-n // _OVERSAMPLING) * _OVERSAMPLING for n in mask.shape)
    whole = np.zeros((height, width), np.uint8)
    whole[: mask.shape[0], : mask.shape[1]] = mask
    return _trimmed(_softened(_averaged(whole)))


def _averaged(mask: Alpha) -> Alpha:
    n = _OVERSAMPLING
    # Strided sums, rows first: many times quicker than one sum over two axes.
    rows = sum((mask[k::n].astype(np.uint16) for k in range(1, n)), start=mask[0::n].astype(np.uint16))
    sums = sum((rows[:, k::n] for k in range(1, n)), start=rows[:, 0::n])
    means: Alpha = ((sums + n * n // 2) // (n * n)).astype(np.uint8)
    return means


def _softened(alpha: Alpha) -> Alpha:
    """Blur with the kernel 1 2 1 along rows and columns, which OpenCV does in integers, into a margin of two pixels."""
    return np.asarray(cv2.GaussianBlur(np.pad(alpha, 2), (3, 3), 0), dtype=np.uint8)


def _trimmed(alpha: Alpha) -> Alpha:
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    return np.pad(alpha[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)


def _filled(points: Points, side: int) -> Alpha:
    """Fill a closed line, scaled so that its longer side measures ``side`` pixels."""
    low, high = points.min(axis=0), points.max(axis=0)
    pixels = np.rint((points - low) * ((side - 1) / (high - low).max())).astype(np.int32)
    mask = np.zeros((int(pixels[:, 1].max()) + 1, int(pixels[:, 0].max()) + 1), np.uint8)
    cv2.fillPoly(mask, [pixels], 255)
    return mask


def _polygon(rng: np.random.Generator) -> Points:
    """Three to eight corners, or a star, turned at random; corners stay apart so that no needle arises."""
    corners = int(rng.integers(3, 9))
    is_star = corners >= 4 and rng.random() < 0.4
    count = 2 * corners if is_star else corners
    turn = (np.arange(count) + rng.uniform(-0.25, 0.25, count)) / count + rng.random()
    radius = rng.uniform(0.75, 1.0, count)
    if is_star:
        radius[1::2] *= rng.uniform(0.4, 0.65)
    return _around(turn, radius)


def _blob(rng: np.random.Generator) -> Points:
    """A circle whose radius swells and shrinks by two to six smooth waves."""
    turn = np.arange(128) / 128
    radius = np.ones(128)
    for waves in range(2, 7):
        radius += rng.uniform(0.0, 0.5) / waves * np.cos(2 * np.pi * (waves * turn + rng.random()))
    return _around(turn, np.maximum(radius, 0.25))


def _ellipse(rng: np.random.Generator) -> Points:
    circle = _around(np.arange(128) / 128, np.ones(128))
    return circle * (1.0, rng.uniform(0.45, 1.0)) @ _turned(rng.random())


def _around(turn: Points, radius: Points) -> Points:
    circle: Points = np.stack([np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)], axis=1)
    return radius[:, None] * circle


def _turned(turn: float) -> Points:
    cosine, sine = np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)
    return np.array([[cosine, sine], [-sine, cosine]])


def _letter(side: int, rng: np.random.Generator) -> Alpha:
    """Draw a capital or a digit; the font's own smoothing needs no oversampling."""
    glyph = GLYPHS[int(rng.integers(len(GLYPHS)))]
    font = _font(side)
    left, top, right, bottom = font.getbbox(glyph)
    image = PilImage.new("L", (int(right - left), int(bottom - top)))
    ImageDraw.Draw(image).text((-left, -top), glyph, fill=255, font=font)
    return np.asarray(image)


@lru_cache(maxsize=4)
def _font(side: int) -> ImageFont.FreeTypeFont:
    """Return a bold face whose capitals are about ``side`` pixels high; matplotlib brings it along."""
    file = package_folder("matplotlib") / "mpl-data/fonts/ttf/DejaVuSans-Bold.ttf"
    return ImageFont.truetype(str(file), round(side / 0.78))


_POINTS: dict[str, Callable[[np.random.Generator], Points]] = {
    "polygon": _polygon,
    "blob": _blob,
    "ellipse": _ellipse,
}
OUTLINES: tuple[str, ...] = (*_POINTS, "letter")
