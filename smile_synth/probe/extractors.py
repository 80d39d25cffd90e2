"""What features are computed with: a trained network, its untrained twin, its teacher, or raw frame differences."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from smile_synth.errors import ProbeError
from smile_synth.probe.features import ClipFeatures

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

    def __call__(self, frames_BTHWC: npt.NDArray[np.uint8]) -> ClipFeatures:
        """Return the mean absolute change of the grey level, 0 to 255, in every cell of the grid."""
        if frames_BTHWC.shape[1] < 2:
            raise ProbeError("raw frame differences need at least 2 frames a clip; take 'differences' out of baselines")
        red, green, blue = torch.from_numpy(frames_BTHWC).to(torch.int16).unbind(dim=-1)
        grey_BTHW = red + green + blue
        change_BTHW = (grey_BTHW[:, 1:] - grey_BTHW[:, :-1]).abs().float() / 3
        steps = min(DIFFERENCE_GRID[0], change_BTHW.shape[1])
        cells = functional.adaptive_avg_pool3d(change_BTHW[:, None], (steps, *DIFFERENCE_GRID[1:]))
        return ClipFeatures(cells.flatten(1), None)


class EncoderOutput(Protocol):
    """What an encoder gives: tokens (B, N, D) and one vector a clip (B, D)."""

    @property
    def tokens(self) -> torch.Tensor:
        """Float (B, N, D)."""

    @property
    def pooled(self) -> torch.Tensor:
        """Float (B, D)."""


class NetworkExtractor:
    """Features of a frozen network.

    Args:
        name: short name for files and JSON.
        title: what people read in the table.
        network: takes uint8 frames (B, T, H, W, 3), gives ``EncoderOutput``, or tokens (B, N, D) to be averaged.
        device: where it lies.
    """

    has_tokens = True

    def __init__(self, name: str, title: str, network: nn.Module, device: torch.device) -> None:
        self.name, self.title = name, title
        self._network, self._device = network.to(device).eval(), device
        self._digest = ""

    @property
    def digest(self) -> str:
        """Digest of the network's weights, computed on first use."""
        if not self._digest:
            self._digest = f"{type(self._network).__name__} {weights_digest(self._network)}"
        return self._digest

    @torch.inference_mode()
    def __call__(self, frames_BTHWC: npt.NDArray[np.uint8]) -> ClipFeatures:
        """Return one vector a clip, and tokens."""
        encoded: Any = self._network(torch.from_numpy(frames_BTHWC).to(self._device))
        if isinstance(encoded, torch.Tensor):
            return ClipFeatures(encoded.float().mean(dim=1), encoded)
        return ClipFeatures(encoded.pooled, encoded.tokens)


def weights_digest(network: nn.Module) -> str:
    """Return a digest of a network's structure, parameters and buffers."""
    digest = hashlib.blake2b(repr(network).encode(), digest_size=8)
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
