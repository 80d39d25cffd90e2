"""What features are computed with: a trained network, its untrained twin, its teacher, or raw frame differences."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from smile_synth.probe.features import Features

DIFFERENCE_GRID = (8, 7, 7)


class DifferenceExtractor:
    """Absolute differences of neighbouring frames, averaged over a grid of time steps, rows and columns."""

    name = "differences"
    has_tokens = False
    digest = f"absolute grey-level differences on {DIFFERENCE_GRID}"

    @property
    def title(self) -> str:
        """What people read in the table."""
        return "raw frame differences"

    def __call__(self, frames_BTHWC: npt.NDArray[np.uint8]) -> Features:
        """Return the mean absolute change of the grey level, 0 to 255, in every cell of the grid."""
        grey_BTHW = torch.from_numpy(frames_BTHWC).float().mean(dim=-1)
        change_BTHW = (grey_BTHW[:, 1:] - grey_BTHW[:, :-1]).abs()
        steps = min(DIFFERENCE_GRID[0], change_BTHW.shape[1])
        cells = functional.adaptive_avg_pool3d(change_BTHW[:, None], (steps, *DIFFERENCE_GRID[1:]))
        return Features(cells.flatten(1), None)
