from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import assert_same_bits, run_tiny, timeless_rows, tiny_recipe, tiny_store, wait_for_rows, weights

from smile_synth.errors import DamagedStoreError, TrainingError
from smile_synth.store import Store
from smile_synth.training.checkpoint import read_checkpoint
from smile_synth.training.learner import Learner
from smile_synth.training.metrics import read_rows
from smile_synth.training.stop import StopRequest

STAGES = [
    {"name": "objects", "max_steps": 3, "mask": {"kind": "trajectory"}},
    {"name": "tubes", "max_steps": 4, "mask": {"kind": "tube", "masks_per_clip": 2}},
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tiny_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a run stop as if it got SIGTERM after this many updates."""

    def arrange(updates: int) -> None:
        original, done = Learner.update, 0

        def update(*arguments: Any) -> Any:
            nonlocal done
            done += 1
            if done == updates:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(*arguments)

        monkeypatch.setattr(Learner, "update", update)

    return arrange


def test_run_leaves_every_file_that_it_promises(store: Store, tmp_path: Path) -> None:
    recipe = tiny_recipe(watch={"pictures_every_steps": 3, "trackers": ["tensorboard"]})
    summary = run_tiny(store, tmp_path / "run", recipe)
    assert summary.finished
    assert summary.steps == 6
    for name in ("recipe.yaml", "metrics.jsonl", "log.txt", "loss.png", "summary.json", "tensorboard", "pictures"):
        assert (tmp_path / "run" / name).exists(), name
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 6
    assert [path.name for path in (tmp_path / "run" / "pictures").iterdir()]


def test_loss_falls(store: Store, tmp_path: Path) -> None:
    run_tiny(store, tmp_path / "run", tiny_recipe(max_steps=40, watch={"every_steps": 10}))
    losses = [row["loss"] for row in read_rows(tmp_path / "run" / "metrics.jsonl")]
    assert losses[-1] < losses[0] - 0.02


def test_metrics_say_what_a_watcher_needs(store: Store, tmp_path: Path) -> None:
    run_tiny(store, tmp_path / "run", tiny_recipe())
    row = read_rows(tmp_path / "run" / "metrics.jsonl")[0]
    assert {"loss", "learning_rate", "gradient_norm", "clips_per_second", "waiting_share", "memory_gib"} <= set(row)
    assert {"student_std", "student_rank", "target_std", "target_rank", "loss_of_mean"} <= set(row)


def test_no_metric_claims_the_mean_of_features_whose_mean_is_not_known(store: Store, tmp_path: Path) -> None:
    teacher = {"library": "efficientnet_lite0", "pretrained": "random", "layer": "blocks.0", "image_size": 32}
    for standardise, expected in (("channel", True), ("none", False)):
        target = {"kind": "features", "standardise": standardise}
        run_tiny(
            store,
            tmp_path / standardise,
            tiny_recipe(target=target, teacher=teacher, max_steps=1, optimizer={"warmup_steps": 0}),
        )
        row = read_rows(tmp_path / standardise / "metrics.jsonl")[0]
        assert ("loss_of_mean" in row, "student_rank" in row) == (expected, True)


@pytest.mark.parametrize("updates", [1, 4])
@pytest.mark.parametrize("mask", [{"kind": "trajectory"}, {"kind": "tube", "masks_per_clip": 2}])
def test_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    store: Store, tmp_path: Path, stop_after: Any, updates: int, mask: dict[str, Any]
) -> None:
    recipe = tiny_recipe(mask=mask, student={"drop_path": 0.2}, ema_decay=0.9)
    run_tiny(store, tmp_path / "whole", recipe)
    stop_after(updates)
    first = run_tiny(store, tmp_path / "parts", recipe)
    assert (first.steps, first.reason) == (updates, "got SIGTERM")
    assert run_tiny(store, tmp_path / "parts", recipe, resume=True).finished
    assert timeless_rows(tmp_path / "parts") == timeless_rows(tmp_path / "whole")
    assert_same_bits(weights(tmp_path / "parts"), weights(tmp_path / "whole"))
    states = [read_checkpoint(tmp_path / name / "checkpoints" / "latest.pt") for name in ("whole", "parts")]
    assert_same_bits(states[0]["ema"], states[1]["ema"])
    for name, moments in states[0]["optimizer"].items():
        assert_same_bits(moments, states[1]["optimizer"][name])


def test_resume_between_two_lines_of_metrics_keeps_their_means(store: Store, tmp_path: Path, stop_after: Any) -> None:
    recipe = tiny_recipe(watch={"every_steps": 4})
    run_tiny(store, tmp_path / "whole", recipe)
    stop_after(3)
    run_tiny(store, tmp_path / "parts", recipe)
    run_tiny(store, tmp_path / "parts", recipe, resume=True)
    assert timeless_rows(tmp_path / "parts") == timeless_rows(tmp_path / "whole")


@pytest.mark.parametrize("updates", [3, 5])
def test_stages_run_in_order_and_resume_in_whichever_it_was(
    store: Store, tmp_path: Path, stop_after: Any, updates: int
) -> None:
    recipe = tiny_recipe(max_steps=None, stages=STAGES, optimizer={"warmup_steps": 1})
    run_tiny(store, tmp_path / "whole", recipe)
    rows = timeless_rows(tmp_path / "whole")
    assert [row["stage"] for row in rows] == ["objects"] * 3 + ["tubes"] * 4
    assert rows[3]["learning_rate"] == 0, "the second stage warms up again"
    stop_after(updates)
    run_tiny(store, tmp_path / "parts", recipe)
    run_tiny(store, tmp_path / "parts", recipe, resume=True)
    assert timeless_rows(tmp_path / "parts") == rows
    assert_same_bits(weights(tmp_path / "parts"), weights(tmp_path / "whole"))
    assert (tmp_path / "parts" / "checkpoints" / "stage-objects.pt").is_file()


def test_resume_of_a_finished_run_does_nothing_more(store: Store, tmp_path: Path) -> None:
    run_tiny(store, tmp_path / "run", tiny_recipe())
    before = weights(tmp_path / "run")
    assert run_tiny(store, tmp_path / "run", tiny_recipe(), resume=True).finished
    assert_same_bits(weights(tmp_path / "run"), before)


def test_max_hours_saves_and_says_so(store: Store, tmp_path: Path) -> None:
    summary = run_tiny(store, tmp_path / "run", tiny_recipe(), max_hours=0)
    assert (summary.steps, summary.reason) == (1, "0 hours are over")
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "latest.pt")["step"] == 1


def test_second_interrupt_ends_at_once() -> None:
    request = StopRequest()
    request.note(signal.SIGINT)
    assert request.reason == "got SIGINT"
    with pytest.raises(KeyboardInterrupt):
        request.note(signal.SIGINT)


def test_gradient_accumulation_equals_one_large_batch(store: Store, tmp_path: Path) -> None:
    for name, micro in (("large", None), ("micro", 1)):
        run_tiny(store, tmp_path / name, tiny_recipe(runtime={"micro_batch": micro}))
    large, micro_weights = weights(tmp_path / "large"), weights(tmp_path / "micro")
    for name, value in large.items():
        torch.testing.assert_close(micro_weights[name], value, rtol=1e-4, atol=1e-5)
    losses = [[row["loss"] for row in timeless_rows(tmp_path / name)] for name in ("large", "micro")]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


def test_moving_average_lags_behind_the_weights(store: Store, tmp_path: Path) -> None:
    run_tiny(store, tmp_path / "run", tiny_recipe(ema_decay=0.5, checkpoint={"milestone_every_steps": 1}))
    folder = tmp_path / "run" / "checkpoints"
    before, after = (read_checkpoint(folder / f"step-0000000{step}.pt") for step in (3, 4))
    for name, value in after["ema"].items():
        torch.testing.assert_close(value, 0.5 * before["ema"][name] + 0.5 * after["model"][name])


def test_milestones_are_kept_by_rule(store: Store, tmp_path: Path) -> None:
    run_tiny(store, tmp_path / "run", tiny_recipe(checkpoint={"milestone_every_steps": 1, "keep_milestones": 2}))
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["latest.pt", "stage-train.pt", "step-00000004.pt", "step-00000005.pt"]


def test_loss_that_is_not_finite_names_step_and_last_good_checkpoint(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, done = Learner.update, 0

    def update(*arguments: Any) -> Any:
        nonlocal done
        done += 1
        outcome = original(*arguments)
        if done == 4:
            outcome.loss.fill_(float("nan"))
        return outcome

    monkeypatch.setattr(Learner, "update", update)
    recipe = tiny_recipe(watch={"every_steps": 3}, checkpoint={"every_steps": 2})
    with pytest.raises(TrainingError, match=r"loss is nan in update 4; the last good checkpoint is .*after update 2"):
        run_tiny(store, tmp_path / "run", recipe)
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "latest.pt")["step"] == 2


def test_clip_that_cannot_be_read_stops_the_run_and_loses_nothing(tmp_path: Path) -> None:
    store = tiny_store(tmp_path, clips=64)
    shard = max((store.path / "frames").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 255
    shard.write_bytes(data)
    with pytest.raises(DamagedStoreError, match=r"array frames, shard \d+, clip \d+"):
        run_tiny(Store.open(store.path), tmp_path / "run", tiny_recipe(max_steps=16))
    done = read_rows(tmp_path / "run" / "metrics.jsonl")[-1]["step"]
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "latest.pt")["step"] == done


@pytest.mark.parametrize(
    "message", ["DefaultCPUAllocator: can't allocate memory: you tried", "DefaultCPUAllocator: not enough memory: you"]
)
def test_memory_that_runs_out_is_one_line(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    def update(*_: Any) -> Any:
        raise RuntimeError(message)

    monkeypatch.setattr(Learner, "update", update)
    with pytest.raises(TrainingError, match=r"the memory of cpu ran out while training; take fewer clips") as caught:
        run_tiny(store, tmp_path / "run", tiny_recipe())
    assert "\n" not in str(caught.value)


def _start(store: Store, out: Path, recipe: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "smile_synth", "pretrain", str(recipe), "--data", str(store.path)]
    return subprocess.Popen(
        [*command, "--out", str(out), "--device", "cpu", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signal_saves_and_exits_with_the_command_to_resume(store: Store, tmp_path: Path, number: int) -> None:
    recipe, out = tmp_path / "long.yaml", tmp_path / "run"
    recipe.write_text(tiny_recipe(max_steps=100_000).to_yaml())
    process = _start(store, out, recipe)
    wait_for_rows(out, 3)
    process.send_signal(number)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert f"resume with: smile-synth pretrain {recipe}" in said
    assert "--resume" in said
    step = read_checkpoint(out / "checkpoints" / "latest.pt")["step"]
    assert read_rows(out / "metrics.jsonl")[-1]["step"] == step


@pytest.mark.slow
def test_run_killed_at_random_moments_ends_as_if_it_never_was(store: Store, tmp_path: Path) -> None:
    recipe, out = tmp_path / "long.yaml", tmp_path / "killed"
    checked = tiny_recipe(max_steps=200, checkpoint={"every_steps": 7, "milestone_every_steps": 21})
    recipe.write_text(checked.to_yaml())
    rng = np.random.default_rng(0)
    for wanted in (5, 40, 90):
        process = _start(store, out, recipe, "--resume")
        wait_for_rows(out, wanted)
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        process.communicate()
    # All in processes of one thread: sums are taken in another order by two.
    for folder in (out, tmp_path / "whole"):
        process = _start(store, folder, recipe, "--resume")
        said = process.communicate(timeout=240)[0]
        assert process.returncode == 0, said
    assert timeless_rows(out) == timeless_rows(tmp_path / "whole")
    assert_same_bits(weights(out), weights(tmp_path / "whole"))
