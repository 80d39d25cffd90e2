"""examples/: the loop trains, the notebook runs from top to bottom, and the package is found once it is installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import smile_synth as ss

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_plain_loop_learns(tmp_path: Path) -> None:
    ss.render("demo", tmp_path / "clips.zarr", overrides=["dataset.clips=16"], workers=0)
    student, losses = load(EXAMPLES / "training_loop.py").train(str(tmp_path / "clips.zarr"), steps=12, batch_size=8)
    assert isinstance(student, ss.Student)
    assert len(losses) == 12
    assert min(losses[-3:]) < 0.5 * losses[0]
    lines = (EXAMPLES / "training_loop.py").read_text(encoding="utf-8").splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 32


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    import nbclient
    import nbformat

    notebook = nbformat.read(EXAMPLES / "tour.ipynb", 4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "outputs are not kept in the repository"
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    assert (tmp_path / "tour-out" / "run" / "metrics.jsonl").is_file()
    pictures = [output for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output]
    assert sum("image/png" in output["data"] for output in pictures) == 4


@pytest.mark.slow
def test_the_package_is_installed_and_keeps_the_contract(tmp_path: Path) -> None:
    source = tmp_path / "bubbles"
    for file in sorted((EXAMPLES / "bubbles").rglob("*")):
        if file.suffix in (".py", ".toml", ".md"):
            (source / file.relative_to(EXAMPLES / "bubbles")).parent.mkdir(parents=True, exist_ok=True)
            (source / file.relative_to(EXAMPLES / "bubbles")).write_bytes(file.read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(tmp_path / "site"), str(source)], check=True, timeout=240)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "COLUMNS": "200"}

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=source,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "smile-synth-bubbles 0.1.0" in run("smile_synth", "generators", "list")
    assert "passed" in run("pytest", "-q", "-p", "no:cacheprovider", "tests")
