"""A stranger's run is probed without running what its recipe names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from smile_synth.cli import app
from smile_synth.masking.grid import TokenGrid
from smile_synth.model.student import build_student
from smile_synth.recipe.recipe import load_recipe
from smile_synth.recipe.student import StudentParams
from smile_synth.scene import Canvas
from smile_synth.training.checkpoint import write_checkpoint

STUDENT = StudentParams(width=16, depth=1, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2)
HARM = """
from pathlib import Path
Path(__file__).with_name("witness").touch()
from smile_synth_generators.shapes import Shapes as Harm
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose dataset and questions are made by a file beside its recipe."""
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    student = build_student(STUDENT, TokenGrid.of(Canvas(32, 32, 4), tubelet_size=2, patch_size=16), 8)
    state = {"format": "smile-synth checkpoint", "version": 1, "model": student.state_dict()}
    write_checkpoint({**state, "student": student.shape.to_dict()}, folder / "checkpoints" / "latest.pt")
    sources = "probe.sources={theirs: {generator: 'harm.py:Harm'}}"
    questions = "probe.questions=[{name: kind, source: theirs, label: direction}]"
    recipe = load_recipe("demo", ["dataset.generator=harm.py:Harm", "dataset.params={}", sources, questions])
    (folder / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    (folder / "harm.py").write_text(HARM)
    return folder


def probe(run: Path, *options: str) -> Result:
    small = ("--set", "probe.train_clips=16", "--set", "probe.test_clips=16", "--workers", "1")
    return CliRunner().invoke(app, ["probe", str(run), *small, *options])


def test_a_file_that_the_runs_recipe_names_is_refused_and_named(run: Path) -> None:
    done = probe(run)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert f"the recipe of {run} names the generator 'harm.py:Harm'" in done.stderr
    assert f"it would run {run / 'harm.py'}. Read it first, then allow it with --trust-code" in done.stderr
    assert not (run / "witness").exists()


def test_with_trust_it_is_run(run: Path) -> None:
    probe(run, "--trust-code")
    assert (run / "witness").exists()


def test_with_another_recipe_nothing_of_the_runs_own_is_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[Any] = []

    def stop(extractors: Any, params: Any, *rest: Any, **options: Any) -> None:
        reached.append(params)
        raise KeyboardInterrupt

    monkeypatch.setattr("smile_synth.api.probe.probe_features", stop)
    probe(run, "--recipe", "probe-motion")
    assert reached
    assert not (run / "witness").exists()


def test_a_recipe_that_the_user_names_is_trusted(run: Path, tmp_path: Path) -> None:
    probe(run, "--recipe", str(run / "recipe.yaml"))
    assert (run / "witness").exists()
