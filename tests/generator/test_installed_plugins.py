"""Plug-ins as users have them: packages built and installed, and files next to a recipe, in worker processes too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from smile_synth.errors import GeneratorError, StoreError
from smile_synth.generator.dataset import Dataset
from smile_synth.generator.scaffold import write_generator
from smile_synth.recipe.recipe import load_recipe
from smile_synth.store import Store, render_store

pytestmark = pytest.mark.slow

PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "{package}"
version = "1.2.3"

[project.entry-points."smile_synth.generators"]
{generator} = "{module}:{cls}"

[tool.setuptools]
py-modules = ["{module}"]
"""

SMALL = ("dataset.clips=6", "dataset.canvas={height: 32, width: 32, frames: 4}", "dataset.store={clips_per_shard: 2}")


def install(folder: Path, package: str, generator: str, module: str, cls: str, code: str) -> Path:
    """Build a package and install it into a folder of its own, offline."""
    source, target = folder / f"source-{package}", folder / "site"
    source.mkdir()
    (source / "pyproject.toml").write_text(
        PYPROJECT.format(package=package, generator=generator, module=module, cls=cls)
    )
    (source / f"{module}.py").write_text(code)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True, timeout=240)
    return target


def run(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "200"}
    command = [sys.executable, "-m", "smile_synth", *arguments]
    return subprocess.run(
        command, env=environment, cwd=site.parent, capture_output=True, text=True, timeout=240, check=False
    )


def test_an_installed_package_is_found_and_rendered_and_a_broken_one_harms_nobody(tmp_path: Path) -> None:
    module, _, _ = write_generator("tinsel", tmp_path)
    install(tmp_path, "smile-synth-tinsel", "tinsel", "tinsel_clips", "Tinsel", module.read_text())
    site = install(tmp_path, "smile-synth-sad", "sad", "sad_clips", "Sad", "raise RuntimeError('no luck today')")

    listed = run(site, "generators", "list")
    assert listed.returncode == 0, listed.stderr
    assert "smile-synth-tinsel 1.2.3" in listed.stdout
    assert "broken" in listed.stdout
    assert "RuntimeError: no luck today" in listed.stdout
    assert "Cut-out objects" in listed.stdout

    (tmp_path / "r.yaml").write_text("dataset: {generator: tinsel, store: {clips_per_shard: 4}}")
    small = ["--set", "dataset.clips=8", "--set", "dataset.canvas={height: 32, width: 32, frames: 4}"]
    rendered = run(site, "render", "r.yaml", "--out", "r.zarr", "--workers", "2", *small)
    assert rendered.returncode == 0, rendered.stderr
    assert Store.open(tmp_path / "r.zarr").generators[0] == "tinsel"

    refused = run(site, "preview", "sad", "-o", "sad.png")
    assert refused.returncode == 2
    assert "'sad' cannot be imported, its own code fails: RuntimeError: no luck today" in refused.stderr


def test_a_file_beside_the_recipe_draws_the_same_in_worker_processes(tmp_path: Path) -> None:
    _, _, file = write_generator("confetti", tmp_path)
    recipe = load_recipe(str(file), SMALL)
    stores = [
        render_store(Dataset.of(recipe), tmp_path / f"{workers}.zarr", recipe=recipe.resolved(), workers=workers)
        for workers in (0, 2)
    ]
    clips = range(6)
    assert (stores[0].read_frames(clips) == stores[1].read_frames(clips)).all()


def test_a_failing_clip_keeps_the_finished_shards_and_changed_code_is_not_mixed_in(tmp_path: Path) -> None:
    module, _, file = write_generator("confetti", tmp_path)
    sound = module.read_text()
    broken = sound.replace(
        "        canvas = self",
        "        if rng.random() < 0.35:\n            raise ValueError('oh')\n        canvas = self",
    )
    assert broken != sound
    module.write_text(broken)
    recipe = load_recipe(str(file), SMALL)
    with pytest.raises(GeneratorError, match=r"'confetti.py:Confetti' failed in clip \d \(seed 0\): ValueError: oh"):
        render_store(Dataset.of(recipe), tmp_path / "c.zarr", recipe=recipe.resolved(), workers=1)
    module.write_text(sound)
    with pytest.raises(StoreError, match="code"):
        render_store(Dataset.of(recipe), tmp_path / "c.zarr", recipe=recipe.resolved(), workers=1)
