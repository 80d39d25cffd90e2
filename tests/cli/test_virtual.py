"""``render --virtual``, ``materialise`` and ``slim``, as typed; and commands that cannot tell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import tree
from typer.testing import CliRunner, Result

from smile_synth.cli import app

RECIPE = """
seed: 3
dataset:
  clips: 10
  canvas: {height: 32, width: 32, frames: 4}
  generator: shapes
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("stores")
    (folder / "small.yaml").write_text(RECIPE)
    for name, extra in (("full", ()), ("virtual", ("--virtual",))):
        result = run("render", folder / "small.yaml", "--out", folder / name, "--workers", 0, *extra)
        assert result.exit_code == 0, result.output
    assert "B a clip: frames are rendered when they are read" in result.output or "KB a clip" in result.output
    return folder / "full", folder / "virtual"


def test_a_preview_cannot_tell(stores: tuple[Path, Path], tmp_path: Path) -> None:
    for name, store in zip(("full.png", "virtual.png"), stores, strict=True):
        assert run("preview", store, "--clip", 7, "--motion", "-o", tmp_path / name).exit_code == 0
    assert (tmp_path / "full.png").read_bytes() == (tmp_path / "virtual.png").read_bytes()


def test_a_report_differs_in_nothing_but_what_the_store_is(stores: tuple[Path, Path], tmp_path: Path) -> None:
    reports = []
    for store in stores:
        page = tmp_path / f"{store.name}.html"
        done = run("report", store, "-o", page, "--feature-model", "efficientnet_lite0")
        assert done.exit_code == 0, done.output
        reports.append(json.loads(page.with_suffix(".json").read_text()))
    full, virtual = reports
    assert full.pop("overview") != virtual.pop("overview")
    assert full == virtual


def test_info_card_and_verify_know_a_virtual_store(stores: tuple[Path, Path], tmp_path: Path) -> None:
    shown = run("info", stores[1]).output
    assert "virtual: rendered when they are read" in shown
    assert run("card", stores[1], "-o", tmp_path / "card").exit_code == 0
    assert "The store is virtual" in (tmp_path / "card" / "README.md").read_text()
    assert "is sound: 10 clips" in run("verify", stores[1], "--rerender", 2).output


def test_there_and_back_again(stores: tuple[Path, Path], tmp_path: Path) -> None:
    full = tmp_path / "full"
    made = run("materialise", stores[1], "--out", full, "--workers", 0)
    assert made.exit_code == 0, made.output
    assert tree(full) == tree(stores[0])
    assert "is not virtual" in run("materialise", full).output
    slimmed = run("slim", full, "--workers", 0)
    assert slimmed.exit_code == 0, slimmed.output
    assert tree(full) == tree(stores[1])
    assert "is virtual already" in run("slim", full).output
