"""Fixed sinusoid positions."""

from __future__ import annotations

import torch
from torch import Tensor


def sinusoid_positions(num_positions: int, width: int) -> Tensor:
    """Return a fixed code for every position: sines on even channels, cosines on odd ones.

    Args:
        num_positions: at least 1.
        width: channels, even.

    Returns:
        float32 (1, num_positions, width), computed in float64.

    Source: Attention Is All You Need, NeurIPS 2017.
    """
    position = torch.arange(num_positions, dtype=torch.float64)[:, None]
    frequency = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = position * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[None].float()
