from __future__ import annotations

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


def test_dry_run_finds_what_does_not_fit(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    with pytest.raises(TrainingError, match="a batch takes 100 clips"):
        estimate(tiny_recipe(batch_size=100), [store], tmp_path / "run", resume=False, device="cpu")
