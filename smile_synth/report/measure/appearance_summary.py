"""The appearance of a whole sample, or of natural videos, gathered batch by batch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from smile_synth.report.measure.appearance_statistics import (
    APPEARANCE_SPECS,
    COLOUR_BINS,
    STILL_CHANGE_LEVELS,
    AppearanceSample,
    colour_grid,
    measure_appearance,
)
from smile_synth.report.measure.content import Appearance
from smile_synth.report.measure.duplicates import near_duplicates
from smile_synth.report.measure.spectrum import NUM_RINGS, Rings
from smile_synth.report.measure.values import Values

# Comparing every clip with every other takes memory with the square of their number.
MAX_COMPARED_CLIPS = 2000


class AppearanceSummary:
    """Gathers what frames look like.

    Args:
        height, width: size of a frame in pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        self.rings = Rings(height, width)
        self._values = {spec.name: Values(spec) for spec in APPEARANCE_SPECS}
        self._colours = np.zeros((COLOUR_BINS, COLOUR_BINS))
        self._sum_of_logs = np.zeros(NUM_RINGS)
        self._clips = self._still_clips = 0
        self._thumbnails: list[npt.NDArray[np.float32]] = []
        self._compared: list[int] = []

    def add(
        self,
        frames_BTHWC: npt.NDArray[np.uint8],
        boxes_BKT4: npt.NDArray[np.float32],
        clips_B: npt.NDArray[np.int64],
    ) -> AppearanceSample:
        """Take in some clips, and return what was measured on them.

        Args:
            frames_BTHWC: uint8, of the size given at the start.
            boxes_BKT4: where objects are, NaN where absent; K may be 0.
            clips_B: numbers of the clips.
        """
        sample = measure_appearance(frames_BTHWC, boxes_BKT4, self.rings)
        for name, values in sample.values.items():
            self._values[name].add(values, clips_B)
        self._colours += sample.colours
        self._sum_of_logs += sample.sum_of_logs
        self._clips += sample.clips
        change = sample.values["change"]
        self._still_clips += int((change.max(1, initial=0) < STILL_CHANGE_LEVELS).sum()) if change.size else 0
        room = MAX_COMPARED_CLIPS - len(self._compared)
        self._thumbnails.append(sample.thumbnails[:room])
        self._compared += clips_B[:room].tolist()
        return sample

    def summary(self) -> Appearance:
        """Return what was gathered."""
        thumbnails = np.concatenate(self._thumbnails) if self._thumbnails else np.empty((0, 1), np.float32)
        share, pairs = near_duplicates(thumbnails)
        return Appearance(
            quantities=[values.summary() for values in self._values.values()],
            spectrum=self.rings.curve(self._sum_of_logs, self._clips),
            amplitude_exponent=self.rings.exponent(np.exp(self._sum_of_logs / self._clips)) if self._clips else None,
            still_clips=self._still_clips,
            colour_plane=colour_grid(self._colours),
            near_duplicate_share=share,
            near_duplicate_pairs=[(self._compared[i], self._compared[j]) for i, j in pairs],
            compared_clips=len(self._compared),
        )
