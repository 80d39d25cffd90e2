"""The token grid of a canvas."""

from __future__ import annotations

import pytest

from smile_synth.errors import ModelError
from smile_synth.masking.grid import TokenGrid
from smile_synth.scene import Canvas


def test_the_published_grid() -> None:
    grid = TokenGrid.of(Canvas(224, 224, 16), tubelet_size=2, patch_size=16)
    assert (grid.tubelets, grid.rows, grid.columns, grid.num_tokens) == (8, 14, 14, 1568)
    assert grid.pixels_per_token == 1536
    assert (grid.canvas.height, grid.canvas.width, grid.canvas.num_frames) == (224, 224, 16)


@pytest.mark.parametrize(
    ("canvas", "message"),
    [(Canvas(224, 224, 15), "tubelet_size 2 must divide the clip's 15 frames"),
     (Canvas(224, 220, 16), "patch_size 16 must divide the clip's height 224 and width 220")],
)  # fmt: skip
def test_a_canvas_that_tokens_do_not_divide_is_refused(canvas: Canvas, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        TokenGrid.of(canvas, tubelet_size=2, patch_size=16)
