from __future__ import annotations

import json
import os
import re
import subprocess
import sys
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


@pytest.mark.parametrize(
    ("micro_batch", "free_nbytes", "timed"),
    [(None, 2**40, 8), (6, 2**40, 6), (None, 0, 4)],
    ids=["all", "micro", "full"],
)
def test_updates_are_timed_on_as_many_clips_as_are_trained_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, micro_batch: int | None, free_nbytes: int, timed: int
) -> None:
    monkeypatch.setattr("smile_synth.training.estimate._free_nbytes", lambda device: free_nbytes)
    # Whatever else the machine does.
    monkeypatch.setattr("smile_synth.training.estimate._update_s", lambda *_: 0.01)
    monkeypatch.setattr("smile_synth.training.estimate.PATIENCE_S", 100.0)
    recipe = tiny_recipe(batch_size=12 if micro_batch else 8, runtime={"micro_batch": micro_batch})
    rows = dict(estimate(recipe, [tiny_store(tmp_path)], tmp_path / "run", resume=False, device="cpu"))
    assert f"measured with {timed} at a time" in rows["time"]
    assert f"measured with {timed} clips" in rows["memory"]


def test_a_long_update_is_long_enough_to_forecast_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smile_synth.training.estimate._update_s", lambda *_: 0.6)
    recipe = tiny_recipe(batch_size=8, max_steps=10)
    rows = dict(estimate(recipe, [tiny_store(tmp_path)], tmp_path / "run", resume=False, device="cpu"))
    assert "measured with 4 at a time" in rows["time"]
    # Ten updates on two lots of four clips.
    assert rows["time"].startswith("about 12 s (0.15 s a clip")


def test_dry_run_finds_what_does_not_fit(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    with pytest.raises(TrainingError, match="a batch takes 100 clips"):
        estimate(tiny_recipe(batch_size=100), [store], tmp_path / "run", resume=False, device="cpu")


TINY = {"size": "tiny", "width": 128, "depth": 4, "heads": 2, "decoder_width": 96, "decoder_depth": 2, "patch_size": 8}
STUDENTS = {
    "demo": ({"clips": 256, "frames": 8}, {"student": TINY, "batch_size": 128}),
    "small": (
        {"clips": 32, "size": 112, "frames": 16},
        {"student": {"size": "small", "patch_size": 16}, "mask": {"kind": "tube", "ratio": 0.75}, "batch_size": 16},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDENTS)
def test_forecast_of_memory_is_within_30_percent_of_what_is_used(tmp_path: Path, name: str) -> None:
    clips, training = STUDENTS[name]
    store = tiny_store(tmp_path, **clips)
    (tmp_path / "mine.yaml").write_text(
        json.dumps(
            {
                "pretrain": {
                    **training,
                    "target": {"kind": "pixels"},
                    "max_steps": 3,
                    "optimizer": {"learning_rate": 1e-4, "warmup_steps": 1},
                }
            }
        )
    )
    command = [sys.executable, "-m", "smile_synth", "pretrain", str(tmp_path / "mine.yaml"), "--device", "cpu"]
    command += ["--data", str(store.path), "--out", str(tmp_path / "run")]
    environment = {**os.environ, "COLUMNS": "300"}
    dry = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=True, env=environment).stdout
    found = re.search(r"memory +about ([\d.]+) GiB a device", dry)
    assert found is not None, dry
    subprocess.run(command, capture_output=True, check=True, env=environment)
    used = json.loads((tmp_path / "run" / "summary.json").read_text())["memory_gib"]
    assert float(found[1]) == pytest.approx(used, rel=0.3), dry
