"""The wheel carries everything that a fresh clone has."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_folder_is_listed() -> None:
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "smile_synth").rglob("__init__.py")}
    assert folders | {"smile_synth_generators", "smile_synth_recipes"} == set(PROJECT["tool"]["setuptools"]["packages"])


def test_every_generator_entry_point_loads() -> None:
    from importlib.metadata import EntryPoint

    for name, value in PROJECT["project"]["entry-points"]["smile_synth.generators"].items():
        assert EntryPoint(name, value, "smile_synth.generators").load().Params is not None


def test_nothing_speaks_of_a_machine_or_registry() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    banned = ("/wo" + "rk/", "pypi" + ".org", "files.python" + "hosted")
    for name in tracked.stdout.split():
        path = ROOT / name
        if path.suffix in {".py", ".md", ".yaml", ".toml", ".j2", ""} and path.is_file():
            text = path.read_text(encoding="utf-8")
            assert not [word for word in banned if word in text], name


@pytest.mark.slow
def test_the_wheel_works_without_the_checkout(tmp_path: Path) -> None:
    def run(*command: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT))
    wheel = next(tmp_path.glob("*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    assert "smile_synth_recipes/demo.yaml" in names
    assert "smile_synth/py.typed" in names
    site = tmp_path / "site"
    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel))
    where = run("-c", "import smile_synth_generators as g; print(g.__file__)", PYTHONPATH=str(site))
    assert where.startswith(str(site))
    assert "cutouts" in run("-m", "smile_synth", "generators", "list", PYTHONPATH=str(site))
    assert "demo" in run("-m", "smile_synth", "recipes", "list", PYTHONPATH=str(site))
