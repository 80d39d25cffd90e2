"""A student small enough for tests, with every weight away from its first value, and clips for it."""

from __future__ import annotations

import torch
from torch import Tensor

from smile_synth.masking.grid import TokenGrid
from smile_synth.model import Student, build_student
from smile_synth.recipe.student import PositionCode, StudentParams

GRID = TokenGrid(4, 3, 4, 2, 16)
PARAMS = StudentParams(size="tiny", depth=2, decoder_depth=1)


def tiny_student(positions: PositionCode = "flat") -> Student:
    torch.manual_seed(0)
    student = build_student(PARAMS.model_copy(update={"positions": positions}), GRID, target_dim=10)
    for parameter in student.parameters():
        # Biases start at zero: a form that loses them must be caught.
        torch.nn.init.normal_(parameter, std=0.1)
    return student


def some_frames(grid: TokenGrid = GRID) -> Tensor:
    canvas = grid.canvas
    size = (2, canvas.num_frames, canvas.height, canvas.width, 3)
    return torch.randint(0, 256, size, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
