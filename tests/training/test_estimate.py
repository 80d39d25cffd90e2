from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny_training import tiny_recipe, tiny_store

from smile_synth.errors import TrainingError
from smile_synth.training.estimate import estimate


def test_dry_run_says_what_a_training_takes_and_writes_nothing(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    rows = dict(estimate(tiny_recipe(), [store], tmp_path / "run", resume=False, device="cpu"))
    assert {"student", "teacher", "tokens", "clips", "processes", "memory", "arithmetic", "time"} <= set(rows)
    assert rows["tokens"] == "2 x 4 x 4 = 32, 8 visible"
    assert rows["stage train"].startswith("6 updates, 3 an epoch, 4 clips x 1 masks each")
    assert sorted(tmp_path.rglob("*")) == before


def test_the_memory_of_a_batch_is_what_was_measured_and_the_rest_by_arithmetic(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    rows = dict(estimate(tiny_recipe(), [store], tmp_path / "run", resume=False, device="cpu"))
    found = re.fullmatch(
        r"about (\S+) GiB a device: (\S+) measured with 4 clips, (\S+) of it weights and moments; (\S+) more for 4 "
        r"clips, 4 at a time",
        rows["memory"],
    )
    assert found is not None, rows["memory"]
    total, measured, _, rest = map(float, found.groups())
    # The process itself, with torch in it; what a tiny student adds is less than the last digit.
    assert 0.2 < measured <= total < 8
    assert rest == pytest.approx(total - measured, abs=0.011)
    assert "updates/s" in rows["time"]


def test_dry_run_finds_what_does_not_fit(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    with pytest.raises(TrainingError, match="a batch takes 100 clips"):
        estimate(tiny_recipe(batch_size=100), [store], tmp_path / "run", resume=False, device="cpu")
