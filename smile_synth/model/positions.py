"""Fixed sinusoid positions: where a token stands, added to what it shows."""

from __future__ import annotations

import torch
from torch import Tensor

from smile_synth.errors import ModelError
from smile_synth.masking.grid import TokenGrid
from smile_synth.recipe.student import PositionCode

FLAT_BASE = 10000.0
# Axes are short: the longest wave is 126 tokens.
AXIS_BASE = 20.0


def position_code(kind: PositionCode, grid: TokenGrid, width: int) -> Tensor:
    """Return the fixed code of every token.

    Args:
        kind: ``flat`` or ``separable``, see ``StudentParams``.
        grid: whose tokens.
        width: channels, even.

    Returns:
        float32 (1, N, width).

    Raises:
        ModelError: the width is too small for three axes.
    """
    if kind == "flat":
        return sinusoid_positions(grid.num_tokens, width)
    return separable_positions(grid, width)


def sinusoid_positions(num_positions: int, width: int, *, base: float = FLAT_BASE) -> Tensor:
    """Return a fixed code for every position: sines on even channels, cosines on odd ones.

    Args:
        num_positions: at least 1.
        width: channels, even.
        base: the lowest frequency is about 1 / base radians a position.

    Returns:
        float32 (1, num_positions, width), computed in float64.

    Source: Attention Is All You Need, NeurIPS 2017.
    """
    position = torch.arange(num_positions, dtype=torch.float64)[:, None]
    frequency = base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = position * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[None].float()


def separable_positions(grid: TokenGrid, width: int) -> Tensor:
    """Return a code with channels of their own for time, row and column.

    Args:
        grid: whose tokens.
        width: channels, even; a third of them, rounded down to even, for time and for rows, the rest for columns.

    Returns:
        float32 (1, N, width).

    Raises:
        ModelError: the width is too small for three axes.

    Source: the kind of code that V-JEPA uses (arXiv 2404.08471); how channels are divided, and the base, are ours.
    """
    third = width // 6 * 2
    if third < 2:
        raise ModelError(f"separable positions need an embedding dimension of at least 6, got {width}: raise it")
    codes = []
    sizes = (grid.tubelets, grid.rows, grid.columns)
    for axis, (size, channels) in enumerate(zip(sizes, (third, third, width - 2 * third), strict=True)):
        shape = [1, 1, 1, channels]
        shape[axis] = size
        codes.append(sinusoid_positions(size, channels, base=AXIS_BASE).view(shape).expand(*sizes, channels))
    return torch.cat(codes, dim=3).flatten(0, 2)[None]
