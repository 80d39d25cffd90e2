"""A plug-in that raises, hangs or returns nonsense ends with its name, the clip, the seed and how to repeat it."""

from __future__ import annotations

from pathlib import Path

import pytest

from smile_synth.errors import GeneratorError
from smile_synth.generator.dataset import Dataset
from smile_synth.recipe.dataset import DatasetParams

PLUGIN = """
import numpy as np
from smile_synth.generator import Generator, LabelSpec
from smile_synth.params import StrictParams
from smile_synth.scene import Layer, Scene


class Params(StrictParams):
    fault: str


class Faulty(Generator):
    \"\"\"Breaks in a way of its own.\"\"\"

    Params = Params
    max_objects = 1
    label_specs = {"kind": LabelSpec("kind", "class", classes=("a", "b"))}

    def sample(self, *, rng):
        canvas, kind = self.context.canvas, 0
        image = np.zeros((canvas.height, canvas.width, 3), np.uint8)
        pose = np.tile(np.float32([1, 0, 0, 0, 1, 0]), (canvas.num_frames, 1))
        layer = Layer(np.full((4, 4, 4), 255, np.uint8), pose, np.ones(canvas.num_frames, np.float32))
        layers = (layer,)
        match self.params.fault:
            case "raises":
                return 1 / 0
            case "exits":
                raise SystemExit("goodbye")
            case "hangs":
                while True:
                    pass
            case "nothing":
                return None
            case "too many layers":
                layers = (layer, layer)
            case "float background":
                image = image / 255
            case "endless pose":
                layers = (Layer(layer.texture, pose * np.float32(np.nan), layer.opacity_T),)
            case "unknown class":
                kind = 7
            case "class in words":
                kind = "a"
            case "asset of nobody":
                layers = (Layer(layer.texture, pose, layer.opacity_T, object_id=10**6),)
        return Scene(canvas, image, layers=layers, labels={"kind": kind})
"""


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("raises", "ZeroDivisionError: division by zero"),
        ("exits", "SystemExit: goodbye"),
        ("hangs", r"it took longer than 0.2 s"),
        ("nothing", r"sample\(\) must return a Scene, got NoneType"),
        ("too many layers", "at most 1 layers were promised, got 2"),
        ("float background", "a background must be uint8"),
        ("endless pose", "a layer's pose must be finite"),
        ("unknown class", r"label 'kind' must be -1 to 1, the numbers of its classes, got 7"),
        ("class in words", r"label 'kind' must be whole numbers"),
        ("asset of nobody", "asset 1000000 does not exist"),
    ],
)
def test_a_faulty_plugin_ends_the_clip_by_name(tmp_path: Path, fault: str, problem: str) -> None:
    (tmp_path / "faulty.py").write_text(PLUGIN)
    params = {
        "generator": "faulty.py:Faulty",
        "params": {"fault": fault},
        "canvas": {"height": 32, "width": 32, "frames": 4},
        "clip_timeout_s": 0.2,
    }
    dataset = Dataset(DatasetParams.model_validate(params), seed=5, folder=tmp_path)
    with pytest.raises(GeneratorError, match=problem) as caught:
        dataset.sample(17)
    assert "generator 'faulty.py:Faulty' failed in clip 17 (seed 5)" in str(caught.value)
    assert "smile-synth preview RECIPE --seed 5 --clip 17 --debug" in str(caught.value)


def test_a_sound_plugin_of_the_same_file_is_sampled(tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(PLUGIN)
    params = DatasetParams(generator="faulty.py:Faulty", params={"fault": "none"})
    assert len(Dataset(params, seed=5, folder=tmp_path).sample(17).layers) == 1
