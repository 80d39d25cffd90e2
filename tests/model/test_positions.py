"""Fixed sinusoid positions."""

from __future__ import annotations

import math

import pytest
import torch

from smile_synth.errors import ModelError
from smile_synth.masking.grid import TokenGrid
from smile_synth.model.positions import position_code, separable_positions, sinusoid_positions

GRID = TokenGrid(3, 4, 5, 2, 16)


def test_positions_are_sines_and_cosines_of_falling_frequency() -> None:
    positions = sinusoid_positions(1568, 384)
    assert positions.shape == (1, 1568, 384)
    assert positions.dtype == torch.float32
    angle = 1000 / 10000 ** (10 / 384)
    torch.testing.assert_close(positions[0, 1000, 10:12], torch.tensor([math.sin(angle), math.cos(angle)]))


def test_flat_positions_are_those_of_the_tokens_numbers() -> None:
    assert torch.equal(position_code("flat", GRID, 24), sinusoid_positions(60, 24))


def test_separable_positions_have_channels_for_each_axis() -> None:
    codes = position_code("separable", GRID, 32).view(3, 4, 5, 32)
    time, row, column = codes[..., :10], codes[..., 10:20], codes[..., 20:]
    assert torch.equal(time, time[:, :1, :1].expand_as(time))
    assert torch.equal(row, row[:1, :, :1].expand_as(row))
    assert torch.equal(column, column[:1, :1].expand_as(column))
    assert len(torch.unique(codes.flatten(0, 2), dim=0)) == GRID.num_tokens
    # Nearer places have more similar codes, along every axis: what the flat code has along rows only.
    for axis in (time[:, 0, 0], row[0, :, 0], column[0, 0]):
        similar = axis @ axis[0]
        assert (similar.diff() < 0).all()


def test_too_narrow_students_are_refused() -> None:
    with pytest.raises(ModelError, match="at least 6, got 4"):
        separable_positions(GRID, 4)
