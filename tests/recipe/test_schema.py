"""The JSON schema of recipe files: valid itself, true of every bundled recipe, and false of what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from smile_synth.generator.registry import find, registered_names
from smile_synth.recipe.recipe import bundled_recipes
from smile_synth.recipe.schema import recipe_schema
from smile_synth.recipe.yaml import read_yaml


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = recipe_schema({name: find(name, Path.cwd()).Params for name in registered_names()})
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", sorted(bundled_recipes()))
def test_every_bundled_recipe_is_valid(validator: Any, name: str) -> None:
    validator.validate(read_yaml(bundled_recipes()[name]))


@pytest.mark.parametrize(
    "values",
    [
        {"datset": {}},
        {"dataset": {"clips": 0}},
        {"dataset": {"clips": True}},
        {"dataset": {"generator": "shapes", "params": {"levle": "flat"}}},
        {"pretrain": {"optimizer": {"betas": [0.9]}}},
        {"probe": {"questions": [{"source": "a", "label": "b"}]}},
    ],
    ids=str,
)
def test_what_a_recipe_refuses_the_schema_refuses(validator: Any, values: dict[str, Any]) -> None:
    assert not validator.is_valid(values)


def test_a_file_that_extends_another_may_leave_keys_out(validator: Any) -> None:
    validator.validate({"extends": "demo", "probe": {"train_clips": 64}})


def test_numbers_carry_their_unit() -> None:
    definitions = recipe_schema()["$defs"]
    assert definitions["CanvasParams"]["properties"]["height"]["unit"] == "px"
    assert definitions["StageParams"]["properties"]["epochs"]["unit"] == "epochs"
