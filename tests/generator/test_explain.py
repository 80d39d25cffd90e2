"""Keys of recipes and parameters of generators, explained."""

from __future__ import annotations

from pathlib import Path

import pytest

from smile_synth.errors import RecipeError
from smile_synth.generator.explain import explain, rows_of
from smile_synth.recipe.recipe import load_recipe


def test_a_value_has_type_range_default_and_meaning() -> None:
    found = explain("pretrain.optimizer.learning_rate")
    assert found.key is not None
    assert rows_of(found.key) == [("type", "float"), ("range", "> 0, <= 1"), ("default", "0.00015")]
    assert "warm-up" in found.key.description
    assert found.inside == ()


def test_a_section_lists_its_keys() -> None:
    paths = [key.path for key in explain("dataset.canvas").inside]
    assert paths == ["dataset.canvas.height", "dataset.canvas.width", "dataset.canvas.frames"]
    assert "pretrain" in [key.path for key in explain("").inside]


def test_params_are_those_of_the_recipes_generator(tmp_path: Path) -> None:
    assert explain("dataset.params").generator == "cutouts"
    (tmp_path / "r.yaml").write_text("dataset: {generator: noise}\n", encoding="utf-8")
    found = explain("dataset.params.kind", load_recipe(tmp_path / "r.yaml"))
    assert found.generator == "noise"
    assert found.key is not None
    assert found.key.path == "dataset.params.kind"
    with pytest.raises(RecipeError, match=r"no key 'dataset.params.kind'"):
        explain("dataset.params.kind")


def test_a_generator_is_explained_by_its_name() -> None:
    found = explain("shapes.radius_px")
    assert found.key is not None
    assert (found.key.unit, found.generator) == ("px", "shapes")
    assert next(key.path for key in explain("mixture.parts").inside) == "mixture.parts.NAME.weight"


def test_a_generators_file_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from smile_synth.generator.scaffold import write_generator

    monkeypatch.chdir(tmp_path)
    write_generator("confetti", tmp_path)
    assert "confetti.py:Confetti.num_objects" in [key.path for key in explain("confetti.py:Confetti").inside]
