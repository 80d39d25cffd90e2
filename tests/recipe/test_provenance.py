"""``recipes show --resolved``: every value with the recipe that wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest

from smile_synth.recipe.recipe import Recipe, bundled_recipes, load_recipe
from smile_synth.recipe.yaml import parse_yaml


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    text = "extends: demo\nseed: 5\ndataset: {clips: 64, params: {order: random}}\n"
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    overrides = ["dataset.canvas={height: 64, width: 64}", "probe.questions.0.bins=5"]
    return load_recipe(tmp_path / "mine.yaml", overrides)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("seed", "5  (mine)"),
        ("dataset.clips", "64  (mine)"),
        ("dataset.params.order", "random  (mine)"),
        ("dataset.params.num_objects", "[1, 2]  (demo)"),
        ("dataset.canvas.height", "64  (--set)"),
        ("dataset.canvas.frames", "16  (default)"),
        ("probe.questions.0.bins", "5  (--set)"),
        ("probe.questions.0.name", "direction  (demo)"),
        ("probe.sources.straight.params.num_objects", "[1, 1]  (probe-motion)"),
        ("pretrain.teacher.model", "not set"),
    ],
)
def test_a_value_says_who_wrote_it(recipe: Recipe, path: str, said: str) -> None:
    assert recipe.value_text(path) == said


@pytest.mark.parametrize("name", sorted(bundled_recipes()))
def test_the_comments_change_no_value(name: str) -> None:
    recipe = load_recipe(name)
    text = recipe.to_annotated_yaml()
    assert parse_yaml(text, where="resolved") == recipe.resolved()
    assert all("  # " in line or line.endswith(":") for line in text.splitlines())


def test_another_generator_on_the_command_line_drops_the_inherited_parameters() -> None:
    assert load_recipe("demo", ["dataset.generator=noise"]).section("dataset").params == {}
    given = ["dataset.params.kind=flow", "dataset.generator=noise"]
    for overrides in (given, given[::-1]):
        assert load_recipe("demo", overrides).section("dataset").params == {"kind": "flow"}
    assert load_recipe("demo", ["dataset.generator=cutouts"]).section("dataset").params["num_objects"] == [1, 2]
