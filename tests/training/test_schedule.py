from __future__ import annotations

import json
from pathlib import Path

import pytest

from smile_synth.errors import TrainingError
from smile_synth.training.schedule import Schedule, published_step

# Computed by the published SMILE code (see README.md in the folder).
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "lr_schedule.json").read_text())


def test_schedule_equals_the_published_one_exactly() -> None:
    args, values = GOLDEN["stage"]["args"], GOLDEN["stage"]["values"]
    steps_per_epoch = args["niter_per_ep"]
    schedule = Schedule(
        base=args["base_value"],
        floor=args["final_value"],
        num_steps=args["epochs"] * steps_per_epoch,
        warmup_steps=args["warmup_epochs"] * steps_per_epoch,
        start=args["start_warmup_value"],
    )
    assert [schedule.rate(step) for step in range(schedule.num_steps)] == values


def test_schedule_without_warmup_starts_at_its_base() -> None:
    assert Schedule(base=1.0, floor=0.0, num_steps=10).rate(0) == 1.0


def test_warmup_as_long_as_the_stage_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"warm-up must be shorter than the stage's 5 steps, got 5"):
        Schedule(base=1.0, floor=0.0, num_steps=5, warmup_steps=5)


def test_published_count_steps_back_at_every_epoch_with_two_masks() -> None:
    assert [published_step(step, 4, 2) for step in range(8)] == [0, 1, 2, 3, 2, 3, 4, 5]
