from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from smile_synth.masking.grid import TokenGrid
from smile_synth.training.pictures import CAPTION_PX, FONT_PX, GAP_PX, MIN_WIDTH_PX, captioned, loss_curve, mask_panels

GRID = TokenGrid(tubelets=2, rows=2, columns=2, tubelet_size=2, patch_size=4)
FRAMES = np.full((4, 8, 8, 3), 200, np.uint8)


def test_panels_show_input_visible_patches_and_errors() -> None:
    is_masked = np.zeros(8, bool)
    is_masked[[0, 5]] = True
    errors = np.zeros(8, np.float32)
    errors[[0, 5]] = (1.0, 3.0)
    whole, seen, wrong = mask_panels(FRAMES, is_masked, GRID, error_N=errors)
    assert {panel.tiles_THWC.shape for panel in (whole, seen, wrong)} == {(2, 8, 8, 3)}
    assert (whole.tiles_THWC == 200).all()
    assert (seen.tiles_THWC[0, :4, :4] == 128).all(), "token 0 is hidden in the first tubelet"
    assert (seen.tiles_THWC[1, :4, 4:] == 128).all(), "token 5 is hidden in the second tubelet, on the right"
    assert (seen.tiles_THWC[0, 4:, :4] == 200).all(), "token 2 is visible"
    assert wrong.tiles_THWC[1, 0, 4].sum() > wrong.tiles_THWC[0, 0, 0].sum(), "the larger error is brighter"
    assert wrong.largest == 3.0


def test_panels_show_true_motion_above_predicted_motion() -> None:
    true, predicted = np.zeros((8, 2), np.float32), np.full((8, 2), np.nan, np.float32)
    true[5], predicted[5] = (4.0, 0.0), (1.0, 0.0)
    panels = mask_panels(FRAMES, np.arange(8) == 5, GRID, motions_N2=[true, predicted])
    assert [panel.caption for panel in panels[2:]] == ["true motion", "predicted motion"]
    real, guess = (panel.tiles_THWC for panel in panels[2:])
    assert (real[1, :4, 4:] == (255, 0, 0)).all(), "token 5 moves to the right, faster than all others"
    assert not real[0].any(), "nothing moves in the first tubelet"
    assert (guess[1, :4, 4:] == (128, 0, 0)).all(), "a quarter as fast is half as bright"
    assert (guess[0] == 128).all(), "nothing was predicted there"


def test_picture_has_a_caption_above_every_row_and_scales_for_colours() -> None:
    errors = np.full(8, 2.5, np.float32)
    motion = np.ones((8, 2), np.float32)
    panels = mask_panels(FRAMES, np.arange(8) < 4, GRID, error_N=errors, motions_N2=[motion, motion])
    plain, with_wheel = captioned(panels, "update 3"), captioned(panels, "update 3", limit_px=1.0)
    assert with_wheel.shape[0] > plain.shape[0]
    step = CAPTION_PX + 128 + GAP_PX
    for number, panel in enumerate(panels):
        top = CAPTION_PX + GAP_PX + number * step
        strip = plain[top : top + CAPTION_PX]
        assert (strip < 200).any(), f"{panel.caption} is written down"
        rows = plain[top + CAPTION_PX : top + CAPTION_PX + 128]
        for place, tile in enumerate(panel.tiles_THWC):
            left = GAP_PX + place * (128 + GAP_PX)
            assert (rows[:, left : left + 128] == tile.repeat(16, 0).repeat(16, 1)).all()
        # Only the scale of the errors is coloured; words are grey.
        is_coloured = (np.ptp(strip.astype(int), axis=-1) > 60).any()
        assert is_coloured == (panel.largest is not None)


def test_caption_of_predicted_motion_says_why_tokens_are_grey() -> None:
    motions = [np.ones((8, 2), np.float32)] * 2
    panels = mask_panels(FRAMES, np.arange(8) < 4, GRID, motions_N2=motions, unpredicted="hidden tokens")
    assert panels[2].caption == "true motion"
    assert panels[3].caption == "predicted motion; grey: hidden tokens, which are not predicted"
    assert ImageFont.load_default(FONT_PX).getlength(panels[3].caption) < MIN_WIDTH_PX


def test_smoothed_loss_follows_a_loss_that_falls_by_orders_of_magnitude(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.axes import Axes

    titles = []
    monkeypatch.setattr(Axes, "set_title", lambda axes, text, **_: titles.append(text))
    losses = [*np.geomspace(1.0, 0.0016, 20), *[0.0016] * 20]
    loss_curve([{"step": i, "loss": loss, "stage": "a"} for i, loss in enumerate(losses)], tmp_path / "loss.png")
    assert titles == ["40 points, last smoothed 0.0016"]


def test_loss_curve_shows_what_predicting_the_mean_loses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    drawn = {}
    plot = Axes.plot

    def keep(axes, x, y, **how):
        drawn[how["label"]] = (list(x), list(y))
        return plot(axes, x, y, **how)

    monkeypatch.setattr(Axes, "plot", keep)
    rows = [{"step": step, "loss": 1 / step, "stage": "a" if step < 5 else "b"} for step in range(1, 10)]
    rows[0]["loss_of_mean"], rows[2]["loss_of_mean"], rows[5]["loss_of_mean"] = 0.9, 0.7, 2.0
    loss_curve(rows, tmp_path / "loss.png")
    assert Image.open(tmp_path / "loss.png").size[0] > 400
    assert drawn["predicting the mean"] == ([1, 4], pytest.approx([0.8, 0.8]))
    assert drawn["_again"] == ([5, 9], [2.0, 2.0])
    assert drawn["smoothed"][1] != drawn["loss"][1], "few points are smoothed too, so that both curves are seen"
