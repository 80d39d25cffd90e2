"""Labels of several generators in one table."""

from __future__ import annotations

import math

import numpy as np
import pytest

from smile_synth.errors import GeneratorError
from smile_synth.generator.labels import LabelSpec, join_specs, translate

SPEED = LabelSpec("speed", unit="px/frame", per="object")
FORM = LabelSpec("form", "class", "object", classes=("disc", "square"))
OTHER_FORM = LabelSpec("form", "class", "object", classes=("square", "star"))
KIND = LabelSpec("kind", "class", classes=("a", "b"))
SIZE = LabelSpec("size", unit="px")


def test_classes_of_one_name_are_joined_and_renumbered() -> None:
    joint = join_specs({"one": {"form": FORM}, "two": {"form": OTHER_FORM}})
    assert joint["form"].classes == ("disc", "square", "star")
    said = translate({"form": np.array([0, 1, -1])}, {"form": OTHER_FORM}, joint, num_objects=3)
    assert said["form"].tolist() == [1, 2, -1]


def test_what_a_generator_does_not_say_is_undefined() -> None:
    joint = join_specs({"one": {"speed": SPEED, "size": SIZE}, "two": {"form": FORM, "kind": KIND}})
    said = translate({"form": np.array([1]), "kind": 0}, {"form": FORM, "kind": KIND}, joint, num_objects=1)
    assert said["form"].tolist() == [1]
    assert said["kind"] == 0
    assert np.isnan(said["speed"]).tolist() == [True]
    assert math.isnan(said["size"])
    other = translate({"speed": np.array([2.5, 3]), "size": 4}, {"speed": SPEED, "size": SIZE}, joint, num_objects=2)
    assert other["form"].tolist() == [-1, -1]
    assert other["kind"] == -1
    for name, spec in joint.items():
        assert spec.problem_with(said[name], 1) == ""
        assert spec.problem_with(other[name], 2) == ""


def test_a_name_that_means_two_things_is_refused() -> None:
    with pytest.raises(GeneratorError, match=r"'speed'.*'one'.*'two'.*do not combine"):
        join_specs({"one": {"speed": SPEED}, "two": {"speed": LabelSpec("speed", unit="px/s", per="object")}})
