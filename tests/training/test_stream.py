"""Training on virtual stores and on streams: bit-exact, resumable, and no clip twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import assert_same_bits, run_tiny, timeless_rows, tiny_recipe, weights
from typer.testing import CliRunner

from smile_synth.cli import app
from smile_synth.errors import CheckpointError, TrainingError
from smile_synth.generator.dataset import Dataset
from smile_synth.recipe.recipe import load_recipe
from smile_synth.store import render_store
from smile_synth.store.stream import Stream
from smile_synth.training.distributed import join_world
from smile_synth.training.learner import Learner
from smile_synth.training.preflight import check

DATA = """
seed: 5
dataset:
  generator: shapes
  canvas: {height: 32, width: 32, frames: 4}
  CLIPS
"""


def stream(folder: Path, clips: str = "clips: 12", seed: int = 5) -> Stream:
    file = folder / "data.yaml"
    file.write_text(DATA.replace("CLIPS", clips).replace("seed: 5", f"seed: {seed}"))
    return Stream(load_recipe(file))


def test_a_stream_resumes_bit_exact_and_on_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny_recipe(max_steps=5, loading={"render_workers": 1})
    run_tiny(stream(tmp_path), tmp_path / "whole", recipe)
    original, done = Learner.update, 0

    def update(*arguments: Any) -> Any:
        nonlocal done
        done += 1
        if done == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(Learner, "update", update)
    assert run_tiny(stream(tmp_path), tmp_path / "parts", recipe).steps == 3
    with pytest.raises(CheckpointError, match="of a stream, with another recipe, seed, images or code"):
        run_tiny(stream(tmp_path, seed=6), tmp_path / "parts", recipe, resume=True)
    run_tiny(stream(tmp_path), tmp_path / "parts", recipe, resume=True)
    assert timeless_rows(tmp_path / "parts") == timeless_rows(tmp_path / "whole")
    assert_same_bits(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


@pytest.mark.slow
def test_a_virtual_store_trains_the_weights_of_the_full_one(tmp_path: Path) -> None:
    file = tmp_path / "data.yaml"
    file.write_text(DATA.replace("CLIPS", "clips: 12"))
    made_from = load_recipe(file)
    recipe = tiny_recipe(max_steps=4, target={"kind": "pixels", "motion": {"tokens": "visible"}})
    for name in ("full", "virtual"):
        store = render_store(
            Dataset.of(made_from), tmp_path / name, recipe=made_from.resolved(), is_virtual=name == "virtual"
        )
        run_tiny(store, tmp_path / f"run-{name}", recipe)
    assert_same_bits(weights(tmp_path / "run-virtual"), weights(tmp_path / "run-full"))


STAGES = [{"name": "one", "max_steps": 3, "mask": {"masks_per_clip": 2}}, {"name": "two", "max_steps": 4}]


def test_every_stage_begins_behind_the_clips_of_the_one_before(tmp_path: Path) -> None:
    recipe = tiny_recipe(max_steps=None, stages=STAGES, optimizer={"warmup_steps": 1})
    with join_world("cpu") as world:
        job = check(recipe, [stream(tmp_path)], tmp_path / "run", resume=False, world=world)
    assert [job.first_clip(number) for number in (0, 1)] == [0, 6]
    assert job.clips_text == "clips of a stream, 12 an epoch"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_steps": None, "epochs": 2}, "epochs of stage 'train' needs dataset.clips"),
        (
            {"optimizer": {"warmup_steps": None, "warmup_epochs": 1}},
            "the warm-up of stage 'train' .* needs",
        ),
    ],
)
def test_epochs_need_the_clips_that_make_one(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    recipe = tiny_recipe(**changes)
    with join_world("cpu") as world:
        with pytest.raises(TrainingError, match=message):
            check(recipe, [stream(tmp_path, "")], tmp_path / "run", resume=False, world=world)
        check(recipe, [stream(tmp_path)], tmp_path / "run", resume=False, world=world)
        steps = check(tiny_recipe(), [stream(tmp_path, "")], tmp_path / "run", resume=False, world=world)
    assert sum(stage.num_steps for stage in steps.stages) == 6


@pytest.mark.slow
def test_the_command_line_takes_a_stream(tmp_path: Path) -> None:
    stream(tmp_path)
    (tmp_path / "train.yaml").write_text(tiny_recipe(max_steps=2, optimizer={"warmup_steps": 1}).to_yaml())
    words = ["pretrain", str(tmp_path / "train.yaml"), "--data", f"stream:{tmp_path / 'data.yaml'}"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "run"), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "2 of 2 updates" in result.output


def test_two_streams_are_one_line_of_error(tmp_path: Path) -> None:
    stream(tmp_path)
    (tmp_path / "train.yaml").write_text(tiny_recipe().to_yaml())
    words = ["pretrain", str(tmp_path / "train.yaml"), "--out", str(tmp_path / "run"), "--device", "cpu"]
    mixed = CliRunner().invoke(app, [*words, *(2 * ["--data", f"stream:{tmp_path / 'data.yaml'}"])])
    assert mixed.exit_code == 2
    assert "cannot be mixed" in mixed.output


@pytest.mark.slow
def test_two_processes_read_the_stream_that_one_does(tmp_path: Path) -> None:
    recipe, data = tiny_recipe(max_steps=5, optimizer={"clip_grad_norm": 0.1}), stream(tmp_path)
    run_tiny(data, tmp_path / "one", recipe)
    (tmp_path / "train.yaml").write_text(recipe.to_yaml())
    command = [sys.executable, "-m", "smile_synth", "pretrain", str(tmp_path / "train.yaml"), "--processes", "2"]
    command += ["--data", f"stream:{tmp_path / 'data.yaml'}", "--out", str(tmp_path / "two"), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    losses = [[row["loss"] for row in timeless_rows(tmp_path / run)] for run in ("one", "two")]
    np.testing.assert_allclose(losses[1], losses[0], atol=1e-5)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4)


def test_the_python_api_takes_a_stream_by_name(tmp_path: Path) -> None:
    from smile_synth.api.inputs import as_stores

    made = stream(tmp_path)
    (named,) = as_stores(f"stream:{tmp_path / 'data.yaml'}")
    assert named.digest == made.digest
    assert as_stores(made) == [made]
