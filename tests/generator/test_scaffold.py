"""A new generator works as it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from smile_synth.errors import GeneratorError
from smile_synth.generator.dataset import Dataset
from smile_synth.generator.scaffold import write_generator
from smile_synth.recipe.recipe import load_recipe
from smile_synth.testing.contract import Subject
from smile_synth.testing.run import run_checks


def test_a_new_generator_keeps_the_contract(tmp_path: Path) -> None:
    write_generator("confetti", tmp_path)
    assert [v.problem for v in run_checks(Subject("confetti.py", folder=tmp_path)) if v.problem] == []


def test_its_recipe_draws_clips(tmp_path: Path) -> None:
    _, _, recipe = write_generator("falling_leaves", tmp_path / "deep" / "er")
    dataset = Dataset.of(load_recipe(str(recipe)))
    assert type(dataset.generator).__name__ == "FallingLeaves"
    assert dataset.sample(3).layers


@pytest.mark.slow
def test_its_own_test_passes(tmp_path: Path) -> None:
    _, test, _ = write_generator("confetti", tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "confetti.yaml").write_text("mine")
    with pytest.raises(GeneratorError, match=r"confetti.yaml is there already"):
        write_generator("confetti", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["confetti.yaml"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Confetti", "cannot name a generator's file"),
        ("my-own", "cannot name a generator's file"),
        ("class", "cannot name a generator's file"),
        ("../up", "cannot name a generator's file"),
        ("random", "would hide the installed module 'random'; choose another name, such as my_random"),
        ("numpy", "would hide the installed module 'numpy'"),
    ],
)
def test_names_that_would_harm_are_refused(tmp_path: Path, name: str, problem: str) -> None:
    with pytest.raises(GeneratorError, match=problem):
        write_generator(name, tmp_path)
