"""From what a store says of its clips to the classes that a question asks for."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from smile_synth.errors import ProbeError, nearest
from smile_synth.generator.labels import LabelSpec
from smile_synth.randomness import stream
from smile_synth.recipe.probe import FASTER, OBJECT_CLASS, ORDER, QuestionParams

UNDEFINED = -1
ORDERS = ("forward", "reversed")
SIDES = ("left", "right")
SPEED = "speed"
# Two speeds closer than this are left out: nobody could tell them apart.
SMALLEST_RATIO_OF_SPEEDS = 1.25


class LabelledClips(Protocol):
    """What a question needs of a store: ``smile_synth.store.Store`` has all of it."""

    @property
    def num_clips(self) -> int:
        """Number of clips."""

    @property
    def seed(self) -> int:
        """Seed of the dataset."""

    @property
    def label_specs(self) -> Any:
        """LabelSpec by name."""

    @property
    def assets(self) -> Any:
        """Rows of the asset table."""

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a small array whole."""


@dataclass(frozen=True, eq=False)
class Answers:
    """The right answers of the clips of one part.

    Args:
        classes: names of the classes.
        labels: int64 (clips,), number of the class, or -1 for a clip that the question does not fit.
    """

    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]


def answers_to(
    question: QuestionParams, train: LabelledClips, test: LabelledClips, *, min_clips_per_class: int
) -> tuple[Answers, Answers]:
    """Return the right answers of the training and of the test clips, classes numbered alike.

    Args:
        question: asks for a label of the clips.
        train, test: clips with labels; the bins of a number are cut on ``train`` alone.
        min_clips_per_class: fewest training clips of a class; the test part needs one.

    Raises:
        ProbeError: there is no such label, it is undefined, its clips show several objects, or a class has too
            few clips.
    """
    if question.label == ORDER:
        parts = Answers(ORDERS, reversal(train)), Answers(ORDERS, reversal(test))
    elif question.label == OBJECT_CLASS:
        parts = _object_classes(train, test)
    elif question.label == FASTER:
        parts = Answers(SIDES, faster_side(train)), Answers(SIDES, faster_side(test))
    else:
        parts = _label_classes(question, train, test)
    return classes_that_occur(question.name, *parts, min_clips_per_class=min_clips_per_class)


def reversal(clips: LabelledClips) -> npt.NDArray[np.int64]:
    """Return int64 (clips,): 1 for the clips that the question of order shows backwards, about half of them."""
    coins: npt.NDArray[np.int64] = stream(clips.seed, "probe-order").integers(0, 2, clips.num_clips)
    return coins


def faster_side(clips: LabelledClips) -> npt.NDArray[np.int64]:
    """Return int64 (clips,): 0 where the left of two objects moves faster, 1 where the right one does.

    The side of an object is that of its mean place while it is seen. Clips with another number of objects, with like
    speeds, or with an object that is never seen have no answer.
    """
    speed_NK = clips.column(f"labels/{SPEED}").astype(np.float64)
    boxes_NKT4 = clips.column("boxes").astype(np.float64)
    answers = np.full(clips.num_clips, UNDEFINED, np.int64)
    for clip in np.flatnonzero(np.isfinite(speed_NK).sum(axis=1) == 2):
        objects = np.flatnonzero(np.isfinite(speed_NK[clip]))
        slow, fast = objects[np.argsort(speed_NK[clip, objects])]
        slow_x, fast_x = (_mean_x(boxes_NKT4[clip, number]) for number in (slow, fast))
        is_clear = speed_NK[clip, fast] >= SMALLEST_RATIO_OF_SPEEDS * speed_NK[clip, slow]
        if is_clear and np.isfinite([slow_x, fast_x]).all() and slow_x != fast_x:
            answers[clip] = int(fast_x > slow_x)
    return answers


def _mean_x(boxes_T4: npt.NDArray[np.float64]) -> float:
    centre_T = boxes_T4[:, [0, 2]].mean(axis=1)
    is_seen = np.isfinite(centre_T)
    return float(centre_T[is_seen].mean()) if is_seen.any() else float("nan")


def classes_that_occur(
    name: str, train: Answers, test: Answers, *, min_clips_per_class: int
) -> tuple[Answers, Answers]:
    """Leave out classes that no clip has, and check that every other one has enough clips.

    Args:
        name: of the question, for errors.
        train, test: answers with the same classes.
        min_clips_per_class: fewest training clips of a class; the test part needs one.

    Raises:
        ProbeError: fewer than two classes occur, or one has too few clips.
    """
    counts = [np.bincount(part.labels[part.labels >= 0], minlength=len(part.classes)) for part in (train, test)]
    occurs = np.flatnonzero(counts[0] + counts[1])
    if len(occurs) < 2:
        got = train.classes[occurs[0]] if len(occurs) else "none"
        raise ProbeError(f"question {name!r} needs at least two classes that occur, got {got}")
    for number in occurs:
        in_train, in_test = int(counts[0][number]), int(counts[1][number])
        if in_train < min_clips_per_class or in_test < 1:
            raise ProbeError(
                f"question {name!r}: class {train.classes[number]!r} has {in_train} training and {in_test} test "
                f"clips, at least {min_clips_per_class} and 1 are needed; raise probe.train_clips and "
                "probe.test_clips, ask for fewer bins, or lower probe.min_clips_per_class"
            )
    classes = tuple(train.classes[number] for number in occurs)
    renumbered = np.full(len(train.classes) + 1, UNDEFINED, np.int64)
    renumbered[occurs] = np.arange(len(occurs))
    return Answers(classes, renumbered[train.labels]), Answers(classes, renumbered[test.labels])


