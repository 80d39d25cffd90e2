"""Stacks: the contract, objects of several generators over the background of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from smile_synth_generators.stack import Stack

from smile_synth.errors import GeneratorError
from smile_synth.generator.dataset import Dataset
from smile_synth.recipe.dataset import DatasetParams
from smile_synth.render import truth
from smile_synth.testing.contract import GeneratorContract

PIECES: dict[str, Any] = {
    "background": {"generator": "pseudo_motion", "params": {"transforms": {"cut-paste": 1}, "num_joined": (1, 1)}},
    "objects": [
        {"generator": "shapes", "params": {"num_shapes": (2, 2), "level": "moving-circles"}},
        {"generator": "cutouts", "params": {"num_objects": (1, 1)}},
    ],
}


class TestStack(GeneratorContract):
    generator = Stack


class TestThreePieces(GeneratorContract):
    generator = Stack
    params: ClassVar[dict[str, Any]] = PIECES


def dataset(**params: Any) -> Dataset:
    whole = {"canvas": {"height": 48, "width": 48, "frames": 3}, "generator": "stack", "params": params}
    return Dataset(DatasetParams.model_validate(whole), seed=0, folder=Path())


def test_objects_lie_in_order_over_the_background_and_keep_their_labels() -> None:
    clips = dataset(**PIECES)
    assert clips.max_objects == 4
    for clip in range(5):
        scene = clips.sample(clip)
        assert [layer.class_name for layer in scene.layers[:3]] == ["patch", "circle", "circle"]
        assert scene.labels["num_objects"] == 4
        outlines = [clips.label_specs["outline"].classes[n] for n in scene.labels["outline"][1:]]
        assert outlines[:2] == ["circle", "circle"]
        assert outlines[2] in ("polygon", "blob", "ellipse", "letter")
        assert scene.labels["outline"][0] == -1
        assert np.isnan(scene.labels["speed"][0])
        assert (scene.labels["speed"][1:] > 0).all()
        assert scene.background_id >= 0


def test_clip_labels_of_the_background_survive() -> None:
    scene = dataset(background={"generator": "gratings"}, objects=[{"generator": "cutouts"}]).sample(0)
    assert scene.labels["drift_speed"] > 0
    assert scene.labels["num_objects"] == len(scene.layers)
    assert scene.background.ndim == 4


def test_a_piece_without_objects_cannot_lie_on_top() -> None:
    with pytest.raises(GeneratorError, match="'gratings' has no objects"):
        dataset(objects=[{"generator": "gratings"}])


def test_motion_of_surfaces_survives_stacking() -> None:
    clips = dataset(background={"generator": "solids"}, objects=[{"generator": "figures"}])
    for clip in range(3):
        known = truth(clips.sample(clip))
        assert np.isfinite(known.flow_forward_THW2[:-1]).mean() > 0.999
        assert np.isfinite(known.flow_backward_THW2[1:]).mean() > 0.999
