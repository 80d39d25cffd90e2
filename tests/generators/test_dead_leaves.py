"""Dead leaves: the contract, published numbers, and quadratic paths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from smile_synth_generators.dead_leaves import DeadLeaves, DeadLeavesParams

from smile_synth.assets import Assets
from smile_synth.generator.base import GeneratorContext
from smile_synth.randomness import clip_rng
from smile_synth.recipe.assets import AssetsParams
from smile_synth.scene import Canvas, Scene
from smile_synth.testing.contract import GeneratorContract


class TestDeadLeaves(GeneratorContract):
    generator = DeadLeaves


def scenes(count: int) -> list[Scene]:
    context = GeneratorContext(Canvas(256, 256, 16), Assets.build(AssetsParams(), folder=Path()))
    generator = DeadLeaves(DeadLeavesParams(), context)
    return [generator.sample(rng=clip_rng(1, clip)) for clip in range(count)]


def test_numbers_radii_and_sides_are_the_published_ones() -> None:
    drawn = scenes(30)
    counts = [len(scene.layers) for scene in drawn]
    assert (min(counts), max(counts)) == (15, 30)
    radii = [(layer.texture.shape[0] - 4) / 2 for scene in drawn for layer in scene.layers]
    assert 12 <= min(radii) < 14
    assert 30 < max(radii) <= 33
    sides = np.concatenate([scene.labels["num_sides"] for scene in drawn])
    assert np.unique(sides).tolist() == list(range(1, 9))


def test_paths_are_quadratic_and_speeds_are_theirs() -> None:
    for scene in scenes(3):
        for k, layer in enumerate(scene.layers):
            height, width = layer.texture.shape[:2]
            a, b, c, d, e, f = layer.pose_T6.T.astype(float)
            centre_T2 = np.stack([a * width / 2 + b * height / 2 + c, d * width / 2 + e * height / 2 + f], axis=1)
            second = np.diff(centre_T2, n=2, axis=0)
            assert np.allclose(second, second[0], atol=2e-3)
            step_T = np.linalg.norm(np.diff(centre_T2, axis=0), axis=1)
            assert scene.labels["speed"][k] == pytest.approx(step_T.mean(), abs=0.01)
