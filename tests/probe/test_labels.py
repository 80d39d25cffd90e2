"""From labels of a store to numbered classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from smile_synth.assets import AssetRow
from smile_synth.errors import ProbeError
from smile_synth.generator.labels import LabelSpec
from smile_synth.probe.labels import Answers, answers_to, bin_names, check_label, quantile_edges, reversal
from smile_synth.recipe.probe import QuestionParams


@dataclass
class Clips:
    """What a store says, without a store."""

    columns: dict[str, Any]
    label_specs: dict[str, LabelSpec] = field(default_factory=dict)
    assets: list[AssetRow] = field(default_factory=list)
    seed: int = 1

    @property
    def num_clips(self) -> int:
        return len(next(iter(self.columns.values())))

    def column(self, name: str) -> npt.NDArray[Any]:
        return np.asarray(self.columns[name])


SIDE = LabelSpec("which side", "class", "object", classes=("left", "right", "up"))
SPEED = LabelSpec("speed", "number", "object", unit="px/frame")


def ask(label: str, train: Clips, test: Clips, least: int = 2, bins: int = 4) -> tuple[Answers, Answers]:
    question = QuestionParams(name="q", source="s", label=label, bins=bins)
    return answers_to(question, train, test, min_clips_per_class=least)


def sides(values: list[int], classes: tuple[str, ...] = SIDE.classes) -> Clips:
    spec = LabelSpec("which side", "class", "object", classes=classes)
    return Clips({"labels/side": np.array(values, np.int32)[:, None]}, {"side": spec})


def speeds(values: npt.ArrayLike) -> Clips:
    return Clips({"labels/speed": np.asarray(values, np.float32)[:, None]}, {"speed": SPEED})


def test_classes_that_never_occur_are_left_out_and_undefined_clips_are_marked() -> None:
    train, test = ask("side", sides([2, 0, -1, 2, 0]), sides([0, 2]))
    assert train.classes == ("left", "up")
    assert train.labels.tolist() == [1, 0, -1, 1, 0]
    assert test.labels.tolist() == [0, 1]


def test_classes_are_matched_by_name_where_parts_number_them_otherwise() -> None:
    train, test = ask("side", sides([0, 1, 0, 1], ("a", "b")), sides([0, 1], ("b", "a")))
    assert [test.classes[label] for label in test.labels] == ["b", "a"]
    assert [train.classes[label] for label in train.labels] == ["a", "b", "a", "b"]


def test_numbers_are_cut_at_quantiles_of_the_training_part_alone() -> None:
    train, test = ask("speed", speeds(np.arange(100)), speeds([0, 30, 60, 99, 1000]))
    assert np.bincount(train.labels).tolist() == [25, 25, 25, 25]
    assert test.labels.tolist() == [0, 1, 2, 3, 3]
    assert train.classes == ("below 24.8 px/frame", "24.8 to 49.5 px/frame", "49.5 to 74.2 px/frame",
                             "74.2 px/frame and more")  # fmt: skip


def test_undefined_numbers_are_marked() -> None:
    train, _ = ask("speed", speeds([1, 2, np.nan, 3, 4]), speeds([1, 4]), bins=2)
    assert train.labels.tolist() == [0, 0, -1, 1, 1]


def test_many_equal_values_make_fewer_bins_and_never_an_empty_one() -> None:
    question = QuestionParams(name="q", source="s", label="speed", bins=4)
    edges = quantile_edges(np.array([0.0] * 90 + [5.0] * 10), question)
    assert edges.tolist() == [5.0]
    assert bin_names(edges, "deg") == ["below 5 deg", "5 deg and more"]


def test_order_shows_about_half_of_the_clips_backwards_by_seed() -> None:
    clips = Clips({"object": np.zeros((400, 1), np.int32)})
    train, test = ask("order", clips, Clips(clips.columns, seed=2))
    assert train.classes == ("forward", "reversed")
    assert 0.4 < train.labels.mean() < 0.6
    assert (train.labels != test.labels).any()
    assert reversal(clips).tolist() == train.labels.tolist()


def test_object_class_comes_from_the_asset_table() -> None:
    rows = [AssetRow("object", str(n), name, "", "", str(n)) for n, name in enumerate(("cat", "dog", "cat"))]
    clips = Clips({"object": np.array([[0], [1], [2], [1], [-1]], np.int32)}, assets=rows)
    train, _ = ask("object_class", clips, clips)
    assert train.classes == ("cat", "dog")
    assert train.labels.tolist() == [0, 1, 0, 1, -1]


def test_the_only_object_may_stand_in_any_slot() -> None:
    values = np.array([[-1, 0], [1, -1], [-1, 1], [0, -1]], np.int32)
    clips = Clips({"labels/side": values}, {"side": SIDE})
    assert ask("side", clips, clips)[0].labels.tolist() == [0, 1, 1, 0]


def test_a_missing_label_names_what_there_is() -> None:
    question = QuestionParams(name="way", source="one", label="directoin")
    with pytest.raises(ProbeError, match=r"'way'.*'directoin'.*'one'.*object_class, order, side.*"):
        check_label(question, {"side": SIDE})
    with pytest.raises(ProbeError, match="Did you mean 'direction'"):
        check_label(question, {"direction": SIDE})


@pytest.mark.parametrize(
    ("train", "test", "label", "message"),
    [
        (sides([0, 0, 0, 1]), sides([0, 1]), "side", "'right' has 1 training and 1 test clips, at least 2 and 1"),
        (sides([0, 0, 1, 1]), sides([0, 0]), "side", "'right' has 2 training and 0 test"),
        (sides([0, 0, 0]), sides([0]), "side", "at least two classes that occur, got left"),
        (sides([-1, -1]), sides([-1]), "side", "at least two classes that occur, got none"),
        (speeds([3, 3, 3]), speeds([3]), "speed", "3 in every clip"),
        (speeds([np.nan]), speeds([3]), "speed", "undefined in every clip"),
        (Clips({"labels/speed": np.ones((3, 2), np.float32)}, {"speed": SPEED}),
         speeds([3]), "speed", "clips with 2 objects that have it"),
    ],
)  # fmt: skip
def test_labels_that_leave_nothing_to_ask_are_refused(train: Clips, test: Clips, label: str, message: str) -> None:
    with pytest.raises(ProbeError, match=message):
        ask(label, train, test)


def two_objects(speed_K: list[float], centre_x_K: list[float]) -> tuple[list[float], npt.NDArray[np.float32]]:
    boxes_KT4 = np.array([[[x - 4, 0, x + 4, 8]] * 3 for x in centre_x_K], np.float32)
    return speed_K, boxes_KT4


def test_the_faster_of_two_objects_is_named_by_its_side() -> None:
    clips = [
        two_objects([1.0, 2.0], [40, 10]),
        two_objects([1.0, 2.0], [10, 40]),
        two_objects([2.0, 1.0], [10, 40]),
        two_objects([1.0, 1.2], [10, 40]),
        two_objects([1.0, np.nan], [10, 40]),
    ]
    speeds_NK, boxes_NKT4 = (np.array(part) for part in zip(*clips, strict=True))
    store = Clips({"labels/speed": speeds_NK, "boxes": boxes_NKT4}, {"speed": SPEED})
    train, _ = ask("faster", store, store, least=1)
    assert train.classes == ("left", "right")
    # Like speeds and a single object have no answer.
    assert train.labels.tolist() == [0, 1, 0, -1, -1]


def test_an_object_that_is_never_seen_has_no_side() -> None:
    boxes_NKT4 = np.array([two_objects([1, 2], [10, 40])[1], two_objects([1, 2], [40, 10])[1]] * 2)
    boxes_NKT4[3, 1] = np.nan
    boxes_NKT4[2, 0, 1:] = np.nan
    store = Clips({"labels/speed": np.tile([1.0, 2.0], (4, 1)), "boxes": boxes_NKT4}, {"speed": SPEED})
    train, _ = ask("faster", store, store, least=1)
    assert train.labels.tolist() == [1, 0, 1, -1]


def test_faster_is_asked_only_of_clips_with_speeds() -> None:
    question = QuestionParams(name="q", source="s", label="faster")
    check_label(question, {"speed": SPEED})
    with pytest.raises(ProbeError, match=r"'faster'.*do not carry"):
        check_label(question, {"side": SIDE})
