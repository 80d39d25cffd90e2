"""Probing while a student is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_training
from tiny_training import run_tiny, tiny_recipe, tiny_store

from smile_synth.errors import RecipeError
from smile_synth.recipe.recipe import Recipe, load_recipe
from smile_synth.training.metrics import read_rows

OVERRIDES = ["probe.train_clips=64", "probe.test_clips=32", "probe.min_clips_per_class=2"]


def probing_recipe() -> Recipe:
    probe = load_recipe("probe-motion", OVERRIDES).probe
    return tiny_recipe(watch={"probe_every_epochs": 1}).model_copy(update={"probe": probe})


def test_a_training_probes_every_epoch_and_learns_the_same(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    run_tiny(store, tmp_path / "probed", probing_recipe())
    run_tiny(store, tmp_path / "plain", tiny_recipe())
    rows = read_rows(tmp_path / "probed" / "metrics.jsonl")
    assert [row["step"] for row in rows if "probe/direction/linear" in row] == [3, 6]
    assert all(0 <= row["probe/outline/linear"] <= 1 for row in rows if "probe/outline/linear" in row)
    plain = read_rows(tmp_path / "plain" / "metrics.jsonl")
    assert [row["loss"] for row in rows] == [row["loss"] for row in plain]
    tiny_training.assert_same_bits(*(tiny_training.weights(tmp_path / run) for run in ("probed", "plain")))


def test_probes_without_questions_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    with pytest.raises(RecipeError, match="has no section 'probe'"):
        run_tiny(store, tmp_path / "run", tiny_recipe(watch={"probe_every_epochs": 1}))
    assert not (tmp_path / "run").exists()
