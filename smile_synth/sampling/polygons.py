"""Circles and polygons, drawn with smooth edges into textures and layers."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
Corners = npt.NDArray[np.int32]

CIRCLE_SIDES = 48
# Sub-pixel digits that OpenCV takes with integer coordinates.
_SHIFT = 4
# OpenCV draws the edge itself too, which makes everything larger by this much all round.
_EDGE_PX = 0.6
# A narrower corner angle than this, in turns, would make a needle.
_LEAST_GAP = 0.06


def circle_points() -> Points:
    """Return the corners of a polygon that looks round, on the unit circle, float64 (P, 2)."""
    turn_P = 2 * math.pi * np.arange(CIRCLE_SIDES) / CIRCLE_SIDES
    return np.stack([np.cos(turn_P), np.sin(turn_P)], axis=1)


def sample_polygon(num_corners: int, *, rng: np.random.Generator) -> Points:
    """Sample an irregular convex polygon whose corners lie on the unit circle, float64 (num_corners, 2).

    Args:
        num_corners: 3 or more.
        rng: decides where on the circle.
    """
    slack = 1 - num_corners * _LEAST_GAP
    cuts = np.sort(rng.random(num_corners)) * slack + _LEAST_GAP * np.arange(num_corners)
    turn_P = 2 * math.pi * (cuts + rng.random())
    return np.stack([np.cos(turn_P), np.sin(turn_P)], axis=1)


def capsule_points(width: float) -> Points:
    """Return a thick line with round ends from (-1, 0) to (1, 0), float64 (P, 2); ``width`` is 0 to 1."""
    turn_P = math.pi * (np.arange(CIRCLE_SIDES // 2) / (CIRCLE_SIDES // 2 - 1) - 0.5)
    cap = np.stack([1 - width + width * np.cos(turn_P), width * np.sin(turn_P)], axis=1)
    return np.concatenate([cap, -cap])


def filled_alpha(points_P2: Points, radius_px: float) -> Pixels:
    """Return the alpha of a filled polygon, with smooth edges and a transparent margin.

    Args:
        points_P2: corners, within the unit circle.
        radius_px: pixels of the unit.

    Returns:
        uint8 (side, side), the unit circle's centre in the middle.
    """
    side = 2 * math.ceil(radius_px) + 4
    alpha = np.zeros((side, side), np.uint8)
    fill(alpha, points_P2 * max(radius_px - _EDGE_PX, _EDGE_PX) + side / 2, 255)
    return alpha


def fill(image: Pixels, points_P2: Points, colour: int | tuple[int, ...]) -> None:
    """Fill a polygon in an image, with smooth edges.

    Args:
        image: uint8 (h, w) or (h, w, 3), drawn into.
        points_P2: corners in pixels; (0, 0) is the upper left edge of the first pixel.
        colour: of the fill.
    """
    fill_corners(image, corners_of(points_P2), colour)


def corners_of(points: Points) -> Corners:
    """Return points in pixels, float64 (..., 2), in the fixed-point that ``fill_corners`` takes."""
    return np.rint((points - 0.5) * (1 << _SHIFT)).astype(np.int32)


def fill_corners(image: Pixels, corners_P2: Corners, colour: int | tuple[int, ...]) -> None:
    """Fill a polygon as ``fill`` does; quicker for many, whose corners are found at once."""
    cv2.fillPoly(image, [corners_P2], colour, lineType=cv2.LINE_AA, shift=_SHIFT)


def cut(picture: Pixels, alpha: Pixels) -> Pixels:
    """Return an RGBA texture of a picture, or of one colour, under an alpha.

    Args:
        picture: uint8 (h, w, 3), or (3,).
        alpha: uint8 (h, w).
    """
    texture = np.empty((*alpha.shape, 4), np.uint8)
    texture[..., :3] = picture
    texture[..., 3] = alpha
    return texture
