"""What masks hide of objects is counted right, and their picture shows it."""

from __future__ import annotations

import numpy as np
import pytest

from smile_synth.masking.grid import TokenGrid
from smile_synth.recipe.pretrain import MaskParams, PretrainParams, StageParams
from smile_synth.report.measure.mask_statistics import HIDDEN_GREY, MaskSummary, seen_frames
from smile_synth.report.measure.training_plan import TrainingPlan, plan_of_store
from smile_synth.scene import Canvas

GRID = TokenGrid(2, 10, 10, 2, 4)


def boxes_of_a_corner(clips):
    """Return boxes over the 5 x 4 tokens of one corner, in all frames."""
    boxes = np.full((clips, 2, 4, 4), np.nan, np.float32)
    boxes[:, 0] = (0, 0, 16, 20)
    return boxes


def test_trajectory_masks_hide_objects_but_for_the_published_tenth():
    params = MaskParams(kind="trajectory", ratio=0.5, region="tight")
    summary = MaskSummary("train", params, GRID, seed=0)
    for _ in range(3):
        summary.add(boxes_of_a_corner(20))
    masks = summary.summary()
    assert (masks.tokens, masks.hidden_tokens, masks.wrong_counts) == (200, 100, 0)
    assert masks.object_token_share == pytest.approx(0.2)
    assert masks.object_tokens_hidden == pytest.approx(0.9)
    assert masks.other_tokens_hidden == pytest.approx((100 - 36) / 160)


def test_tube_masks_hide_objects_like_everything_else():
    summary = MaskSummary("train", MaskParams(kind="tube", ratio=0.75), GRID, seed=0)
    summary.add(boxes_of_a_corner(400))
    assert summary.summary().object_tokens_hidden == pytest.approx(0.75, abs=0.02)


def test_clips_without_objects_have_no_share_of_object_tokens():
    summary = MaskSummary("train", MaskParams(kind="tube", ratio=0.75), GRID, seed=0)
    summary.add(np.full((3, 1, 4, 4), np.nan, np.float32))
    masks = summary.summary()
    assert masks.object_tokens_hidden is None
    assert masks.other_tokens_hidden == pytest.approx(0.75)


def test_picture_greys_exactly_the_hidden_share():
    frames = np.zeros((4, 40, 40, 3), np.uint8)
    seen = seen_frames(frames, boxes_of_a_corner(1)[0], MaskParams(kind="random", ratio=0.75), GRID, seed=0)
    assert (seen == HIDDEN_GREY).mean() == pytest.approx(0.75)


def test_epochs_count_stages_steps_and_masks():
    stages = (
        StageParams(name="one", epochs=150, mask=MaskParams(kind="trajectory", masks_per_clip=2)),
        StageParams(name="two", max_steps=100, mask=MaskParams(kind="tube")),
    )
    plan = TrainingPlan("two stages", PretrainParams(batch_size=32, stages=stages))
    assert plan.epochs(320) == pytest.approx(150 + 10)
    assert [stage for stage, _ in plan.masks] == ["one", "two"]


def test_recipe_that_does_not_fit_the_store_is_left_out():
    pretrain = PretrainParams(epochs=2).model_dump(mode="json")
    assert plan_of_store({"pretrain": pretrain}, Canvas(32, 32, 4)) is not None
    assert plan_of_store({"pretrain": pretrain}, Canvas(30, 32, 4)) is None
    assert plan_of_store({"pretrain": {"epoch": 2}}, Canvas(32, 32, 4)) is None
    assert plan_of_store({}, Canvas(32, 32, 4)) is None
