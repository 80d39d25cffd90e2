"""Mixtures: the contract, weights, labels of all parts, and parts that do not combine."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import pytest
from smile_synth_generators.mixture import Mixture

from smile_synth.errors import GeneratorError, RecipeError
from smile_synth.generator.dataset import Dataset
from smile_synth.recipe.dataset import DatasetParams
from smile_synth.testing.contract import GeneratorContract

PARTS = {
    "cutouts": {"weight": 2},
    "gratings": {},
    "small": {"generator": "shapes", "params": {"num_shapes": (2, 3), "level": "moving-shapes"}},
}


class TestMixture(GeneratorContract):
    generator = Mixture
    params: ClassVar[dict[str, Any]] = {"parts": PARTS}


def dataset(parts: dict[str, Any], folder: Path = Path()) -> Dataset:
    whole = {
        "clips": 400,
        "canvas": {"height": 32, "width": 32, "frames": 3},
        "generator": "mixture",
        "params": {"parts": parts},
    }
    return Dataset(DatasetParams.model_validate(whole), seed=0, folder=folder)


def test_parts_come_as_often_as_their_weights_say() -> None:
    clips = dataset(PARTS)
    drawn = [clips.sample(clip).generator for clip in range(200)]
    assert drawn.count("cutouts") == pytest.approx(100, abs=25)
    assert drawn.count("small") == pytest.approx(50, abs=22)
    assert clips.generator_names == ("mixture", "cutouts", "gratings", "small")
    assert clips.max_objects == 3


def test_labels_are_those_of_all_parts_and_undefined_where_a_part_has_none() -> None:
    clips = dataset(PARTS)
    specs = clips.label_specs
    assert specs["family"].classes == ("cutouts", "gratings", "small")
    assert set(specs["outline"].classes) >= {"polygon", "letter", "circle", "triangle"}
    for clip in range(20):
        scene = clips.sample(clip)
        assert specs["family"].classes[scene.labels["family"]] == scene.generator
        if scene.generator == "gratings":
            assert scene.labels["drift_speed"] > 0
            assert scene.labels["outline"].shape == (0,)
            assert math.isnan(scene.labels["num_objects"])
        else:
            assert math.isnan(scene.labels["drift_speed"])
            assert scene.labels["pattern"] == -1
        if scene.generator == "small":
            names = {specs["outline"].classes[n] for n in scene.labels["outline"]}
            assert names == {layer.class_name for layer in scene.layers}


def test_a_part_may_stand_in_a_file_beside_the_recipe(tmp_path: Path) -> None:
    code = "from smile_synth_generators.gratings import Gratings\nclass Mine(Gratings):\n    '''Mine.'''\n"
    (tmp_path / "mine.py").write_text(code)
    clips = dataset({"mine": {"generator": "mine.py:Mine"}}, folder=tmp_path)
    assert clips.sample(0).generator == "mine"


def test_bad_parts_are_named() -> None:
    with pytest.raises(GeneratorError, match="Did you mean 'shapes'"):
        dataset({"shpes": {}})
    with pytest.raises(RecipeError, match=r"'shapes'.*levle"):
        dataset({"shapes": {"params": {"levle": "textured"}}})
    with pytest.raises(RecipeError, match="weight"):
        dataset({"shapes": {"weight": 0}})
    with pytest.raises(RecipeError, match="parts"):
        dataset({})
