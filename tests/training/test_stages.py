from __future__ import annotations

import pytest

from smile_synth.errors import TrainingError
from smile_synth.recipe.pretrain import MaskParams, OptimizerParams, PretrainParams, StageParams
from smile_synth.training.stages import locate, plan_stages

QUICK = OptimizerParams(warmup_steps=0)


def params(**changes: object) -> PretrainParams:
    return PretrainParams.model_validate({"batch_size": 8, "epochs": 3, "optimizer": QUICK, **changes})


def test_two_masks_a_clip_double_the_steps_of_a_pass() -> None:
    one = plan_stages(params(), num_clips=64)[0]
    two = plan_stages(params(mask=MaskParams(masks_per_clip=2)), num_clips=64)[0]
    assert (one.steps_per_epoch, one.num_steps, one.clips_per_batch) == (8, 24, 8)
    assert (two.steps_per_epoch, two.num_steps, two.clips_per_batch) == (16, 48, 4)
    assert two.rate(47) < two.rate(46), "the schedule ends with the last step"


def test_published_schedule_is_made_for_half_the_steps_with_two_masks() -> None:
    published = OptimizerParams(warmup_steps=0, schedule="published")
    stage = plan_stages(params(mask=MaskParams(masks_per_clip=2), optimizer=published), num_clips=64)[0]
    assert stage.schedule.num_steps == 24
    assert stage.rate(16) == stage.rate(8), "the second epoch starts where the first was half way"
    assert stage.rate(47) == stage.schedule.rate(23)


def test_learning_rate_grows_with_the_batch() -> None:
    stage = plan_stages(params(), num_clips=64)[0]
    assert stage.rate(0) == pytest.approx(1.5e-4 * 8 / 256)


def test_max_steps_cuts_the_stage_and_its_schedule() -> None:
    stage = plan_stages(params(max_steps=5), num_clips=64)[0]
    assert stage.num_steps == stage.schedule.num_steps == 5


def test_store_smaller_than_a_batch_is_refused() -> None:
    with pytest.raises(
        TrainingError, match=r"a batch takes 8 clips \(.*, 1 mask a clip\), the store holds 7; render more"
    ):
        plan_stages(params(), num_clips=7)


def test_long_warmup_names_the_stage() -> None:
    with pytest.raises(TrainingError, match=r"stage 'train': the warm-up must be shorter"):
        plan_stages(params(optimizer=OptimizerParams(warmup_epochs=3)), num_clips=64)


def test_locate_walks_through_the_stages() -> None:
    stages = (StageParams(name="a", max_steps=2), StageParams(name="b", max_steps=3))
    plan = plan_stages(params(epochs=None, stages=stages), num_clips=64)
    assert [locate(plan, step) for step in range(6)] == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (1, 3)]
