"""What frames look like: brightness, colour, contrast, and how much changes from frame to frame."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from smile_synth.report.measure.content import Grid
from smile_synth.report.measure.duplicates import thumbnail
from smile_synth.report.measure.spectrum import Rings
from smile_synth.report.measure.values import QuantitySpec

Frames = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

COLOUR_BINS = 24
COLOUR_LIMIT = 96
STILL_CHANGE_LEVELS = 0.1
CHANGED_LEVELS = 8
MIN_OUTSIDE_PIXELS = 16
# Larger frames are looked at in steps: means and deviations stay the same, and time is saved.
ENOUGH_PX = 112

APPEARANCE_SPECS = (
    QuantitySpec(
        "change",
        "Frame-to-frame change",
        "grey levels of 255",
        "pair of frames",
        "Mean absolute difference of luminance between neighbouring frames; 0 is a still clip.",
    ),
    QuantitySpec(
        "changed_share",
        "Pixels that change",
        "share of pixels",
        "pair of frames",
        f"Part of the pixels whose luminance changes by more than {CHANGED_LEVELS} of 255 levels to the next frame.",
    ),
    QuantitySpec(
        "brightness",
        "Brightness",
        "L*",
        "clip",
        "Mean lightness of the middle frame, 0 black to 100 white.",
    ),
    QuantitySpec(
        "contrast",
        "Contrast",
        "L*",
        "clip",
        "Standard deviation of lightness over the middle frame.",
    ),
    QuantitySpec(
        "colourfulness",
        "Chroma",
        "C*",
        "clip",
        "Mean distance of the middle frame's colours from grey in the a*b* plane.",
    ),
    QuantitySpec(
        "background_contrast",
        "Contrast outside objects",
        "L*",
        "clip",
        "Standard deviation of lightness over the part of the middle frame that no box covers.",
    ),
)


@dataclass(frozen=True, eq=False)
class AppearanceSample:
    """What is measured on some clips.

    Args:
        values: by the names of ``APPEARANCE_SPECS``; one row a clip.
        colours: (b*, a*) histogram of the middle frames' pixels.
        sum_of_logs: sum over clips of the logarithm of the amplitude in every ring of the spectrum.
        clips: how many clips were summed.
        thumbnails: float32 (B, D), from ``duplicates.thumbnail``.
    """

    values: dict[str, Floats]
    colours: Floats
    sum_of_logs: Floats
    clips: int
    thumbnails: npt.NDArray[np.float32]


def measure_appearance(frames_BTHWC: Frames, boxes_BKT4: npt.NDArray[np.float32], rings: Rings) -> AppearanceSample:
    """Measure the pixels of some clips.

    Args:
        frames_BTHWC: uint8.
        boxes_BKT4: where objects are, NaN where absent; K may be 0.
        rings: of the frames' size.
    """
    # What takes long happens inside OpenCV and NumPy, which let other threads run.
    with ThreadPoolExecutor(num_threads()) as pool:
        looks = list(pool.map(partial(_look, rings=rings), frames_BTHWC, boxes_BKT4))
    return AppearanceSample(
        values={spec.name: np.stack([look.values[spec.name] for look in looks]) for spec in APPEARANCE_SPECS},
        colours=np.sum([look.colours for look in looks], axis=0),
        sum_of_logs=np.sum([look.log_amplitude for look in looks], axis=0),
        clips=len(looks),
        thumbnails=np.stack([look.thumbnail for look in looks]),
    )


def num_threads() -> int:
    """Return how many clips are measured at a time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def colour_grid(colours: Floats) -> Grid:
    """Return the share of pixels in every cell of the a*b* plane.

    Args:
        colours: counts, as in ``AppearanceSample``.
    """
    return Grid(
        title="Colours",
        unit="% of pixels",
        meaning="Share of the middle frames' pixels by colour: green left, red right, blue below, yellow above.",
        values=(100 * colours / max(float(colours.sum()), 1.0)).tolist(),
    )


class _Look(NamedTuple):
    """What is measured on one clip."""

    values: dict[str, Floats]
    colours: Floats
    log_amplitude: Floats
    thumbnail: npt.NDArray[np.float32]


def _look(frames_THWC: Frames, boxes_KT4: npt.NDArray[np.float32], *, rings: Rings) -> _Look:
    middle = len(frames_THWC) // 2
    frame = frames_THWC[middle]
    step = max(1, min(frame.shape[:2]) // ENOUGH_PX)
    thinned = frame[::step, ::step].astype(np.float32) / 255
    lab_HWC = np.asarray(cv2.cvtColor(thinned, cv2.COLOR_RGB2LAB), np.float32)
    change, changed = _changes(frames_THWC[:, ::step])
    lightness = lab_HWC[..., 0]
    outside = lightness[~_under_boxes(boxes_KT4[:, middle], *frame.shape[:2])[::step, ::step]]
    has_background = outside.size >= MIN_OUTSIDE_PIXELS
    values = {
        "change": change,
        "changed_share": changed,
        "brightness": np.array(lightness.mean(dtype=np.float64)),
        "contrast": np.array(lightness.std(dtype=np.float64)),
        # Not OpenCV's magnitude: its last digit depends on where the pixels lie in memory.
        "colourfulness": np.array(np.hypot(lab_HWC[..., 1], lab_HWC[..., 2], dtype=np.float64).mean()),
        "background_contrast": np.array(outside.std(dtype=np.float64) if has_background else np.nan),
    }
    return _Look(values, _colour_counts(lab_HWC), np.log(rings.amplitude(frame)), thumbnail(frames_THWC))


def _changes(frames_THWC: Frames) -> tuple[Floats, Floats]:
    """Return mean absolute change, and share of changed pixels, for every pair of neighbouring frames."""
    frames, rows, width, channels = frames_THWC.shape
    if frames < 2:
        return np.zeros(0), np.zeros(0)
    # All frames one under another: a call for the clip instead of one for every frame.
    grey = cv2.cvtColor(frames_THWC.reshape(frames * rows, width, channels), cv2.COLOR_RGB2GRAY)
    difference = cv2.absdiff(grey[:-rows], grey[rows:])
    has_changed = cv2.threshold(difference, CHANGED_LEVELS, 1, cv2.THRESH_BINARY)[1]
    pairs = [slice(first, first + rows) for first in range(0, len(difference), rows)]
    change = np.array([cv2.mean(difference[pair])[0] for pair in pairs])
    changed = np.array([cv2.countNonZero(has_changed[pair]) for pair in pairs]) / (rows * width)
    return change, changed


def _under_boxes(boxes_K4: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.bool_]:
    covered = np.zeros((height, width), bool)
    for x1, y1, x2, y2 in boxes_K4[np.isfinite(boxes_K4).all(-1)]:
        covered[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = True
    return covered


def _colour_counts(lab_HWC: npt.NDArray[np.float32]) -> Floats:
    plane = np.clip(lab_HWC[..., 1:], -COLOUR_LIMIT, COLOUR_LIMIT - 1e-3)
    cell = ((plane + COLOUR_LIMIT) * (COLOUR_BINS / (2 * COLOUR_LIMIT))).astype(np.int64)
    flat = (COLOUR_BINS - 1 - cell[..., 1]) * COLOUR_BINS + cell[..., 0]
    return np.bincount(flat.ravel(), minlength=COLOUR_BINS**2).reshape(COLOUR_BINS, COLOUR_BINS).astype(np.float64)
