"""The spatial spectrum of frames, and the straight line that photographs follow."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt
from scipy import fft

from smile_synth.report.measure.content import Curve

Floats = npt.NDArray[np.float64]

NUM_RINGS = 32
# Between these the amplitude spectrum of photographs is a straight line on logarithmic axes: below, the window
# and the frame's own extent show, above, the camera's and the renderer's filters.
FIT_CYCLES_PER_PX = (0.03, 0.3)
MIN_RINGS_OF_FIT = 3
# A flat frame has no amplitude; a thousandth of a grey level keeps its logarithm finite.
FLOOR = 1e-3


class Rings:
    """Rings of equal frequency in the spectrum of frames of one size.

    Args:
        height, width: size of a frame in pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        # The lowest frequency of a frame is in the first ring, not on its edge.
        lowest = min(0.99 / min(height, width), 0.2)
        self.edges_cycles_per_px: Floats = np.geomspace(lowest, 0.5, NUM_RINGS + 1)

    @property
    def centres_cycles_per_px(self) -> Floats:
        """Geometric middle of every ring."""
        middle: Floats = np.sqrt(self.edges_cycles_per_px[:-1] * self.edges_cycles_per_px[1:])
        return middle

    def amplitude(self, frame_HWC: npt.NDArray[np.uint8]) -> Floats:
        """Return the mean amplitude of the luminance spectrum in every ring, under a Hann window.

        Args:
            frame_HWC: uint8, of the size of the rings.
        """
        grey = cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2GRAY).astype(np.float32)
        # In single precision, which NumPy's own transform would leave.
        amplitude = np.abs(fft.rfft2((grey - grey.mean()) * self._window)).ravel()
        total = np.bincount(self._ring, amplitude, minlength=NUM_RINGS + 1)[:NUM_RINGS]
        mean: Floats = np.maximum(total / np.maximum(self._count, 1), FLOOR)
        return mean

    def exponent(self, amplitude: npt.ArrayLike) -> float | None:
        """Return s of the straight line amplitude ~ 1 / frequency^s, None where too few rings take part.

        Args:
            amplitude: one value a ring.
        """
        centre = self.centres_cycles_per_px
        fits = (centre >= FIT_CYCLES_PER_PX[0]) & (centre <= FIT_CYCLES_PER_PX[1]) & (self._count > 0)
        if fits.sum() < MIN_RINGS_OF_FIT:
            return None
        return float(-np.polyfit(np.log(centre[fits]), np.log(np.asarray(amplitude)[fits]), 1)[0])

    def curve(self, sum_of_logs: Floats, frames: int) -> Curve:
        """Return the mean spectrum of some frames, at the rings that hold a frequency.

        Args:
            sum_of_logs: logarithm of ``amplitude``, summed over frames.
            frames: how many were summed.
        """
        return Curve(
            title="Amplitude spectrum",
            x_title="spatial frequency (cycles/px)",
            y_title="amplitude (grey levels)",
            meaning="Luminance spectrum of the middle frames, all orientations together, geometric mean over clips.",
            x=self.centres_cycles_per_px[self._count > 0].tolist(),
            y=np.exp(sum_of_logs / max(frames, 1))[self._count > 0].tolist(),
        )

    @cached_property
    def _window(self) -> npt.NDArray[np.float32]:
        return np.outer(np.hanning(self.height), np.hanning(self.width)).astype(np.float32)

    @cached_property
    def _ring(self) -> npt.NDArray[np.int64]:
        """The ring of every frequency; ``NUM_RINGS`` for those outside all rings."""
        radius = np.hypot(np.fft.fftfreq(self.height)[:, None], np.fft.rfftfreq(self.width)[None]).ravel()
        ring = np.searchsorted(self.edges_cycles_per_px, radius, side="right") - 1
        return np.where((ring >= 0) & (ring < NUM_RINGS), ring, NUM_RINGS)

    @cached_property
    def _count(self) -> npt.NDArray[np.int64]:
        return np.bincount(self._ring, minlength=NUM_RINGS + 1)[:NUM_RINGS]
