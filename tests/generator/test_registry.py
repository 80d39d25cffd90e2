"""Generators are found by name, by module and by file; what is broken says why, and the rest keeps working."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from smile_synth.errors import GeneratorError
from smile_synth.generator.base import Generator
from smile_synth.generator.registry import GROUP, code_digest, find, list_generators
from smile_synth.testing.contract import Subject

PLUGIN = """
import numpy as np
from smile_synth.generator import Generator
from smile_synth.params import StrictParams
from smile_synth.scene import Scene


class Params(StrictParams):
    pass


class Plain(Generator):
    \"\"\"A black clip. It has nothing in it.\"\"\"

    Params = Params
    max_objects = 0

    def sample(self, *, rng):
        canvas = self.context.canvas
        return Scene(canvas, np.zeros((canvas.height, canvas.width, 3), np.uint8))


class Unfinished(Generator):
    Params = Params


class Shapeless(Plain):
    Params = None
"""


def build(cls: type[Generator[Any]]) -> Generator[Any]:
    return Subject(cls).build()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Put a package with an entry point on the path, as an installer would."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def run(package: str, code: str, entry: str) -> None:
        (tmp_path / f"{package}.py").write_text(code)
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entry}\n")
        importlib.invalidate_caches()
        made.append(package)

    yield run
    for package in made:
        sys.modules.pop(package, None)


def test_every_bundled_generator_is_found_and_described_without_being_imported() -> None:
    before = set(sys.modules)
    found = list_generators()
    assert not [name for name in set(sys.modules) - before if name.startswith("smile_synth_generators.")]
    assert {point.name for point in entry_points(group=GROUP)} == {generator.name for generator in found}
    assert "cutouts" in {generator.name for generator in found}
    for generator in found:
        assert generator.problem == ""
        assert generator.summary
        assert find(generator.name, Path()).__doc__


def test_an_unknown_name_lists_what_there_is_and_the_nearest() -> None:
    with pytest.raises(GeneratorError, match=r"no generator 'cutout'. Did you mean 'cutouts'\? Known: .*cutouts"):
        find("cutout", Path())


def test_a_file_is_found_from_the_recipes_folder_and_loaded_once(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    first = find("mine.py:Plain", tmp_path)
    assert first is find("mine.py:Plain", tmp_path)
    assert first is find(f"{tmp_path}/mine.py:Plain", Path())


def test_a_file_with_one_generator_needs_no_class(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN.split("class Unfinished", maxsplit=1)[0])
    assert find("mine.py", tmp_path) is find("mine.py:Plain", tmp_path)


def test_a_changed_file_is_loaded_again(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    first = find("mine.py:Plain", tmp_path)
    before = code_digest(build(first))
    (tmp_path / "mine.py").write_text(PLUGIN + "\n# changed\n")
    assert find("mine.py:Plain", tmp_path) is not first
    assert code_digest(build(find("mine.py:Plain", tmp_path))) != before


def test_an_installed_package_is_found_by_its_name_and_as_module(install: object) -> None:
    install("plain_clips", PLUGIN, "plain = plain_clips:Plain")  # type: ignore[operator]
    assert find("plain", Path()) is find("plain_clips:Plain", Path())
    (found,) = [generator for generator in list_generators() if generator.name == "plain"]
    assert (found.summary, found.package, found.problem) == ("A black clip", "plain_clips 1.0", "")


def test_a_plugin_that_raises_at_import_says_so_and_the_rest_goes_on(install: object) -> None:
    install("bad_clips", "import a_package_nobody_has", "bad = bad_clips:Bad")  # type: ignore[operator]
    with pytest.raises(GeneratorError, match=r"'bad' cannot be imported.*ModuleNotFoundError.*bad_clips.py, line 1"):
        find("bad", Path())
    problems = {generator.name: generator.problem for generator in list_generators()}
    assert "a_package_nobody_has" in problems.pop("bad")
    assert not any(problems.values())


def test_a_plugin_that_hangs_at_import_does_not_hang_the_list(install: object, monkeypatch: pytest.MonkeyPatch) -> None:
    install("sleepy", "import time\ntime.sleep(60)", "sleepy = sleepy:Bad")  # type: ignore[operator]
    monkeypatch.setattr("smile_synth.generator.registry.SECONDS_PER_IMPORT", 0.1)
    problems = {generator.name: generator.problem for generator in list_generators()}
    assert "took longer than 0.1 s" in problems["sleepy"]


def test_a_plugin_that_ends_the_program_at_import_does_not(install: object) -> None:
    install("quitter", "raise SystemExit(3)", "quitter = quitter:Bad")  # type: ignore[operator]
    with pytest.raises(GeneratorError, match=r"'quitter' cannot be imported.*SystemExit: 3"):
        find("quitter", Path())


def test_a_name_registered_twice_is_an_error(install: object) -> None:
    install("plain_one", PLUGIN, "plain = plain_one:Plain")  # type: ignore[operator]
    install("plain_two", PLUGIN, "plain = plain_two:Plain")  # type: ignore[operator]
    with pytest.raises(GeneratorError, match=r"registered twice: plain_one:Plain by plain_one 1.0, plain_two"):
        find("plain", Path())
    problems = [generator.problem for generator in list_generators() if generator.name == "plain"]
    assert ["another package registers" in problem for problem in problems] == [True, True]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("mine.py", "the file holds Plain, Unfinished, Shapeless; name one class: mine.py:YourClass"),
        ("other.py:Plain", r"there is no file .*other.py"),
        ("mine.py:Plane", r"no class 'Plane' in it. Did you mean 'Plain'\? Generators in it: Plain, Unfinished"),
        ("mine.py:Params", "is no subclass of smile_synth.generator.Generator"),
        ("mine.py:Unfinished", "Unfinished lacks max_objects, sample"),
        ("mine.py:Shapeless", "Params must be a subclass of smile_synth.params.StrictParams, got None"),
        ("broken.py:Plain", r"its own code fails: SyntaxError"),
        ("no_such_module:Plain", "there is no module 'no_such_module'"),
        ("json:JSONDecoder", "is no subclass of"),
    ],
)
def test_what_is_no_generator_is_refused_with_the_next_step(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "broken.py").write_text("def f(:")
    with pytest.raises(GeneratorError, match=problem):
        find(name, tmp_path)


def test_the_digest_of_a_packages_code_covers_the_modules_beside_it(tmp_path: Path, install: object) -> None:
    package = tmp_path / "many_clips"
    package.mkdir()
    (package / "__init__.py").write_text("from many_clips.plain import Plain")
    (package / "plain.py").write_text(PLUGIN)
    (package / "palette.py").write_text("RED = 1")
    install("many_clips_meta", "", "many = many_clips:Plain")  # type: ignore[operator]
    before = code_digest(build(find("many", tmp_path)))
    (package / "palette.py").write_text("RED = 2")
    assert code_digest(build(find("many", tmp_path))) != before


def test_the_digest_of_a_mixture_covers_its_parts(tmp_path: Path) -> None:
    def digest() -> str:
        params = {"parts": {"mine": {"generator": "mine.py:Plain"}}}
        return code_digest(Subject("mixture", params, folder=tmp_path).build())

    (tmp_path / "mine.py").write_text(PLUGIN)
    before = digest()
    (tmp_path / "mine.py").write_text(PLUGIN + "\n# changed\n")
    assert digest() != before
