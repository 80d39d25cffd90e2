"""Pseudo-motion: the contract for every transform, and labels that name it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import ValidationError
from smile_synth_generators.pseudo_motion import TRANSFORMS, PseudoMotion, PseudoMotionParams

from smile_synth.assets import Assets
from smile_synth.generator.base import GeneratorContext
from smile_synth.randomness import clip_rng
from smile_synth.recipe.assets import AssetsParams
from smile_synth.render import render
from smile_synth.scene import Canvas, Scene
from smile_synth.testing.contract import GeneratorContract


class TestPseudoMotion(GeneratorContract):
    generator = PseudoMotion


class TestAllJoined(GeneratorContract):
    generator = PseudoMotion
    params: ClassVar[dict[str, Any]] = {"num_joined": (9, 9)}


@pytest.fixture(scope="module")
def context() -> GeneratorContext:
    return GeneratorContext(Canvas(64, 64, 8), Assets.build(AssetsParams(), folder=Path()))


def scenes(context: GeneratorContext, count: int, **params: Any) -> list[Scene]:
    generator = PseudoMotion(PseudoMotionParams.model_validate(params), context)
    return [generator.sample(rng=clip_rng(2, clip)) for clip in range(count)]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_every_transform_changes_every_frame_and_is_named(transform: str, context: GeneratorContext) -> None:
    for scene in scenes(context, 3, transforms={transform: 1}, num_joined=(1, 1)):
        frames = render(scene).frames_THWC.astype(int)
        assert np.abs(np.diff(frames, axis=0)).max(axis=(1, 2, 3)).min() > 2
        assert TRANSFORMS[scene.labels["transform"]] == transform
        assert scene.labels["joined_first"] == scene.labels["joined_second"] == -1
        assert len(scene.layers) == (transform == "cut-paste")
        assert (scene.camera_T33 is None) == (transform in ("fade", "colour", "cut-paste"))


def test_patches_must_stay_trackable_so_frames_change_little(context: GeneratorContext) -> None:
    for scene in scenes(context, 12):
        frames = render(scene).frames_THWC.astype(int)
        assert np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3)).max() < 40


def test_joined_transforms_are_different_ones(context: GeneratorContext) -> None:
    weights = {"zoom": 1, "affine": 1}
    for scene in scenes(context, 3, transforms=weights, num_joined=(2, 2)):
        assert scene.labels["transform"] == -1
        named = {TRANSFORMS[scene.labels[name]] for name in ("joined_first", "joined_second")}
        assert named == {"zoom", "affine"}
        assert scene.labels["camera_zoom"] != 1
    with pytest.raises(ValidationError, match="may not exceed the number of transforms, 2, got 3"):
        PseudoMotionParams.model_validate({"transforms": weights, "num_joined": (1, 3)})


def test_only_pasted_patches_count_as_objects(context: GeneratorContext) -> None:
    assert PseudoMotion(PseudoMotionParams(), context).max_objects == 1
    zooms = PseudoMotionParams.model_validate({"transforms": {"zoom": 1}, "num_joined": (1, 1)})
    assert PseudoMotion(zooms, context).max_objects == 0
