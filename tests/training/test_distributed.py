from __future__ import annotations

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
from tiny_training import run_tiny, start_ranks, timeless_rows, tiny_recipe, tiny_store, wait_for_rows, weights

from smile_synth.errors import TrainingError
from smile_synth.recipe.recipe import Recipe
from smile_synth.store import Store
from smile_synth.training.checkpoint import read_checkpoint
from smile_synth.training.device import pick_device
from smile_synth.training.distributed import RankInfo, find_rank, first_host

# All that motion as a target has: both kinds of tokens, quarters, a decoder of its own.
MOTION = {"tokens": "all", "cells": 1, "head": "decoder"}


def test_without_a_launcher_we_are_alone() -> None:
    assert find_rank({}) == (RankInfo(0, 1, 0), {})


def test_torchrun_variables_are_read() -> None:
    variables = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "5"}
    assert find_rank(variables) == (RankInfo(3, 4, 1), {"MASTER_ADDR": "a", "MASTER_PORT": "5"})


def test_slurm_step_is_read() -> None:
    variables = {
        "SLURM_STEP_ID": "0",
        "SLURM_PROCID": "5",
        "SLURM_STEP_NUM_TASKS": "8",
        "SLURM_NTASKS": "16",
        "SLURM_LOCALID": "1",
        "SLURM_JOB_ID": "123456",
        "SLURM_STEP_NODELIST": "gpu[03-05,9],cpu1",
    }
    info, master = find_rank(variables)
    assert info == RankInfo(5, 8, 1)
    assert master["MASTER_ADDR"] == "gpu03"
    assert 1024 < int(master["MASTER_PORT"]) < 65536


def test_slurm_batch_script_without_srun_is_one_process() -> None:
    assert find_rank({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"})[0].size == 1


@pytest.mark.parametrize(
    ("nodes", "host"),
    [("gpu1", "gpu1"), ("gpu1,gpu2", "gpu1"), ("gpu[07-12]", "gpu07"), ("a-[1,3]-ib,b", "a-1-ib")],
)
def test_first_host_of_a_node_list(nodes: str, host: str) -> None:
    assert first_host(nodes) == host


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "4", "WORLD_SIZE": "4", "MASTER_ADDR": "a", "MASTER_PORT": "5"}, "rank must be 0 to 3, got 4"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "start with torchrun"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK must be a whole number, got 'x'"),
    ],
)
def test_contradicting_variables_are_refused(variables: dict[str, str], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        find_rank(variables)


def test_unknown_and_absent_devices_are_refused() -> None:
    with pytest.raises(TrainingError, match="device must be auto, cpu or cuda, got 'tpu'"):
        pick_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="sees no CUDA device; use --device cpu"):
            pick_device("cuda")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tiny_store(tmp_path_factory.mktemp("store"))


def _train_in_two(store: Store, out: Path, recipe: Recipe, *more: str, launcher: str = "processes") -> str:
    """Train in two gloo processes; returns what they said."""
    path = out.with_suffix(".yaml")
    path.write_text(recipe.to_yaml())
    command = ["-m", "smile_synth", "pretrain", str(path), "--data", str(store.path), "--out", str(out)]
    if launcher == "torchrun":
        command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *command]
    else:
        command += ["--processes", "2"]
    done = _run([sys.executable, *command, "--device", "cpu", *more])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stderr
    return done.stdout


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)


