"""``smile-synth recipes``: show, explain, schema and check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from smile_synth.cli import app


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["recipes", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["recipes", *arguments])
    assert done.exit_code == 2, done.output
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


def test_explain_tells_a_value_and_the_recipes_own() -> None:
    lines = run("explain", "pretrain.optimizer.learning_rate", "--recipe", "demo").splitlines()
    assert lines[0] == "pretrain.optimizer.learning_rate"
    for said in ("  type     float", "  range    > 0, <= 1", "  default  0.00015", "  here     0.001  (demo)"):
        assert said in lines


def test_explain_tells_sections_generators_and_everything() -> None:
    assert "  dataset.canvas.height: int = 224" in run("explain", "dataset.canvas")
    assert "smallest and largest radius" in run("explain", "shapes.radius_px")
    assert "  pretrain: section or null = null" in run("explain")
    assert "another recipe" in run("explain", "extends")


def test_explain_refuses_an_unknown_key() -> None:
    assert "Did you mean 'learning_rate'?" in refused("explain", "pretrain.optimizer.learning_rat")
    assert "leave out KEY" in refused("explain", "seed", "--markdown")


def test_show_resolved_says_where_values_come_from() -> None:
    lines = run("show", "demo", "--resolved", "--set", "dataset.clips=64").splitlines()
    assert any(line.startswith("  clips: 64 ") and line.endswith("# --set") for line in lines)
    assert any(line.startswith("  generator: cutouts ") and line.endswith("# demo") for line in lines)


def test_schema_has_every_generators_parameters() -> None:
    schema = json.loads(run("schema"))
    assert "radius_px" in schema["$defs"]["shapes.params"]["properties"]


def test_check_tells_size_and_what_does_not_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert "disk      about " in run("check", "demo")
    said = refused("check", "demo", "--set", "dataset.canvas.frames=6", "--set", "pretrain.mask.ratio=0.01")
    assert "tubelet_size 4 must divide the clip's 6 frames" in said
    assert "lower dataset.clips" in refused("check", "demo", "--set", "dataset.clips=1000000000")
