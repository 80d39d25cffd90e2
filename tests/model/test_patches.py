"""Frames, patches and their order."""

from __future__ import annotations

import pytest
import torch

from smile_synth.errors import ModelError
from smile_synth.masking.grid import TokenGrid
from smile_synth.model.patches import normalise, patchify

GRID = TokenGrid(2, 3, 2, 2, 4)


def test_normalised_frames_are_imagenets() -> None:
    frames = torch.zeros(1, 2, 4, 4, 3, dtype=torch.uint8)
    frames[..., 0] = 255
    video = normalise(frames)
    assert video.shape == (1, 3, 2, 4, 4)
    expected = torch.tensor([(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    torch.testing.assert_close(video[0, :, 0, 0, 0], expected)


def test_tokens_are_time_major_and_pixels_come_before_channels() -> None:
    frames = torch.arange(4 * 12 * 8 * 3).view(1, 4, 12, 8, 3)
    patches = patchify(frames, GRID)
    assert patches.shape == (1, 12, 2 * 4 * 4, 3)
    token = 1 * 6 + 2 * 2 + 1  # second tubelet, third row, second column
    assert torch.equal(patches[0, token], frames[0, 2:4, 8:12, 4:8].reshape(-1, 3))


def test_frames_of_another_type_are_refused() -> None:
    with pytest.raises(ModelError, match=r"frames must be uint8 \(B, T, H, W, 3\), got torch.float32 \(1, 2, 3\)"):
        normalise(torch.zeros(1, 2, 3))
