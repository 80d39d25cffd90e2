"""The clips at the ends of a sample: fastest, slowest, smallest, most covered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smile_synth.report.measure.content import Example, Extreme
from smile_synth.report.measure.layout_statistics import LayoutSample
from smile_synth.report.measure.motion_statistics import MotionSample

EXAMPLES = 3


@dataclass(frozen=True)
class ExtremeSpec:
    """What makes a clip extreme.

    Args:
        name, title, unit, meaning: as in ``Extreme``.
        is_largest: whether large or small values are shown.
    """

    name: str
    title: str
    unit: str
    meaning: str
    is_largest: bool


EXTREME_SPECS = (
    ExtremeSpec("fastest", "Fastest", "px/frame", "Clips with the object of the highest mean speed.", True),
    ExtremeSpec("slowest", "Slowest", "px/frame", "Clips with the object of the lowest mean speed.", False),
    ExtremeSpec("smallest", "Smallest", "px", "Clips with the smallest whole object in any frame.", False),
    ExtremeSpec("most_covered", "Most covered", "share", "Clips with the object most covered by others' boxes.", True),
)


class Extremes:
    """Keeps the most extreme clips seen so far."""

    def __init__(self) -> None:
        self._best: dict[str, list[Example]] = {spec.name: [] for spec in EXTREME_SPECS}

    def add(self, clips_B: npt.NDArray[np.int64], motion: MotionSample, layout: LayoutSample) -> None:
        """Take in what was measured on some clips."""
        measured = {
            "fastest": motion.fastest_B,
            "slowest": motion.slowest_B,
            "smallest": motion.smallest_B,
            "most_covered": np.where(layout.most_covered_B > 0, layout.most_covered_B, np.nan),
        }
        for spec in EXTREME_SPECS:
            found = zip(clips_B.tolist(), measured[spec.name].tolist(), strict=True)
            examples = [Example(clip=clip, value=value) for clip, value in found if np.isfinite(value)]
            sign = -1 if spec.is_largest else 1
            candidates = sorted(self._best[spec.name] + examples, key=lambda e: (sign * e.value, e.clip))
            self._best[spec.name] = candidates[:EXAMPLES]

    def summary(self) -> list[Extreme]:
        """Return the kept clips, leaving out ends that no clip has."""
        return [
            Extreme(
                name=spec.name,
                title=spec.title,
                unit=spec.unit,
                meaning=spec.meaning,
                examples=self._best[spec.name],
            )
            for spec in EXTREME_SPECS
            if self._best[spec.name]
        ]
