"""A first generator for a user: a working, commented file, its test and a recipe."""

from __future__ import annotations

import importlib.util
import keyword
import sys
from pathlib import Path
from string import Template

from smile_synth.errors import GeneratorError


def write_generator(name: str, folder: Path) -> tuple[Path, ...]:
    """Write ``name.py``, ``test_name.py`` and ``name.yaml``.

    Args:
        name: a Python name in lower case, such as ``confetti``.
        folder: where to write; made where it does not exist.

    Returns:
        The files: generator, test, recipe.

    Raises:
        GeneratorError: the name cannot be a module's, would hide an installed one, or a file is there already.
    """
    _check_name(name)
    files = {
        folder / f"{name}.py": _GENERATOR,
        folder / f"test_{name}.py": _TEST,
        folder / f"{name}.yaml": _RECIPE,
    }
    for file in files:
        if file.exists():
            raise GeneratorError(f"{file} is there already, and is not overwritten; choose another name or folder")
    folder.mkdir(parents=True, exist_ok=True)
    class_name = "".join(part.capitalize() for part in name.split("_"))
    for file, template in files.items():
        file.write_text(template.substitute(name=name, cls=class_name), encoding="utf-8")
    return tuple(files)


def _check_name(name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower() or not name.strip("_"):
        raise GeneratorError(
            f"{name!r} cannot name a generator's file; use lower case letters, digits and underscores, such as confetti"
        )
    if name in sys.stdlib_module_names or importlib.util.find_spec(name) is not None:
        raise GeneratorError(
            f"a file {name}.py would hide the installed module {name!r}; choose another name, such as my_{name}"
        )


_GENERATOR = Template('''\
"""A generator for smile-synth.

    smile-synth preview $name.py -o $name.png             look at it
    smile-synth generators check $name.py                 does it keep the contract?
    pytest test_$name.py                                  the same, as tests
    smile-synth render $name.yaml --out $name.zarr        render a dataset

It works as is: coloured discs that move over photographs. Change whatever you like.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field
from smile_synth.generator import Generator, LabelSpec
from smile_synth.params import StrictParams
from smile_synth.sampling.backgrounds import BackgroundParams, sample_background
from smile_synth.sampling.motion import Motion, MotionParams, motion_label_specs, motion_labels, sample_motion
from smile_synth.scene import Layer, Scene

COLOURS = {"red": (225, 60, 50), "green": (60, 170, 80), "blue": (50, 90, 220), "yellow": (240, 200, 40)}


class ${cls}Params(StrictParams):
    """What recipes can set; a wrong name or a value out of range is refused before anything is rendered."""

    num_objects: int = Field(3, ge=1, le=32, description="most discs of a clip; each has 1 to this many")
    softness: float = Field(0.1, ge=0.02, le=1, description="width of the soft edge, as a part of the radius")
    # Groups of parameters can be reused: paths, sizes and rotation, and backgrounds with a camera.
    motion: MotionParams = Field(MotionParams(), description="path, size and angle over time")
    background: BackgroundParams = Field(BackgroundParams(), description="what the discs move over")


class $cls(Generator[${cls}Params]):
    """Coloured discs on smooth paths over photographs."""

    # The sentence above is what `smile-synth generators list` shows.

    Params = ${cls}Params

    @property
    def max_objects(self) -> int:
        """Most layers of a scene; the store reserves this many slots for boxes and poses."""
        return self.params.num_objects

    @property
    def label_specs(self) -> Mapping[str, LabelSpec]:
        """Labels of every clip or object; the store holds them, and probes can ask for them."""
        return {
            **motion_label_specs(),
            "colour": LabelSpec("Colour of the disc", "class", "object", classes=tuple(COLOURS)),
        }

    def sample(self, *, rng: np.random.Generator) -> Scene:
        """Sample one scene. Every random choice comes from ``rng``; that alone makes clip 17 the same everywhere."""
        canvas = self.context.canvas
        background = sample_background(self.params.background, canvas, self.context.assets, rng=rng)
        count = int(rng.integers(1, self.params.num_objects + 1))
        motions = [sample_motion(self.params.motion, canvas, rng=rng) for _ in range(count)]
        colours = rng.integers(len(COLOURS), size=count)
        names = [list(COLOURS)[index] for index in colours]
        return Scene(
            canvas=canvas,
            background=background.image,
            background_id=background.asset_id,
            camera_T33=background.camera_T33,
            # The first layer is painted first, and covered by the others.
            layers=tuple(self._disc(motion, name) for motion, name in zip(motions, names, strict=True)),
            # One value per object for labels per object, in the order of the layers.
            labels={**motion_labels(motions), "colour": colours},
        )

    def _disc(self, motion: Motion, name: str) -> Layer:
        # A texture is uint8 RGBA; the pose stretches, turns and moves it in every frame.
        side = 96
        texture = np.empty((side, side, 4), np.uint8)
        texture[..., :3] = COLOURS[name]
        y, x = np.abs(np.mgrid[0:side, 0:side] + 0.5 - side / 2) / (side / 2)
        texture[..., 3] = 255 * np.clip((1 - np.hypot(x, y)) / self.params.softness, 0, 1)
        opacity = np.ones(self.context.canvas.num_frames, np.float32)
        return Layer(texture, motion.pose_T6(side, side), opacity, class_name=name)
''')

_TEST = Template('''\
"""Run with: pytest test_$name.py"""

from pathlib import Path

import numpy as np
from smile_synth.testing import GeneratorContract, Subject

FOLDER = Path(__file__).parent


class Test$cls(GeneratorContract):
    """Every test of the contract: the same rng gives the same scene, labels are declared, it pickles, ..."""

    generator = "$name.py:$cls"
    folder = FOLDER


def test_there_are_as_many_discs_as_asked_for() -> None:
    generator = Subject("$name.py:$cls", {"num_objects": 5}, folder=FOLDER).build()
    counts = {len(generator.sample(rng=np.random.default_rng(seed)).layers) for seed in range(60)}
    assert counts == {1, 2, 3, 4, 5}
''')

_RECIPE = Template("""\
# Command:   smile-synth render $name.yaml --out $name.zarr
# Hardware:  any; half a minute on one core
description: Clips of the generator in $name.py
seed: 0

dataset:
  clips: 256
  canvas: {height: 112, width: 112, frames: 16}
  generator: $name.py:$cls
  params:
    num_objects: 3
""")
