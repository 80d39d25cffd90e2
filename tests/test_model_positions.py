"""Fixed sinusoid positions."""

from __future__ import annotations

import math

import torch

from smile_synth.model.positions import sinusoid_positions


def test_positions_are_sines_and_cosines_of_falling_frequency() -> None:
    positions = sinusoid_positions(1568, 384)
    assert positions.shape == (1, 1568, 384)
    assert positions.dtype == torch.float32
    angle = 1000 / 10000 ** (10 / 384)
    torch.testing.assert_close(positions[0, 1000, 10:12], torch.tensor([math.sin(angle), math.cos(angle)]))
