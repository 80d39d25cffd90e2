"""The contract kit finds every fault that it is meant to find, and passes a sound generator."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import Field

from smile_synth.errors import GeneratorError
from smile_synth.generator.base import Generator
from smile_synth.generator.labels import LabelSpec
from smile_synth.params import StrictParams
from smile_synth.scene import Canvas, Layer, Scene
from smile_synth.testing import contract as testing
from smile_synth.testing.contract import CHECKS, ContractBroken, GeneratorContract, Subject
from smile_synth.testing.run import measure_speed, run_checks


class SquareParams(StrictParams):
    """Parameters of a square."""

    side: int = Field(12, ge=1, le=64, description="side of the square, px")


class Square(Generator[SquareParams]):
    """One square that stands still somewhere."""

    Params: ClassVar[type[StrictParams]] = SquareParams

    @property
    def max_objects(self) -> int:
        return 1

    @property
    def label_specs(self) -> Mapping[str, LabelSpec]:
        return {"half": LabelSpec("Which half it stands in", "class", "object", classes=("left", "right"))}

    def sample(self, *, rng: np.random.Generator) -> Scene:
        canvas = self.context.canvas
        x, y = rng.random(2) * (canvas.width - 8, canvas.height - 8)
        return self.scene(canvas, float(x), float(y))

    def scene(self, canvas: Canvas, x: float, y: float) -> Scene:
        pose = np.tile(np.array([1, 0, x, 0, 1, y], np.float32), (canvas.num_frames, 1))
        texture = np.full((self.params.side, self.params.side, 4), 255, np.uint8)
        layer = Layer(texture, pose, np.ones(canvas.num_frames, np.float32))
        background = np.zeros((canvas.height, canvas.width, 3), np.uint8)
        return Scene(canvas, background, layers=(layer,), labels={"half": np.array([int(2 * x > canvas.width)])})


class TestSquare(GeneratorContract):
    generator = Square


class Undescribed(Square):
    pass


class FixedCanvas(Square):
    """Ignores the canvas."""

    def sample(self, *, rng: np.random.Generator) -> Scene:
        return self.scene(Canvas(64, 64, 8), float(rng.random()), 0)


class Clock(Square):
    """Takes the time for chance."""

    def sample(self, *, rng: np.random.Generator) -> Scene:
        return self.scene(self.context.canvas, time.perf_counter() % 8, 0)


class Counter(Square):
    """Moves on with every clip."""

    count = 0

    def sample(self, *, rng: np.random.Generator) -> Scene:
        self.count += 1
        return self.scene(self.context.canvas, self.count, float(rng.random()))


class Constant(Square):
    """Draws the same clip always."""

    def sample(self, *, rng: np.random.Generator) -> Scene:
        return self.scene(self.context.canvas, 1, 2)


class GlobalNumpy(Square):
    """Draws from numpy's global random numbers."""

    def sample(self, *, rng: np.random.Generator) -> Scene:
        np.random.seed(0)  # noqa: NPY002 - the fault under test
        return self.scene(self.context.canvas, np.random.rand(), float(rng.random()))  # noqa: NPY002


class GlobalPython(Square):
    """Draws from Python's global random numbers."""

    def sample(self, *, rng: np.random.Generator) -> Scene:
        random.random()
        return super().sample(rng=rng)


class Shared(Square):
    """Hands out the array that it keeps."""

    kept: np.ndarray | None = None

    def sample(self, *, rng: np.random.Generator) -> Scene:
        scene = super().sample(rng=rng)
        if self.kept is None:
            self.kept = scene.layers[0].texture
        layer = Layer(self.kept, scene.layers[0].pose_T6, scene.layers[0].opacity_T)
        return Scene(scene.canvas, scene.background, layers=(layer,), labels=scene.labels)


class TooMany(Square):
    """Draws more than it promised."""

    @property
    def max_objects(self) -> int:
        return 0


class WrongLabel(Square):
    """Names a class that is not there."""

    def sample(self, *, rng: np.random.Generator) -> Scene:
        scene = super().sample(rng=rng)
        return Scene(scene.canvas, scene.background, layers=scene.layers, labels={"half": np.array([2])})


class OffStage(Square):
    """Draws beside the canvas."""

    def sample(self, *, rng: np.random.Generator) -> Scene:
        return self.scene(self.context.canvas, -500 - float(rng.random()), 0)


class Unpicklable(Square):
    """Keeps a function without a name."""

    def __init__(self, params: Any, context: Any) -> None:
        super().__init__(params, context)
        self.choose = lambda: 1


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_sound_generator_passes_every_check(check: testing.Check) -> None:
    check(Subject(Square))


@pytest.mark.parametrize(
    ("faulty", "check", "advice"),
    [
        (Undescribed, testing.check_describes_itself, "has no docstring"),
        (FixedCanvas, testing.check_builds_on_any_canvas, "must be 5x48x76, got 8x64x64"),
        (Clock, testing.check_is_deterministic, "take every random number from `rng`"),
        (Counter, testing.check_keeps_no_state, "must not change the generator"),
        (Constant, testing.check_depends_on_the_rng, "draw something from `rng`"),
        (GlobalNumpy, testing.check_leaves_global_randomness_alone, "numpy's global random numbers"),
        (GlobalPython, testing.check_leaves_global_randomness_alone, "Python's global random numbers"),
        (Shared, testing.check_scenes_share_nothing, "copy what the generator keeps"),
        (TooMany, testing.check_promises_hold, "has 1 layers, max_objects promises at most 0"),
        (WrongLabel, testing.check_labels_are_declared, r"label 'half' of clip 0 must be -1 to 1"),
        (OffStage, testing.check_objects_are_seen, r"only 0% of 6 objects are ever seen"),
        (Unpicklable, testing.check_pickles, "cannot be pickled"),
    ],
)
def test_a_fault_is_found_by_its_check(faulty: type, check: testing.Check, advice: str) -> None:
    with pytest.raises(ContractBroken, match=advice):
        check(Subject(faulty))


def test_every_check_is_a_test_of_the_inherited_class() -> None:
    tests = {name.removeprefix("test_") for name in vars(GeneratorContract) if name.startswith("test_")}
    assert tests == {check.__name__.removeprefix("check_") for check in CHECKS}


def test_the_report_goes_on_after_a_fault_and_after_an_exception() -> None:
    class Raising(Square):
        """Raises."""

        def sample(self, *, rng: np.random.Generator) -> Scene:
            raise ZeroDivisionError("as ever")

    verdicts = list(run_checks(Subject(Raising)))
    assert len(verdicts) == len(CHECKS)
    assert [verdict.problem for verdict in verdicts][1] == "ZeroDivisionError: as ever"
    assert verdicts[0].problem == ""


def test_the_report_refuses_parameters_that_are_not_valid() -> None:
    with pytest.raises(GeneratorError, match=r"unknown key 'sides'. Did you mean 'side'\?"):
        list(run_checks(Subject(Square, {"sides": 3})))


def test_the_speed_is_told_in_clips_per_second() -> None:
    assert measure_speed(Subject(Square)).startswith("speed: ")
