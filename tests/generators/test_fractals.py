"""Fractals: the contract for every variation, and no degenerate system."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from smile_synth_generators.fractals import VARIATIONS, Fractals, FractalsParams, _between, _maps, _sample_parameters

from smile_synth.assets import Assets
from smile_synth.errors import GeneratorError
from smile_synth.generator.base import GeneratorContext
from smile_synth.randomness import clip_rng, stream
from smile_synth.recipe.assets import AssetsParams
from smile_synth.render import render
from smile_synth.scene import Canvas
from smile_synth.testing.contract import GeneratorContract


class TestFractals(GeneratorContract):
    generator = Fractals
    params: ClassVar[dict[str, Any]] = {"variation": dict.fromkeys(VARIATIONS, 1)}


@pytest.fixture(scope="module")
def context() -> GeneratorContext:
    return GeneratorContext(Canvas(96, 96, 8), Assets.build(AssetsParams(), folder=Path()))


def test_every_map_pulls_points_together() -> None:
    for n in range(50):
        rng = stream(n, "maps")
        maps = _maps(_between(_sample_parameters(4, rng), _sample_parameters(4, rng), 0.5))
        linear = maps[:, [0, 1, 3, 4]].reshape(-1, 2, 2)
        assert np.linalg.svd(linear, compute_uv=False).max() < 1


@pytest.mark.parametrize("variation", VARIATIONS)
def test_no_frame_of_any_clip_shows_a_speck_or_nothing(variation: str, context: GeneratorContext) -> None:
    generator = Fractals(FractalsParams.model_validate({"variation": variation}), context)
    for clip in range(8):
        scene = generator.sample(rng=clip_rng(11, clip))
        box_T4 = render(scene).boxes_KT4[0]
        side_T = (box_T4[:, 2:] - box_T4[:, :2]).max(axis=1)
        assert side_T.min() > 0.3 * 96
        drawn_T = (scene.layers[0].texture[..., 3] > 0).mean(axis=(1, 2))
        assert drawn_T.min() > 0.02
        assert VARIATIONS[scene.labels["variation"]] == variation


def test_points_keep_their_paths_so_that_frames_hang_together(context: GeneratorContext) -> None:
    generator = Fractals(FractalsParams.model_validate({"change": (0.05, 0.05), "variation": "linear"}), context)
    for clip in range(4):
        alpha_TN = generator.sample(rng=clip_rng(12, clip)).layers[0].texture[..., 3].reshape(8, -1).astype(float)
        near, far = np.corrcoef(alpha_TN[0], alpha_TN[1])[0, 1], np.corrcoef(alpha_TN[0], alpha_TN[7])[0, 1]
        assert near > far
        assert near > 0.4


def test_filters_that_nothing_passes_say_what_to_change(context: GeneratorContext) -> None:
    generator = Fractals(FractalsParams.model_validate({"most_concentrated": 1e-6}), context)
    with pytest.raises(GeneratorError, match="lower least_cover"):
        generator.sample(rng=clip_rng(0, 0))
