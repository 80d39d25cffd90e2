"""A recipe means the same clips whatever the order of its keys."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from smile_synth.cli import app
from smile_synth.generator.dataset import Dataset
from smile_synth.generator.registry import find, list_generators
from smile_synth.recipe.dataset import DatasetParams
from smile_synth.recipe.recipe import Recipe, bundled_recipes, load_recipe, parse_recipe, recipe_digest
from smile_synth.render import render
from smile_synth.testing.contract import scene_digest

SMALL = {"height": 48, "width": 48, "frames": 4}
CLIPS = 6
GENERATORS = [found.name for found in list_generators() if found.target.startswith("smile_synth_generators")]


def shuffled(value: Any, order: random.Random) -> Any:
    """Return ``value`` with the keys of every mapping in it in another order, the last first at least."""
    if isinstance(value, dict):
        keys = list(value)
        backwards = keys[::-1]
        order.shuffle(keys)
        keys = backwards if keys == list(value) else keys
        return {key: shuffled(value[key], order) for key in keys}
    if isinstance(value, list):
        return [shuffled(item, order) for item in value]
    return value


def clips_of(params: DatasetParams) -> list[tuple[str, bytes]]:
    """Return digest and frames of the first clips, small."""
    small = params.model_copy(
        update={"clips": CLIPS, "canvas": type(params.canvas).model_validate(SMALL), "clip_timeout_s": 60.0}
    )
    dataset = Dataset(small, seed=3, folder=Path())
    scenes = [dataset.sample(clip) for clip in range(CLIPS)]
    return [(scene_digest(scene), render(scene).frames_THWC.tobytes()) for scene in scenes]


def datasets_of(recipe: Recipe) -> list[DatasetParams]:
    """Return what the recipe renders, and what its probe would."""
    found = [] if recipe.dataset is None else [recipe.dataset]
    if recipe.probe is not None:
        found += [
            DatasetParams(generator=source.generator, params=source.params, assets=source.assets)
            for source in recipe.probe.sources.values()
        ]
    return found


@pytest.mark.parametrize("name", sorted(bundled_recipes()))
def test_shuffled_keys_mean_the_same_recipe_and_the_same_clips(name: str, tmp_path: Path) -> None:
    recipe, order = load_recipe(name), random.Random(name)
    written = yaml.safe_load(bundled_recipes()[name].read_text(encoding="utf-8"))
    (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(shuffled(written, order), sort_keys=False))
    from_file = load_recipe(tmp_path / f"{name}.yaml")
    from_resolved = parse_recipe(shuffled(recipe.resolved(), order), folder=Path(), origin="shuffled")
    for other in (from_file, from_resolved):
        assert other.to_yaml() == recipe.to_yaml()
        assert recipe_digest(other.resolved()) == recipe_digest(recipe.resolved())
    for one, other in zip(datasets_of(recipe), datasets_of(from_resolved), strict=True):
        assert clips_of(one) == clips_of(other)


@pytest.mark.parametrize("name", GENERATORS)
def test_defaults_written_out_in_another_order_draw_the_same_clips(name: str) -> None:
    defaults = find(name, Path()).Params().model_dump(mode="json")
    params = [DatasetParams(generator=name, params=values) for values in ({}, shuffled(defaults, random.Random(name)))]
    assert clips_of(params[0]) == clips_of(params[1])


def test_verify_renders_the_bundled_mixture_again_as_it_is_stored(tmp_path: Path) -> None:
    store = str(tmp_path / "families.zarr")
    changes = ["dataset.clips=24", "dataset.store.clips_per_shard=8"]
    changes += [f"dataset.canvas.{key}={value}" for key, value in SMALL.items()]
    overrides = [word for change in changes for word in ("--set", change)]
    rendered = CliRunner().invoke(app, ["render", "families", "--out", store, "--workers", "1", *overrides])
    assert rendered.exit_code == 0, rendered.output
    verified = CliRunner().invoke(app, ["verify", store, "--rerender", "24"])
    assert verified.exit_code == 0, verified.output
