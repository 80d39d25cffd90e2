"""A training so small that a test can run dozens of it: a student of 15,000 weights on clips of 4 x 32 x 32."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import torch
from tiny import TinyDataset

from smile_synth.probe.student_probe import evaluation_of
from smile_synth.recipe.layers import merge
from smile_synth.recipe.recipe import Recipe, parse_recipe
from smile_synth.store import Store, render_store
from smile_synth.training.checkpoint import read_checkpoint
from smile_synth.training.metrics import Row, read_rows
from smile_synth.training.summary import RunSummary
from smile_synth.training.trainer import pretrain

# What a row holds that depends on the clock or the machine.
TIMINGS = ("clips_per_second", "waiting_share", "tflops", "memory_gib")


def tiny_recipe(**changes: Any) -> Recipe:
    """Return a recipe that learns normalised pixels; ``changes`` go over its section ``pretrain``."""
    pretraining = {
        "student": {
            "size": "tiny",
            "width": 24,
            "depth": 2,
            "heads": 2,
            "decoder_width": 12,
            "decoder_depth": 1,
            "decoder_heads": 1,
            "patch_size": 8,
        },
        "target": {"kind": "pixels"},
        "batch_size": 4,
        "max_steps": 6,
        "optimizer": {"learning_rate": 0.01, "scale_with_batch": False, "warmup_steps": 2},
        "runtime": {"precision": "float32"},
        "watch": {"every_steps": 1, "features_every_steps": 3, "pictures_every_steps": 0, "trackers": []},
        "checkpoint": {"every_steps": 1000},
    }
    return parse_recipe(
        {"name": "tiny", "seed": 3, "pretrain": merge(pretraining, changes)}, folder=Path.cwd(), origin="tiny"
    )


def tiny_store(folder: Path, **changes: Any) -> Store:
    """Render a store of 12 clips of 4 x 32 x 32, or what ``changes`` say."""
    dataset = TinyDataset(**{"clips": 12, "shard": 4, "size": 32, "frames": 4, **changes})
    return render_store(dataset, folder / "clips.zarr", recipe={}, workers=0)


def run_tiny(store: Store, out: Path, recipe: Recipe, **how: Any) -> RunSummary:
    """Train without a word, on CPU."""
    return pretrain(recipe, [store], out, device="cpu", view=None, evaluation=evaluation_of(recipe), **how)


def weights(out: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a run's latest checkpoint."""
    model: dict[str, torch.Tensor] = read_checkpoint(out / "checkpoints" / "latest.pt")["model"]
    return model


def timeless_rows(out: Path) -> list[Row]:
    """Return a run's metrics without what depends on the clock."""
    rows = read_rows(out / "metrics.jsonl")
    return [{key: value for key, value in row.items() if key not in TIMINGS} for row in rows]


def assert_same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """Assert that two sets of weights are bit-exact."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def wait_for_rows(out: Path, rows: int) -> None:
    """Wait until a run in another process has written this many rows of metrics."""
    deadline = time.monotonic() + 120
    while len(read_rows(out / "metrics.jsonl")) < rows:
        assert time.monotonic() < deadline, "the run did not start"
        time.sleep(0.02)


def start_ranks(command: list[str], **more: str) -> list[subprocess.Popen[str]]:
    """Start the same command as the two tasks of a Slurm step."""
    shared = {
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_STEP_NODELIST": "localhost",
        "OMP_NUM_THREADS": "1",
        **more,
    }
    return [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **shared, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
        )
        for rank in (0, 1)
    ]