def _losses(out: Path) -> list[float]:
    return [row["loss"] for row in timeless_rows(out)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "launcher"),
    [
        ({"mask": {"masks_per_clip": 2}, "runtime": {"micro_batch": 1}}, "processes"),
        ({"runtime": {"sharding": "shard"}, "ema_decay": 0.9}, "torchrun"),
        ({"target": {"kind": "pixels", "motion": MOTION}}, "processes"),
        ({"target": {"kind": "motion", "motion": MOTION}, "runtime": {"sharding": "shard"}}, "processes"),
    ],
    ids=["replicate", "shard", "pixels and motion, replicate", "motion, shard"],
)
def test_two_processes_give_the_curve_of_one(
    store: Store, tmp_path: Path, changes: dict[str, Any], launcher: str
) -> None:
    recipe = tiny_recipe(max_steps=5, optimizer={"clip_grad_norm": 0.1}, **changes)
    run_tiny(store, tmp_path / "one", recipe)
    said = _train_in_two(store, tmp_path / "two", recipe, launcher=launcher)
    assert said.count("5 of 5 updates") == 1, "one process talks"
    np.testing.assert_allclose(_losses(tmp_path / "two"), _losses(tmp_path / "one"), atol=1e-5)
    for key in ("student_rank", "target_rank"):
        ranks = [[row[key] for row in timeless_rows(tmp_path / run) if key in row] for run in ("one", "two")]
        np.testing.assert_allclose(ranks[1], ranks[0], rtol=1e-3, err_msg="over all ranks, not half of them")
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_two_processes_share_cached_features_as_one_reads_them(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    teacher = {"library": "efficientnet_lite0", "pretrained": "random", "layer": "blocks.0", "image_size": 32}
    target = {"kind": "features", "motion": MOTION}
    recipe = tiny_recipe(target=target, teacher={**teacher, "cache": "require"}, max_steps=3)
    (tmp_path / "cached.yaml").write_text(recipe.to_yaml())
    caching = ["cache", str(store.path), "--recipe", str(tmp_path / "cached.yaml"), "--device", "cpu"]
    done = _run([sys.executable, "-m", "smile_synth", *caching])
    assert done.returncode == 0, done.stdout + done.stderr
    run_tiny(store, tmp_path / "one", recipe)
    _train_in_two(store, tmp_path / "two", recipe)
    np.testing.assert_allclose(_losses(tmp_path / "two"), _losses(tmp_path / "one"), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["replicate", "shard"])
def test_run_goes_on_with_another_number_of_processes(store: Store, tmp_path: Path, sharding: str) -> None:
    recipe = tiny_recipe(max_steps=5, runtime={"sharding": sharding})
    run_tiny(store, tmp_path / "one", recipe)
    said = _train_in_two(store, tmp_path / "parts", recipe, "--max-hours", "0")
    assert "1 of 5 updates" in said
    run_tiny(store, tmp_path / "parts", recipe, resume=True, max_hours=0)
    assert "5 of 5 updates" in _train_in_two(store, tmp_path / "parts", recipe, "--resume")
    np.testing.assert_allclose(_losses(tmp_path / "parts"), _losses(tmp_path / "one"), atol=1e-5)


@pytest.mark.slow
def test_signal_to_one_task_of_a_slurm_step_stops_all_of_them(store: Store, tmp_path: Path) -> None:
    recipe, out = tmp_path / "long.yaml", tmp_path / "run"
    recipe.write_text(tiny_recipe(max_steps=100_000).to_yaml())
    command = [sys.executable, "-m", "smile_synth", "pretrain", str(recipe), "--data", str(store.path)]
    tasks = start_ranks([*command, "--out", str(out), "--device", "cpu"])
    wait_for_rows(out, 3)
    tasks[1].send_signal(signal.SIGUSR1)
    said = [task.communicate(timeout=120)[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], said
    assert "another process was asked to stop" in said[0]
    assert "resume with:" in said[0]
    assert read_checkpoint(out / "checkpoints" / "latest.pt")["step"] >= 3


@pytest.mark.slow
def test_damaged_clip_of_one_rank_saves_and_ends_all_with_one_message(tmp_path: Path) -> None:
    store = tiny_store(tmp_path, clips=64)
    shard = max((store.path / "frames").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 255
    shard.write_bytes(data)
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(tiny_recipe(max_steps=16).to_yaml())
    command = [sys.executable, "-m", "smile_synth", "pretrain", str(recipe), "--data", str(store.path)]
    said = _run([*command, "--out", str(out), "--device", "cpu", "--processes", "2"])
    assert said.returncode == 2
    lines = [line for line in (said.stdout + said.stderr).splitlines() if not line.startswith("pretrain: ")]
    assert len(lines) == 1, "neither tracebacks nor warnings, and no second message"
    assert "array frames, shard" in lines[0]
    done = timeless_rows(out)[-1]["step"]
    assert done > 0
    assert read_checkpoint(out / "checkpoints" / "latest.pt")["step"] == done


WORLD = """
import os, sys, time
from datetime import timedelta
from smile_synth.errors import SmileSynthError
from smile_synth.training import distributed
distributed.COLLECTIVE_TIMEOUT = timedelta(seconds={timeout_s})
{work}
try:
    with distributed.join_world("cpu") as world:
        work(world)
except SmileSynthError as error:
    sys.exit(f"smile-synth: {{error}}")
"""


@pytest.mark.slow
def test_ranks_wait_for_the_first_longer_than_a_collective_may_take() -> None:
    work = """
def work(world):
    found = world.from_first(lambda: time.sleep(8) or {"rank": world.rank})
    world.barrier()
    print(found)
"""
    tasks = start_ranks([sys.executable, "-c", WORLD.format(work=work, timeout_s=5)])
    said = [task.communicate(timeout=60)[0] for task in tasks]
    assert said == ["{'rank': 0}\n"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.parametrize("others", ["world.barrier()", "world.from_first(lambda: time.sleep(60))", "time.sleep(60)"])
def test_error_of_one_rank_ends_all_at_once_with_its_message(failing: int, others: str) -> None:
    work = f"""
def work(world):
    if world.rank == {failing}:
        time.sleep(0.5)
        raise SmileSynthError(f"rank {{world.rank}} has had enough")
    {others}
"""
    began = time.monotonic()
    tasks = start_ranks([sys.executable, "-c", WORLD.format(work=work, timeout_s=60)])
    said = [task.communicate(timeout=60)[0] for task in tasks]
    assert "".join(said) == f"smile-synth: rank {failing} has had enough\n"
    assert all(task.returncode for task in tasks)
    assert time.monotonic() - began < 45


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_to_the_launcher_saves_and_ends_all(store: Store, tmp_path: Path, number: int) -> None:
    recipe, out = tmp_path / "long.yaml", tmp_path / "run"
    recipe.write_text(tiny_recipe(max_steps=100_000).to_yaml())
    command = [sys.executable, "-m", "smile_synth", "pretrain", str(recipe), "--data", str(store.path)]
    launcher = subprocess.Popen(
        [*command, "--out", str(out), "--device", "cpu", "--processes", "2"], stdout=subprocess.PIPE, text=True
    )
    wait_for_rows(out, 3)
    launcher.send_signal(number)
    said = launcher.communicate(timeout=60)[0]
    assert launcher.returncode == 0
    assert "--processes 2 --resume" in said
    assert read_checkpoint(out / "checkpoints" / "latest.pt")["step"] >= 3


@pytest.mark.slow
def test_bad_input_to_several_processes_is_one_line(store: Store, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(tiny_recipe(batch_size=3).to_yaml())
    command = [sys.executable, "-m", "smile_synth", "pretrain", str(recipe), "--out", str(tmp_path / "run")]
    for data, what in ((tmp_path / "absent.zarr", "absent.zarr"), (store.path, "3 clips must be divisible by the 2")):
        done = _run([*command, "--data", str(data), "--device", "cpu", "--processes", "2"])
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert what in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_dry_run_of_several_processes_speaks_once(store: Store, tmp_path: Path) -> None:
    said = _train_in_two(store, tmp_path / "run", tiny_recipe(), "--dry-run")
    assert said.count("Nothing was written") == 1
    assert "2 x cpu" in said
