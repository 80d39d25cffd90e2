"""The recipes of downstream protocols: published values, and flags that go with every one of them."""

from __future__ import annotations

import pytest

from smile_synth.cli.finetune import as_overrides
from smile_synth.recipe.recipe import bundled_recipes, load_recipe

NAMES = [name for name in bundled_recipes() if name.startswith("finetune-")]
PAPERS = ("finetune-hmdb51", "finetune-k400", "finetune-ssv2", "finetune-ucf101")


def test_every_protocol_is_there() -> None:
    assert sorted(NAMES) == sorted([*PAPERS, "finetune-actions"])


@pytest.mark.parametrize("name", NAMES)
def test_flags_go_with_every_recipe(name: str) -> None:
    assert load_recipe(name, as_overrides(True, None)).section("finetune").freeze
    assert load_recipe(name, as_overrides(False, 2)).section("finetune").layers == 2


@pytest.mark.parametrize("name", PAPERS)
def test_header_says_what_is_published_and_what_was_run(name: str) -> None:
    text = bundled_recipes()[name].read_text()
    for line in ("# Command:", "# Hardware:", "# Time:", "# Published:", "# Result:    not yet run"):
        assert line in text, line


@pytest.mark.parametrize(
    ("name", "rate", "decay", "epochs", "views", "flips"),
    [
        ("finetune-k400", 1e-3, 0.75, 100, (5, 3), 0.5),
        ("finetune-ssv2", 1e-3, 0.7, 40, (2, 3), 0.0),
        ("finetune-ucf101", 5e-4, 0.7, 100, (5, 3), 0.5),
        ("finetune-hmdb51", 5e-4, 0.7, 100, (5, 3), 0.5),
    ],
)
def test_values_are_the_published_ones(
    name: str, rate: float, decay: float, epochs: int, views: tuple[int, int], flips: float
) -> None:
    recipe = load_recipe(name)
    tune, videos = recipe.section("finetune"), recipe.section("videos")
    assert (tune.optimizer.learning_rate, tune.layer_decay, tune.epochs) == (rate, decay, epochs)
    assert (tune.optimizer.betas, tune.optimizer.weight_decay, tune.optimizer.warmup_epochs) == ((0.9, 0.999), 0.05, 5)
    assert (tune.label_smoothing, tune.vary.mixup, tune.vary.cutmix) == (0.1, 0.8, 1.0)
    assert (tune.vary.rand_augment, tune.vary.erase_probability) == ("rand-m7-n4-mstd0.5-inc1", 0.25)
    assert (videos.segments, videos.crops) == views
    assert tune.vary.flip_probability == flips
    assert (videos.sampling, videos.frames) == ("uniform" if name == "finetune-ssv2" else "dense", 16)
