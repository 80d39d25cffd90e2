"""The public names: quick to import, typed, each with an example that is run here."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import smile_synth as ss

NAMES = sorted(set(ss.__all__) - {"__version__"})
# They train, measure and probe for more than a second.
SLOW = frozenset({"probe", "report"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store ``clips.zarr`` of 64 clips of the demo, and a run ``run`` of two steps on it."""
    folder = tmp_path_factory.mktemp("public")
    store = ss.render("demo", folder / "clips.zarr", overrides=["dataset.clips=64"], workers=0)
    short = ["pretrain.max_steps=2", "pretrain.optimizer.warmup_steps=1", "pretrain.batch_size=16"]
    ss.pretrain("demo", store, folder / "run", overrides=short, view=None)
    return folder


def function_of(name: str) -> Any:
    """Return what documents a public name: the function behind a package that is called."""
    public = getattr(ss, name)
    return public._function if inspect.ismodule(public) else public


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in NAMES])
def test_the_example_of_every_public_name_runs(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    public = function_of(name)
    names = {"ss": ss, "np": np, "torch": torch}
    # Inherited members have examples of their own; those of pydantic's are not ours.
    finder = doctest.DocTestFinder(recurse=inspect.isclass(public))
    tests = [test for test in finder.find(public, name, module=False, globs=names) if test.examples]
    assert tests, f"{name} has no example in its docstring"
    assert any(test.name == name for test in tests), f"{name} has no example in its own docstring"
    for test in tests:
        said: list[str] = []
        result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
        assert result.failed == 0, "".join(said)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_of_a_public_function_is_typed(name: str) -> None:
    public = function_of(name)
    functions = [public]
    if inspect.isclass(public):
        functions = [f for n, f in vars(public).items() if inspect.isfunction(f) and not n.startswith("_")]
    for function in functions:
        hints = getattr(function, "__annotations__", {})
        parameters = [p for p in inspect.signature(function).parameters if p not in ("self", "cls")]
        assert [p for p in (*parameters, "return") if p not in hints] == [], function


def test_importing_the_package_is_quick() -> None:
    heavy = "{'torch', 'numpy', 'pydantic', 'cv2'}"
    code = f"import sys, smile_synth as ss; dir(ss); print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_name_that_is_promised_to_type_checkers_is_there() -> None:
    source = Path(inspect.getfile(ss)).read_text(encoding="utf-8")
    for name in NAMES:
        assert f" {name}\n" in source or f" {name}," in source or f"as {name}" in source
    assert dir(ss) == sorted(ss.__all__)
    assert typing.get_type_hints(ss.open_store)["return"] is ss.Store


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'rendre'"):
        ss.rendre  # noqa: B018


def test_a_package_of_a_functions_name_stays_a_package() -> None:
    import smile_synth.render

    assert smile_synth.render.render_into.__module__ == "smile_synth.render.renderer"
    assert list(inspect.signature(ss.render).parameters)[:2] == ["recipe", "out"]
