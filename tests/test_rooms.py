"""Imports point in one direction: a package imports only from those before it, generators only from the contract."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "smile_synth"

# In the order of the data flow; a module of the top level counts as a package of its own.
ORDER = (
    "errors",
    "machine",
    "files",
    "params",
    "progress",
    "randomness",
    "score",
    "scene",
    "recipe",
    "assets",
    "generator",
    "sampling",
    "render",
    "testing",
    "store",
    "media",
    "videos",
    "loader",
    "masking",
    "model",
    "teachers",
    "training",
    "plan",
    "interop",
    "downstream",
    "report",
    "probe",
    "api",
    "cli",
    "__main__",
)
# What a generator, ours or a user's, may import.
CONTRACT = ("assets", "errors", "generator", "machine", "params", "sampling", "scene")


def imported_modules(file: Path, package: Path) -> Iterator[str]:
    """Yield the dotted names, inside ``smile_synth``, of what a file imports anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "smile_synth":
            for alias in node.names:
                yield ".".join([*node.module.split(".")[1:], alias.name])
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "smile_synth":
                    yield ".".join(alias.name.split(".")[1:])
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{file} imports relatively"


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def upward_imports(package: Path) -> list[str]:
    found = []
    for file in sorted(package.rglob("*.py")):
        room = file.relative_to(package).with_suffix("").parts[0]
        if room == "__init__":
            continue
        for name in imported_modules(file, package):
            target = name.split(".")[0]
            if target in ORDER and ORDER.index(target) > ORDER.index(room):
                found.append(f"{file.relative_to(package.parent)} imports {name}")
    return found


def test_every_room_has_its_place() -> None:
    rooms = {room_of(file) for file in PACKAGE.rglob("*.py")} - {"__init__"}
    assert rooms == set(ORDER)


def test_no_import_runs_against_the_order() -> None:
    assert upward_imports(PACKAGE) == []


def test_an_import_against_the_order_would_be_found(tmp_path: Path) -> None:
    package = tmp_path / "smile_synth"
    (package / "store").mkdir(parents=True)
    (package / "store" / "reader.py").write_text("def f():\n    from smile_synth.training.trainer import pretrain\n")
    assert upward_imports(package) == ["smile_synth/store/reader.py imports training.trainer.pretrain"]


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    modules = {".".join(file.relative_to(PACKAGE).with_suffix("").parts): file for file in PACKAGE.rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for module, file in modules.items():
        names = set(imported_modules(file, PACKAGE)) - {module}
        graph[module] = {n if n in modules else n.rpartition(".")[0] for n in names} & set(modules) - {module}
    done: set[str] = set()

    def walk(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way[way.index(module) :], module))
        if module not in done:
            for target in graph[module]:
                walk(target, (*way, module))
            done.add(module)

    for module in graph:
        walk(module, ())


@pytest.mark.parametrize("file", sorted((ROOT / "generators").glob("*.py")), ids=lambda file: file.stem)
def test_generators_import_nothing_but_the_contract(file: Path) -> None:
    for name in imported_modules(file, PACKAGE):
        assert name.split(".")[0] in CONTRACT, f"{file.name} imports smile_synth.{name}"


@pytest.mark.parametrize("room", ["recipe", "assets", "generator", "sampling", "render", "store"])
def test_rendering_needs_no_torch(room: str) -> None:
    for file in sorted((PACKAGE / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "torch" for name in names), f"{file} imports torch"
