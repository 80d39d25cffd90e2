"""Motion as a target: means of what is defined, one unit for the dataset, and stores that have none."""

from __future__ import annotations

import pytest
import torch

from smile_synth.errors import ModelError
from smile_synth.masking.grid import TokenGrid
from smile_synth.training.motion import motion_of_tokens

GRID = TokenGrid(2, 1, 2, 3, 16)


def test_a_token_moves_as_its_defined_cells_do_inside_its_tubelet() -> None:
    motion = torch.full((1, 6, 2, 4, 2), torch.nan)
    # The first token of the first tubelet: two steps inside, the third leads out of it.
    motion[0, 0, :, :2] = torch.tensor([1.0, 10.0])
    motion[0, 1, 0, 0] = torch.tensor([6.0, 20.0])
    motion[0, 2] = 1000.0
    moved = motion_of_tokens(motion, GRID, 1)
    assert moved.shape == (1, 4, 2)
    assert moved[0, 0].tolist() == [2.0, 12.0]
    assert moved[0, 1:].isnan().all()


def test_quarters_are_ordered_row_by_row_with_x_before_y() -> None:
    grid = TokenGrid(1, 1, 1, 2, 16)
    motion = torch.arange(8.0).view(1, 1, 2, 2, 2).repeat(1, 2, 1, 1, 1)
    assert motion_of_tokens(motion, grid, 4)[0, 0].tolist() == list(range(8))
    assert motion_of_tokens(motion, grid, 1)[0, 0].tolist() == [3.0, 4.0]
    with pytest.raises(ModelError, match="need motion in cells of at most 8 px, got cells of 16 px"):
        motion_of_tokens(motion[:, :, :1, :1], grid, 4)


def test_tubelets_of_one_frame_move_as_to_the_next() -> None:
    grid = TokenGrid(3, 1, 1, 1, 16)
    motion = torch.tensor([1.0, 2.0, torch.nan]).view(1, 3, 1, 1, 1).repeat(1, 1, 2, 2, 2)
    torch.testing.assert_close(
        motion_of_tokens(motion, grid, 1)[0, :, 0], torch.tensor([1.0, 2.0, torch.nan]), equal_nan=True
    )


def test_tokens_are_numbered_as_everywhere() -> None:
    grid = TokenGrid(2, 2, 3, 2, 16)
    number = torch.arange(12.0).view(2, 2, 3)
    cells = number.repeat_interleave(2, 0).repeat_interleave(2, 1).repeat_interleave(2, 2)
    motion = torch.stack([cells, -cells], dim=-1)[None]
    assert motion_of_tokens(motion, grid, 1)[0].tolist() == [[i, -i] for i in range(12)]