def _object_classes(train: LabelledClips, test: LabelledClips) -> tuple[Answers, Answers]:
    train_names, test_names = (
        [clips.assets[row].class_name if row >= 0 else "" for row in _only_object(clips.column("object"), OBJECT_CLASS)]
        for clips in (train, test)
    )
    classes = tuple(sorted({*train_names, *test_names} - {""}))
    if not classes:
        raise ProbeError(
            "the question 'object_class' needs objects of named classes, got none; use a generator that draws "
            "asset objects, with files laid out as class/name.png"
        )
    return _numbered(train_names, classes), _numbered(test_names, classes)


def _numbered(names: Sequence[str], classes: tuple[str, ...]) -> Answers:
    numbers = {"": UNDEFINED} | {name: number for number, name in enumerate(classes)}
    return Answers(classes, np.array([numbers[name] for name in names], np.int64))


def _label_classes(question: QuestionParams, train: LabelledClips, test: LabelledClips) -> tuple[Answers, Answers]:
    check_label(question, train.label_specs)
    spec = train.label_specs[question.label]
    train_values, test_values = (_values(question, spec, clips) for clips in (train, test))
    if spec.kind == "class":
        # Other assets may bring other classes: the same number need not mean the same name.
        test_classes = test.label_specs[question.label].classes
        classes = tuple(dict.fromkeys([*spec.classes, *test_classes]))
        return (
            _numbered([spec.classes[value] if value >= 0 else "" for value in train_values], classes),
            _numbered([test_classes[value] if value >= 0 else "" for value in test_values], classes),
        )
    edges = quantile_edges(train_values, question)
    names = tuple(bin_names(edges, spec.unit))
    return Answers(names, _bins(train_values, edges)), Answers(names, _bins(test_values, edges))


def _bins(values: npt.NDArray[Any], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    return np.where(np.isfinite(values), np.digitize(values, edges), UNDEFINED).astype(np.int64)


def check_label(question: QuestionParams, label_specs: Mapping[str, LabelSpec]) -> None:
    """Check that clips carry the label that a question asks for, before any of them is rendered.

    Raises:
        ProbeError: they do not; the message names what they carry.
    """
    derived = {ORDER, OBJECT_CLASS, *([FASTER] if SPEED in label_specs else [])}
    known = sorted({*label_specs, *derived})
    if question.label not in known:
        raise ProbeError(
            f"question {question.name!r} asks for label {question.label!r}, which the clips of source "
            f"{question.source!r} do not carry; they carry {', '.join(known)}.{nearest(question.label, known)}"
        )


def question_text(question: QuestionParams, label_specs: Mapping[str, LabelSpec]) -> str:
    """Return what a question asks, in a line for people."""
    if question.label == ORDER:
        return "does the clip run forward or reversed?"
    if question.label == OBJECT_CLASS:
        return "class of the object"
    if question.label == FASTER:
        return "which of two objects moves faster?"
    return label_specs[question.label].description.rstrip(".")


def _values(question: QuestionParams, spec: LabelSpec, clips: LabelledClips) -> npt.NDArray[Any]:
    values = clips.column(f"labels/{question.label}")
    return _only_object(values, question.label) if spec.per == "object" else values


def _only_object(values_NK: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Return the value of the one object of each clip; -1 or NaN, as the label has it, where there is none."""
    is_number = np.issubdtype(values_NK.dtype, np.floating)
    is_defined = np.isfinite(values_NK) if is_number else values_NK >= 0
    most = int(is_defined.sum(axis=1).max(initial=0))
    if most > 1:
        raise ProbeError(
            f"label {name!r} belongs to an object, and there are clips with {most} objects that have it: which is "
            "meant? Set the source's generator to one object a clip"
        )
    if values_NK.shape[1] == 0:
        return np.full(len(values_NK), np.nan if is_number else UNDEFINED)
    # Where no slot is defined this takes the first slot, which then holds "undefined".
    picked: npt.NDArray[Any] = values_NK[np.arange(len(values_NK)), is_defined.argmax(axis=1)]
    return picked


def quantile_edges(values: npt.NDArray[Any], question: QuestionParams) -> npt.NDArray[np.float64]:
    """Return the inner edges that cut defined ``values`` into about equally full bins, fewer where values repeat.

    Raises:
        ProbeError: the values are undefined, or all the same.
    """
    defined = values[np.isfinite(values)].astype(np.float64)
    if len(defined) == 0 or defined.min() == defined.max():
        got = "undefined in every clip" if len(defined) == 0 else f"{defined[0]:g} in every clip"
        raise ProbeError(f"question {question.name!r}: label {question.label!r} is {got}, so there is nothing to ask")
    shares = np.arange(1, question.bins) / question.bins
    edges: npt.NDArray[np.float64] = np.unique(np.quantile(defined, shares))
    edges = edges[edges > defined.min()]
    return edges if len(edges) else np.array([defined[defined > defined.min()].min()])


def bin_names(edges: npt.NDArray[np.float64], unit: str) -> list[str]:
    """Return a name for each bin between ``edges``, such as ``1.2 to 3.4 px/frame``."""
    unit = f" {unit}" if unit else ""
    texts = [f"{edge:.3g}" for edge in edges]
    middle = [f"{low} to {high}{unit}" for low, high in itertools.pairwise(texts)]
    return [f"below {texts[0]}{unit}", *middle, f"{texts[-1]}{unit} and more"]
