"""Patches: the contract, where they are cut, their edges and their opacity."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from smile_synth_generators.patches import OUTLINES, Patches, draw_patch_alpha

from smile_synth.errors import RecipeError
from smile_synth.generator.dataset import Dataset
from smile_synth.recipe.dataset import DatasetParams
from smile_synth.testing.contract import GeneratorContract


class TestPatches(GeneratorContract):
    generator = Patches
    params: ClassVar[dict[str, Any]] = {"source": {"background": 1, "photograph": 1}}


def dataset(**params: Any) -> Dataset:
    whole = {"clips": 100, "canvas": {"height": 96, "width": 96, "frames": 8}, "generator": "patches", "params": params}
    return Dataset(DatasetParams.model_validate(whole), seed=0, folder=Path())


def test_a_patch_of_the_background_is_found_in_the_background() -> None:
    clips = dataset(num_objects=(1, 1), motion={"size": {"scales_px": (40,)}})
    for clip in range(5):
        scene = clips.sample(clip)
        texture = scene.layers[0].texture[..., :3]
        windows = np.lib.stride_tricks.sliding_window_view(scene.background, texture.shape)[:, :, 0]
        assert (windows[..., 0, 0, :] == texture[0, 0]).all(axis=-1).any()
        assert (windows == texture).all(axis=(2, 3, 4)).any()


def test_a_patch_of_another_photograph_names_it() -> None:
    clips = dataset(source="photograph")
    ids = {(scene.background_id, layer.object_id) for scene in map(clips.sample, range(20)) for layer in scene.layers}
    assert any(behind != patch for behind, patch in ids)
    assert all(clips.assets.rows[patch].kind == "background" for _, patch in ids)


@pytest.mark.parametrize("outline", OUTLINES)
def test_patches_are_opaque_in_the_middle_and_soft_at_the_edge(outline: Any) -> None:
    hard, soft = draw_patch_alpha(outline, 60, 40, 0.0), draw_patch_alpha(outline, 60, 40, 0.5)
    for alpha in (hard, soft):
        assert alpha.shape == (60, 40)
        assert alpha[30, 20] == 255
        assert alpha[0].max() < 255
        np.testing.assert_array_equal(alpha, alpha[::-1, ::-1])
    between = [((alpha > 0) & (alpha < 255)).mean() for alpha in (hard, soft)]
    assert between[0] < between[1] / 2


def test_opacity_runs_between_its_bounds() -> None:
    clips = dataset(opacity=(0.3, 0.6))
    opacity = np.concatenate([layer.opacity_T for clip in range(20) for layer in clips.sample(clip).layers])
    assert opacity.min() >= np.float32(0.3)
    assert opacity.max() <= np.float32(0.6)
    assert opacity.std() > 0.05


def test_outlines_come_as_often_as_their_weights_say() -> None:
    clips = dataset(num_objects=(8, 8))
    drawn = np.concatenate([clips.sample(clip).labels["patch_outline"] for clip in range(50)])
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / len(drawn), (0.5, 0.35, 0.15), atol=0.08)


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"opacity": (0.9, 0.8)}, "runs from its lower to its higher end"),
        ({"opacity": (0.5, 1.5)}, "less than or equal to 1"),
        ({"outline": "circle"}, "outline"),
        ({"smooth_edge": 0, "smooth_width": (0.1, 0.2)}, "smooth_width has no effect with smooth_edge 0"),
    ],
)
def test_parameters_out_of_range_are_refused(params: dict[str, Any], problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        dataset(**params)
