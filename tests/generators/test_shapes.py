"""Shapes: the contract on every rung, and a ladder on which each rung adds what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import ValidationError
from smile_synth_generators.shapes import FILLS, LADDER, OUTLINES, Shapes, ShapesParams

from smile_synth.assets import Assets
from smile_synth.generator.base import GeneratorContext
from smile_synth.randomness import clip_rng
from smile_synth.recipe.assets import AssetsParams
from smile_synth.scene import NO_ASSET, Canvas, Layer, Scene
from smile_synth.testing.contract import GeneratorContract

CANVAS = Canvas(256, 256, 16)


class TestPhotographs(GeneratorContract):
    generator = Shapes


class TestStaticCircles(GeneratorContract):
    generator = Shapes
    params: ClassVar[dict[str, Any]] = {"level": "static-circles", "background": {"kind": "gradient"}}


def scenes(count: int = 4, **params: Any) -> list[Scene]:
    context = GeneratorContext(CANVAS, Assets.build(AssetsParams(), folder=Path()))
    generator = Shapes(ShapesParams.model_validate(params), context)
    return [generator.sample(rng=clip_rng(7, clip)) for clip in range(count)]


def layers(**params: Any) -> list[Layer]:
    return [layer for scene in scenes(**params) for layer in scene.layers]


def centre_T2(layer: Layer) -> np.ndarray:
    height, width = layer.texture.shape[:2]
    a, b, c, d, e, f = layer.pose_T6.T.astype(float)
    return np.stack([a * width / 2 + b * height / 2 + c, d * width / 2 + e * height / 2 + f], axis=1)


def linear_T22(layer: Layer) -> np.ndarray:
    return layer.pose_T6.reshape(-1, 2, 3)[:, :, :2].astype(float)


def test_static_circles_stand_still_and_are_circles() -> None:
    for layer in layers(level="static-circles"):
        assert layer.class_name == "circle"
        assert (layer.pose_T6 == layer.pose_T6[0]).all()


def test_moving_circles_move_evenly_at_the_published_speed() -> None:
    drawn = layers(level="moving-circles")
    speeds = []
    for layer in drawn:
        step_T2 = np.diff(centre_T2(layer), axis=0)
        assert np.allclose(step_T2, step_T2[0], atol=1e-3)
        speeds.append(np.linalg.norm(step_T2[0]) / 4)
        assert np.allclose(linear_T22(layer), np.eye(2))
    assert {layer.class_name for layer in drawn} == {"circle"}
    assert 1.2 - 1e-3 <= min(speeds) < 1.5
    assert 2.7 < max(speeds) <= 3 + 1e-3


def test_moving_shapes_come_in_every_outline() -> None:
    assert {layer.class_name for layer in layers(level="moving-shapes")} == set(OUTLINES)


def test_transforming_shapes_turn_grow_and_shear_but_do_not_accelerate() -> None:
    for layer in layers(level="transforming"):
        step_T2 = np.diff(centre_T2(layer), axis=0)
        assert np.allclose(step_T2, step_T2[0], atol=1e-3)
        assert not np.allclose(linear_T22(layer)[0], linear_T22(layer)[-1])


def test_accelerating_shapes_change_their_speed_evenly() -> None:
    changes = []
    for layer in layers(level="accelerating"):
        second = np.diff(centre_T2(layer), n=2, axis=0)
        assert np.allclose(second, second[0], atol=1e-3)
        changes.append(np.linalg.norm(second[0]) / 16)
    assert 0.04 < max(changes) <= 0.06 + 1e-3


@pytest.mark.parametrize(
    ("level", "fill"), [("accelerating", "colour"), ("textured", "texture"), ("photographs", "photograph")]
)
def test_upper_rungs_change_the_fill(level: str, fill: str) -> None:
    for scene in scenes(level=level):
        assert {FILLS[n] for n in scene.labels["fill"]} == {fill}
        for layer in scene.layers:
            assert (layer.object_id != NO_ASSET) == (fill == "photograph")


def test_radii_follow_a_cut_exponential_law() -> None:
    drawn = layers(count=40, level="static-circles", num_shapes=(16, 16), radius_px=(6, 72))
    radii = np.array([(layer.texture.shape[0] - 4) / 2 for layer in drawn])
    assert radii.min() >= 6
    assert radii.max() <= 73
    share = np.exp(-6 / 20) - np.exp(-72 / 20)
    assert (radii <= 20).mean() == pytest.approx((np.exp(-6 / 20) - np.exp(-1)) / share, abs=0.08)


def test_labels_say_what_the_poses_do() -> None:
    for scene in scenes(level="accelerating"):
        for k, layer in enumerate(scene.layers):
            step_T = np.linalg.norm(np.diff(centre_T2(layer), axis=0), axis=1)
            assert scene.labels["speed"][k] == pytest.approx(step_T.mean(), abs=0.01)
            grown = np.sqrt(np.linalg.det(linear_T22(layer)[-1]) / np.linalg.det(linear_T22(layer)[0]))
            assert scene.labels["size_change"][k] == pytest.approx(grown, rel=1e-3)


def test_every_rung_can_be_asked_for_and_settings_without_effect_are_refused() -> None:
    for level in LADDER:
        assert ShapesParams.model_validate({"level": level}).reaches(level)
    with pytest.raises(ValidationError, match="no effect at level 'static-circles'"):
        ShapesParams.model_validate({"level": "static-circles", "speed_px_per_frame": (1, 2)})
    with pytest.raises(ValidationError, match="begins at 'accelerating'"):
        ShapesParams.model_validate({"level": "transforming", "acceleration_px": 0.1})
