"""What a recipe says of a dataset: the cells of its motion."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from smile_synth.recipe.dataset import DatasetParams


def dataset(height: int, width: int, **store: Any) -> DatasetParams:
    return DatasetParams.model_validate({"canvas": {"height": height, "width": width}, "store": store})


@pytest.mark.parametrize(
    ("height", "width", "cell_px"),
    [(224, 224, 8), (64, 96, 8), (98, 98, 7), (100, 100, 10), (143, 121, 11), (37, 41, None), (10, 14, None)],
)
def test_cells_default_to_what_tiles_the_canvas_and_is_nearest_to_8(height: int, width: int, cell_px: int) -> None:
    assert dataset(height, width).motion_cell_px == cell_px


def test_cells_can_be_chosen_and_motion_switched_off() -> None:
    assert dataset(224, 224, motion={"cell_px": 16}).motion_cell_px == 16
    assert dataset(224, 224, motion=None).motion_cell_px is None


def test_cells_that_do_not_tile_the_canvas_are_refused() -> None:
    with pytest.raises(ValidationError, match="must divide both sides of the canvas, 224 and 100 px, got 8"):
        dataset(224, 100, motion={"cell_px": 8})
