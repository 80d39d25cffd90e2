from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import Field

from smile_synth.errors import GeneratorError, RecipeError
from smile_synth.generator import dataset as dataset_module
from smile_synth.generator.base import Generator
from smile_synth.generator.dataset import Dataset
from smile_synth.generator.labels import LabelSpec
from smile_synth.params import StrictParams
from smile_synth.recipe.dataset import CanvasParams, DatasetParams
from smile_synth.scene import Canvas, Layer, Scene


class NoisyParams(StrictParams):
    level: int = Field(9, ge=0, le=255, description="largest grey value")


class Noisy(Generator[NoisyParams]):
    """A grey background, drawn from the rng."""

    Params = NoisyParams

    @property
    def max_objects(self) -> int:
        return 0

    @property
    def label_specs(self) -> Mapping[str, LabelSpec]:
        return {"grey": LabelSpec("mean grey", unit="grey value")}

    def sample(self, *, rng: np.random.Generator) -> Scene:
        canvas = self.context.canvas
        background = rng.integers(0, self.params.level + 1, (canvas.height, canvas.width, 3), np.uint8)
        return Scene(canvas, background, labels={"grey": float(background.mean())})


class Faulty(Noisy):
    """Fails in the way it is told to."""

    fault: str = ""

    def sample(self, *, rng: np.random.Generator) -> Any:
        scene = super().sample(rng=rng)
        if self.fault == "raise":
            raise ZeroDivisionError("speed is zero")
        if self.fault == "nonsense":
            return "a scene"
        if self.fault == "canvas":
            canvas = Canvas(9, 9, 1)
            return Scene(canvas, np.zeros((9, 9, 3), np.uint8), labels=scene.labels)
        if self.fault == "labels":
            return Scene(scene.canvas, scene.background, labels={"gray": 1.0})
        texture = np.zeros((1, 1, 4), np.uint8)
        layer = Layer(texture, np.zeros((2, 6), np.float32), np.ones(2, np.float32))
        return Scene(scene.canvas, scene.background, layers=(layer,), labels=scene.labels)


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Any:
    def build(cls: type[Generator[Any]] = Noisy, seed: int = 3, **params: object) -> Dataset:
        monkeypatch.setattr(dataset_module, "find", lambda name, folder: cls)
        canvas = CanvasParams(height=8, width=12, frames=2)
        return Dataset(DatasetParams(clips=5, canvas=canvas, params=params), seed=seed, folder=Path.cwd())

    return build


def test_a_clip_depends_on_seed_and_number_alone(build: Any) -> None:
    data = build()
    alone = build().sample(4)
    everything = [data.sample(clip) for clip in range(5)]
    assert np.array_equal(everything[4].background, alone.background)
    assert not np.array_equal(everything[3].background, alone.background)
    assert not np.array_equal(build(seed=4).sample(4).background, alone.background)


def test_a_dataset_travels_to_another_process(build: Any) -> None:
    data = build()
    again = pickle.loads(pickle.dumps(data))
    assert np.array_equal(again.sample(2).background, data.sample(2).background)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("raise", "ZeroDivisionError: speed is zero"),
        ("nonsense", "must return a Scene, got str"),
        ("canvas", r"canvas \(frames x rows x columns\) must be 2x8x12, got 1x9x9"),
        ("labels", r"labels must be \['grey'\] as declared, got \['gray'\]"),
        ("layers", "at most 0 layers were promised, got 1"),
    ],
)
def test_a_failing_generator_is_named_with_clip_seed_and_how_to_repeat(
    build: Any, monkeypatch: pytest.MonkeyPatch, fault: str, said: str
) -> None:
    monkeypatch.setattr(Faulty, "fault", fault)
    with pytest.raises(GeneratorError, match=said) as caught:
        build(Faulty).sample(2)
    assert "clip 2 (seed 3)" in str(caught.value)
    assert "--clip 2 --debug" in str(caught.value)


def test_unknown_generator_parameters_are_refused(build: Any) -> None:
    with pytest.raises(RecipeError, match=r"unknown key 'levle'\. Did you mean 'level'"):
        build(levle=3)


@pytest.mark.parametrize("clip", [-1, 5])
def test_a_clip_outside_the_data_set_is_refused(build: Any, clip: int) -> None:
    with pytest.raises(RecipeError, match=f"0 to 4, got {clip}"):
        build().sample(clip)
