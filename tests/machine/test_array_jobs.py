"""Which part of the shards an array job renders, from variables as Slurm, Kubernetes and SkyPilot set them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smile_synth.errors import ClusterError
from smile_synth.machine.array_jobs import find_place


def slurm(number: int, first: int, last: int, step: int = 1, count: int | None = None) -> dict[str, str]:
    count = len(range(first, last + 1, step)) if count is None else count
    values = {"ID": number, "MIN": first, "MAX": last, "STEP": step, "COUNT": count}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("environment", "count", "part"),
    [
        (slurm(0, 0, 15), None, (1, 16)),
        (slurm(16, 1, 16), 16, (16, 16)),
        (slurm(7, 1, 7, step=2), None, (4, 4)),
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "4"}, None, (4, 4)),
        ({"JOB_COMPLETION_INDEX": "0"}, 16, (1, 16)),
        ({"JOB_COMPLETION_INDEX": "15", "SMILE_SYNTH_SHARD_COUNT": "16"}, None, (16, 16)),
        ({"SKYPILOT_NODE_RANK": "1", "SKYPILOT_NUM_NODES": "2"}, None, (2, 2)),
        # A SkyPilot cluster on Slurm, say, whose two counts agree.
        ({**slurm(1, 0, 1), "SKYPILOT_NODE_RANK": "1", "SKYPILOT_NUM_NODES": "2"}, None, (2, 2)),
    ],
)
def test_every_system_says_which_part(environment: dict[str, str], count: int | None, part: tuple[int, int]) -> None:
    found = find_place(environment, count)
    assert (found.place, found.count) == part


@given(st.integers(0, 50), st.integers(1, 7), st.integers(1, 40))
def test_the_tasks_of_a_slurm_array_take_every_part_once(first: int, step: int, count: int) -> None:
    numbers = range(first, first + count * step, step)
    parts = [find_place(slurm(number, first, numbers[-1], step)) for number in numbers]
    assert [(part.place, part.count) for part in parts] == [(k + 1, count) for k in range(count)]


@pytest.mark.parametrize(
    ("environment", "count", "message"),
    [
        ({}, None, "finds no array job here"),
        ({"SLURM_ARRAY_TASK_ID": "3"}, None, "needs SLURM_ARRAY_TASK_COUNT as a whole number, which is not set"),
        ({**slurm(3, 0, 15), "SLURM_ARRAY_TASK_COUNT": "many"}, None, "got 'many'"),
        (slurm(5, 1, 5, count=3), None, "needs an array without gaps, such as --array=0-15, got 3 tasks"),
        (slurm(3, 0, 15), 8, "should take one of 8 parts, but there are 16 by Slurm"),
        (slurm(20, 0, 15), None, "finds part 21 of 16"),
        ({"JOB_COMPLETION_INDEX": "3"}, None, "--shards auto/16 or SMILE_SYNTH_SHARD_COUNT=16"),
        ({"JOB_COMPLETION_INDEX": "16"}, 16, "finds part 17 of 16"),
        ({"JOB_COMPLETION_INDEX": "1", "SMILE_SYNTH_SHARD_COUNT": "4"}, 8, "contradicts SMILE_SYNTH_SHARD_COUNT=4"),
        ({"SKYPILOT_NODE_RANK": "0"}, None, "SKYPILOT_NUM_NODES"),
        ({**slurm(0, 0, 3), "SKYPILOT_NODE_RANK": "1", "SKYPILOT_NUM_NODES": "2"}, None, "finds two array jobs"),
    ],
)
def test_nothing_found_or_contradictory_is_an_error(
    environment: dict[str, str], count: int | None, message: str
) -> None:
    with pytest.raises(ClusterError, match=re.escape(message)) as caught:
        find_place(environment, count)
    assert "\n" not in str(caught.value)
