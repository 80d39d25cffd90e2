"""Clips that look the same."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

# Coarser pictures make fine patterns grey, and all fine patterns the same.
THUMBNAIL_SIDE = 32
DUPLICATE_LEVELS = 2.0


def thumbnail(frames_THWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the first and the last frame as a small grey picture each, all in one row.

    Args:
        frames_THWC: uint8.
    """
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (frames_THWC[0], frames_THWC[-1])]
    ends = [cv2.resize(grey, size, interpolation=cv2.INTER_AREA) for grey in greys]
    return np.concatenate([end.astype(np.float32).ravel() for end in ends])


def near_duplicates(thumbnails: npt.NDArray[np.float32], *, num_pairs: int = 8) -> tuple[float, list[tuple[int, int]]]:
    """Find clips whose first and last frames look the same as another's.

    Args:
        thumbnails: float32 (N, D), from ``thumbnail``.
        num_pairs: most pairs to return.

    Returns:
        Share of the clips that have a near-duplicate, and the closest pairs as places in ``thumbnails``.
    """
    n, width = thumbnails.shape
    if n < 2:
        return 0.0, []
    squares = (thumbnails.astype(np.float64) ** 2).sum(1)
    distance = squares[:, None] + squares - 2 * (thumbnails @ thumbnails.T)
    np.fill_diagonal(distance, np.inf)
    rms = np.sqrt(np.maximum(distance, 0) / width)
    nearest = rms.argmin(1)
    is_duplicate = rms[np.arange(n), nearest] < DUPLICATE_LEVELS
    order = np.argsort(rms[np.arange(n), nearest])
    pairs = {(min(int(i), int(nearest[i])), max(int(i), int(nearest[i]))): None for i in order if is_duplicate[i]}
    return float(is_duplicate.mean()), list(pairs)[:num_pairs]
