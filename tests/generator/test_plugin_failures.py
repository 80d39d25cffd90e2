"""A plug-in that raises, hangs or returns nonsense ends with its name, the clip, the seed and how to repeat it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from smile_synth.cli import app
from smile_synth.errors import GeneratorError
from smile_synth.generator.dataset import Dataset
from smile_synth.recipe.dataset import DatasetParams

PLUGIN = """
import time
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
            case "has no memory":
                raise MemoryError
            case "runs in circles":
                return self.sample(rng=rng)
            case "prints":
                print("hello\\nworld")
                raise ValueError("two\\nlines, and " + "many " * 500 + "words")
            case "hangs":
                while True:
                    pass
            case "hangs and holds on":
                while True:
                    try:
                        time.sleep(0.01)
                    except Exception:
                        pass
            case "no labels":
                return Scene(canvas, image, layers=layers, labels=None)
            case "ragged label":
                kind = [[1], [1, 2]]
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
        ("has no memory", r"\(seed 5\): MemoryError\. Repeat"),
        ("runs in circles", "RecursionError: maximum recursion depth exceeded"),
        ("prints", r"ValueError: two lines, and many .*\.\.\.\. Repeat"),
        ("hangs", r"it took longer than 0.2 s"),
        ("hangs and holds on", r"it took longer than 0.2 s"),
        ("no labels", "TypeError: 'NoneType' object is not iterable"),
        ("ragged label", "ValueError: setting an array element with a sequence"),
        ("nothing", r"sample\(\) must return a Scene, got NoneType"),
        ("too many layers", "at most 1 layers were promised, got 2"),
        ("float background", "a background must be uint8"),
        ("endless pose", "a layer's pose must be finite"),
        ("unknown class", r"label 'kind' must be -1 to 1, the indices of its classes, got 7"),
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


UNBUILT = """
from pydantic import model_validator
from smile_synth.generator import Generator
from smile_synth.params import StrictParams

{module}

class Params(StrictParams):
    @model_validator(mode="after")
    def _check(self):
        {params}
        return self


class Faulty(Generator):
    Params = Params
    max_objects = 0
    label_specs = {{}}

    def __init__(self, params, context):
        super().__init__(params, context)
        {init}

    def sample(self, *, rng):
        raise AssertionError("never built")

    {members}
"""


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ({"module": "raise MemoryError"}, "cannot be imported, its own code fails: MemoryError"),
        ({"module": "while True: pass"}, "cannot be imported: it took longer than 0.2 s"),
        ({"params": "{}['depth']"}, "cannot be built: KeyError: 'depth'"),
        ({"init": "raise SystemExit(3)"}, "cannot be built: SystemExit: 3"),
        ({"init": "raise MemoryError"}, "cannot be built: MemoryError$"),
        ({"init": "self.__init__(params, context)"}, "cannot be built: RecursionError: maximum recursion depth"),
        ({"init": "while True: pass"}, "cannot be built: it took longer than 0.2 s"),
        ({"members": "max_objects = property(lambda self: 1 / 0)"}, "what it promises: ZeroDivisionError"),
        ({"members": "max_objects = -1"}, "max_objects must be a whole number of 0 or more, got -1"),
        ({"members": "max_objects = True"}, "max_objects must be a whole number of 0 or more, got True"),
        ({"members": "label_specs = {'a': 1}"}, r"label_specs must map names to LabelSpec, got {'a': 1}"),
        ({"members": "label_specs = None"}, "what it promises: TypeError"),
    ],
)
def test_a_plugin_that_cannot_be_built_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: dict[str, str], problem: str
) -> None:
    parts = {"module": "", "params": "pass", "init": "pass", "members": "pass", **code}
    (tmp_path / "faulty.py").write_text(UNBUILT.format(**parts))
    monkeypatch.setattr("smile_synth.generator.dataset.SECONDS_TO_BUILD", 0.2)
    with pytest.raises(GeneratorError, match=problem) as caught:
        Dataset(DatasetParams(generator="faulty.py:Faulty"), seed=5, folder=tmp_path)
    assert "generator 'faulty.py:Faulty'" in str(caught.value)


@pytest.mark.parametrize("fault", ["prints", "exits", "has no memory", "runs in circles"])
def test_the_command_line_says_one_line(tmp_path: Path, fault: str) -> None:
    (tmp_path / "faulty.py").write_text(PLUGIN)
    (tmp_path / "r.yaml").write_text(f"dataset: {{generator: 'faulty.py:Faulty', params: {{fault: {fault}}}}}")
    result = CliRunner().invoke(app, ["preview", str(tmp_path / "r.yaml"), "--out", str(tmp_path / "r.png")])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("smile-synth: generator 'faulty.py:Faulty' failed in clip 0 (seed 0): ")
