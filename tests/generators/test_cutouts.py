"""Cut-outs: the contract, what the parameters promise, and what the labels say."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image as PilImage
from smile_synth_generators.cutouts import Cutouts

from smile_synth.assets import OUTLINES
from smile_synth.errors import GeneratorError, RecipeError
from smile_synth.generator.dataset import Dataset
from smile_synth.recipe.dataset import DatasetParams
from smile_synth.render import render
from smile_synth.sampling.motion import DIRECTIONS, direction_class
from smile_synth.sampling.paths import PATH_KINDS
from smile_synth.testing.contract import GeneratorContract


class TestCutouts(GeneratorContract):
    generator = Cutouts
    params: ClassVar[dict[str, Any]] = {"motion": {"path": dict.fromkeys(PATH_KINDS, 1)}}


def dataset(folder: Path = Path(), assets: dict[str, str] | None = None, **params: Any) -> Dataset:
    whole = {
        "clips": 100,
        "canvas": {"height": 96, "width": 96, "frames": 8},
        "generator": "cutouts",
        "params": params,
        "assets": assets or {},
    }
    return Dataset(DatasetParams.model_validate(whole), seed=0, folder=folder)


def test_the_number_of_objects_stays_between_its_bounds_and_reaches_both() -> None:
    clips = dataset(num_objects=(2, 4))
    counts = [len(clips.sample(clip).layers) for clip in range(40)]
    assert (min(counts), max(counts)) == (2, 4)
    assert clips.max_objects == 4


def test_the_largest_object_is_painted_first() -> None:
    clips = dataset(num_objects=(3, 3))
    for clip in range(10):
        scene = clips.sample(clip)
        areas = [
            np.abs(np.linalg.det(layer.pose_T6[0, [0, 1, 3, 4]].reshape(2, 2)))
            * layer.texture.shape[0]
            * layer.texture.shape[1]
            for layer in scene.layers
        ]
        assert areas == sorted(areas, reverse=True)


def test_only_the_asked_outlines_are_drawn_and_labelled() -> None:
    clips = dataset(classes=("letter", "ellipse"))
    seen = {name for clip in range(30) for name in clips.sample(clip).labels["outline"].tolist()}
    assert {OUTLINES[n] for n in seen} == {"letter", "ellipse"}


def test_labels_describe_the_rendered_motion() -> None:
    clips = dataset(num_objects=(1, 1), motion={"path": "linear", "size": {"growth_per_frame": 0.0}})
    agreeing = 0
    for clip in range(40):
        scene = clips.sample(clip)
        boxes = render(scene).boxes_KT4[0]
        if not np.isfinite(boxes).all() or boxes.min() <= 0 or boxes.max() >= 96:
            agreeing += 1
            continue
        moved = (boxes[-1, :2] + boxes[-1, 2:] - boxes[0, :2] - boxes[0, 2:]) / 2
        label = int(scene.labels["direction"][0])
        away = (direction_class(*moved) - label) % len(DIRECTIONS)
        agreeing += away in (0, 1, len(DIRECTIONS) - 1) or np.hypot(*moved) < 6
    assert agreeing >= 38


def test_a_users_objects_have_their_folder_as_class_and_no_outline(tmp_path: Path) -> None:
    for name in ("letter", "zebra"):
        (tmp_path / "objects" / name).mkdir(parents=True)
        rgba = np.full((40, 40, 4), 255, np.uint8)
        PilImage.fromarray(rgba).save(tmp_path / "objects" / name / "1.png")
    clips = dataset(tmp_path, {"objects": "objects"})
    assert clips.label_specs["object_class"].classes == ("letter", "zebra")
    for clip in range(8):
        labels = clips.sample(clip).labels
        assert set(labels["outline"].tolist()) == {-1}
        assert set(labels["object_class"].tolist()) <= {0, 1}


def test_a_truncated_object_ends_the_clip_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "objects" / "cat").mkdir(parents=True)
    file = tmp_path / "objects" / "cat" / "half.png"
    PilImage.fromarray(np.random.default_rng(0).integers(0, 256, (80, 80, 4), dtype=np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:4000])
    with pytest.raises(GeneratorError, match=r"'cutouts' failed in clip 3 \(seed 0\): .*half.png is damaged.*--clip 3"):
        dataset(tmp_path, {"objects": "objects"}).sample(3)


def test_an_unknown_class_names_the_nearest() -> None:
    with pytest.raises(GeneratorError, match=r"no objects of class 'leter'. Did you mean 'letter'\?"):
        dataset(classes=("leter",))


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"num_objects": (0, 2)}, "greater than or equal to 1"),
        ({"num_objects": (3, 2)}, "runs from its lower to its higher end"),
        ({"motion": {"paths": "linear"}}, "unknown key 'motion.paths'. Did you mean 'path'"),
        ({"order": "smallest-first"}, "order"),
    ],
)
def test_parameters_out_of_range_are_refused(params: dict[str, Any], problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        dataset(**params)
