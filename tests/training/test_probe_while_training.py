"""Probing while a student is trained."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_training
from tiny_training import run_tiny, start_ranks, tiny_recipe, tiny_store

from smile_synth.errors import ProbeError, RecipeError
from smile_synth.recipe.recipe import Recipe, load_recipe
from smile_synth.training.checkpoint import read_checkpoint
from smile_synth.training.metrics import read_rows
from smile_synth.training.trainer import pretrain

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


def _failing_evaluation(shape: Any, folder: Path, device: Any) -> Any:
    def evaluate(weights: Any, name: str) -> dict[str, float]:
        raise ProbeError(f"no probe at {name}")

    return evaluate


def test_a_probe_that_fails_loses_no_update(tmp_path: Path) -> None:
    store, recipe, out = tiny_store(tmp_path), probing_recipe(), tmp_path / "run"
    for step in (3, 6):
        with pytest.raises(ProbeError, match=f"no probe at update {step}"):
            pretrain(recipe, [store], out, device="cpu", view=None, evaluation=_failing_evaluation, resume=step > 3)
        assert read_checkpoint(out / "checkpoints" / "latest.pt")["step"] == step


@pytest.mark.slow
def test_a_probe_that_fails_ends_all_processes_with_a_checkpoint(tmp_path: Path) -> None:
    store, out = tiny_store(tmp_path), tmp_path / "run"
    script = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parents[1]), str(Path(__file__).parent)]!r}
from pathlib import Path
from test_probe_while_training import _failing_evaluation, probing_recipe
from smile_synth.errors import SmileSynthError
import smile_synth
from smile_synth.training.trainer import pretrain
try:
    store, out = smile_synth.open_store(Path({str(store.path)!r})), Path({str(out)!r})
    pretrain(probing_recipe(), [store], out, device="cpu", view=None, evaluation=_failing_evaluation)
except SmileSynthError as error:
    sys.exit(f"smile-synth: {{error}}")
"""
    tasks = start_ranks([sys.executable, "-c", script])
    said = [task.communicate(timeout=120)[0] for task in tasks]
    assert "".join(said) == "smile-synth: no probe at update 3\n"
    assert read_checkpoint(out / "checkpoints" / "latest.pt")["step"] == 3


def test_probes_without_questions_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    with pytest.raises(RecipeError, match="has no section 'probe'"):
        run_tiny(store, tmp_path / "run", tiny_recipe(watch={"probe_every_epochs": 1}))
    assert not (tmp_path / "run").exists()
