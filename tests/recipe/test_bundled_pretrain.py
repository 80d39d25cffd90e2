from __future__ import annotations

import pytest

from smile_synth.generator.dataset import Dataset
from smile_synth.recipe.recipe import bundled_recipes, load_recipe
from smile_synth.training.stages import plan_stages

NAMES = [name for name in bundled_recipes() if name.startswith(("smile-vit", "videomae-vit", "trackmae-vit"))]


def test_every_paper_recipe_is_there() -> None:
    suffixes = ("s", "b", "l", "b-black", "b-motion", "b-noise", "b-photos", "b-published")
    assert set(NAMES) == {*(f"smile-vit-{suffix}" for suffix in suffixes), "videomae-vit-b", "trackmae-vit-b"}


@pytest.mark.parametrize("name", NAMES)
def test_recipe_can_be_laid_out_over_its_own_clips(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.dataset is not None
    assert recipe.pretrain is not None
    for stage in plan_stages(recipe.pretrain, recipe.dataset.clips):
        assert 0 < stage.schedule.warmup_steps < stage.schedule.num_steps


@pytest.mark.parametrize("name", NAMES)
def test_header_says_what_is_published_and_what_is_ours(name: str) -> None:
    text = bundled_recipes()[name].read_text()
    for line in ("# Command:", "# Hardware:", "# Time:", "# Published:", "# Ours:", "# Result:"):
        assert line in text, line


@pytest.mark.parametrize("name", [name for name in NAMES if name != "smile-vit-b-published"])
def test_rates_are_the_published_ones(name: str) -> None:
    pretraining = load_recipe(name).section("pretrain")
    stage = plan_stages(pretraining, 240_000)[0]
    scale = pretraining.batch_size / 256
    assert stage.schedule.base == pytest.approx(1.5e-4 * scale)
    assert stage.schedule.floor == pytest.approx(1e-5 * scale)
    assert pretraining.optimizer.betas == (0.9, 0.95)
    assert pretraining.optimizer.weight_decay == 0.05


def test_objects_move_over_what_the_name_says() -> None:
    for name, kind in (("black", "black"), ("photos", "photograph")):
        recipe = load_recipe(f"smile-vit-b-{name}")
        dataset = Dataset.of(
            recipe.model_copy(update={"dataset": recipe.section("dataset").model_copy(update={"clips": 2})})
        )
        scene = dataset.sample(0)
        assert len(scene.layers) == 2
        assert scene.camera_T33 is None
        assert (scene.background.max() == 0) == (kind == "black")
