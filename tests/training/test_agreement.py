"""Sections of a recipe that do not fit each other are found before anything is rendered."""

from __future__ import annotations

import subprocess
import sys

import pytest

from smile_synth.recipe.recipe import bundled_recipes, load_recipe
from smile_synth.training.agreement import disagreements


@pytest.mark.parametrize("name", sorted(bundled_recipes()))
def test_bundled_recipes_agree_with_themselves(name: str) -> None:
    assert disagreements(load_recipe(name)) == []


@pytest.mark.parametrize(
    ("overrides", "said", "needs_other_clips"),
    [
        (["dataset.canvas.frames=6"], "tubelet_size 4 must divide the clip's 6 frames", True),
        (["dataset.canvas.height=36", "dataset.store.motion.cell_px=4"], "patch_size 8 must divide", True),
        (["pretrain.mask.ratio=0.01"], "stage 'train': mask ratio 0.01 of 4 x 4 tokens hides 0", True),
        (["dataset.store.motion=null"], "pretrain learns from motion, and dataset.store.motion keeps none", True),
        (
            ["pretrain.student.patch_size=4"],
            "cells of 8 px, which do not divide a patch of 4 px; set dataset.store.motion.cell_px to a divisor of 4",
            True,
        ),
        (["pretrain.target.motion.cells=4"], "do not divide a quarter of a patch", True),
        (["dataset.clips=100"], "dataset.clips is 100, pretrain.batch_size 128", False),
        (["pretrain.max_steps=90"], "the warm-up must be shorter than the stage's 90 steps", False),
        (["pretrain.watch.probe_every_epochs=1", "probe=null"], "there is no section 'probe'", True),
        (["probe.canvas.height=36"], "probe.canvas and pretrain.student: patch_size 8", True),
        (
            ["pretrain.target.kind=features", "pretrain.teacher={library: efficientnet_lite0, grid: exact}"],
            "gives 2 x 2 tokens, dataset.canvas and student.patch_size give 4 x 4",
            True,
        ),
        (
            ["pretrain.target.kind=features", "pretrain.teacher={image_size: 100}"],
            "image_size must be a multiple of 16, the stride of ViT-B-16-quickgelu, got 100",
            True,
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_what_does_not_fit_is_named(overrides: list[str], said: str, needs_other_clips: bool) -> None:
    (found,) = disagreements(load_recipe("demo", overrides))
    assert said in found.text
    assert found.needs_other_clips == needs_other_clips


def test_no_torch_is_needed() -> None:
    code = "import sys; import smile_synth.training.agreement; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
