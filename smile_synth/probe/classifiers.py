"""How answers are read off frozen features: by a linear layer, or by the nearest neighbours."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from smile_synth.errors import ProbeError
from smile_synth.recipe.probe import LinearProbeParams, NeighboursParams

Probabilities = npt.NDArray[np.float64]
NEIGHBOUR_TEMPERATURE = 0.07


@dataclass(frozen=True, eq=False)
class Examples:
    """Features with their answers.

    Args:
        features: float32 (examples, D), or tokens (examples, N, D) for attentive pooling.
        labels: int64 (examples,), 0 to classes - 1, every class present in a training part.
        groups: int64 (examples,); views of one clip share a number and are never on two sides of a split.
        scenes: int64 (examples,), the photograph behind each example; None where that is not known.
    """

    features: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
    scenes: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.features), len(self.labels), len(self.groups)}
        if len(lengths) != 1 or (self.scenes is not None and len(self.scenes) not in lengths):
            raise ProbeError(f"features, labels, groups and scenes must be equally many, got {sorted(lengths)}")

    def part(self, is_in: npt.NDArray[np.bool_]) -> Examples:
        """Return the examples where ``is_in`` is true."""
        scenes = None if self.scenes is None else self.scenes[is_in]
        return Examples(self.features[is_in], self.labels[is_in], self.groups[is_in], scenes)


@dataclass(frozen=True)
class Fitted:
    """A classifier after fitting.

    Args:
        probabilities: features of new examples -> (examples, classes).
        chosen: what was chosen on the validation part, by name.
        validation_accuracy: accuracy there with what was chosen; NaN where nothing was to choose.
    """

    probabilities: Callable[[npt.NDArray[Any]], Probabilities]
    chosen: Mapping[str, float] = field(default_factory=dict)
    validation_accuracy: float = float("nan")


def fit_linear(train: Examples, params: LinearProbeParams, *, share: float, rng: np.random.Generator) -> Fitted:
    """Fit logistic regression on standardised features, its strength chosen on a validation part.

    Args:
        train: examples to fit on, features (examples, D).
        params: strengths to choose from.
        share: share of the training groups held out to choose the strength; then all are fitted again.
        rng: draws the held-out groups.
    """
    is_held_out = held_out(train, share=share, rng=rng)
    fit_part, choose_part = train.part(~is_held_out), train.part(is_held_out)
    answers = [
        _logistic(fit_part, strength, params.max_iterations)(choose_part.features) for strength in params.strengths
    ]
    best = int(np.argmin([group_loss(answer, choose_part) for answer in answers]))
    fitted = _logistic(train, params.strengths[best], params.max_iterations)
    return Fitted(fitted, {"strength": params.strengths[best]}, group_accuracy(answers[best], choose_part))


def _logistic(train: Examples, strength: float, max_iterations: int) -> Callable[[npt.NDArray[Any]], Probabilities]:
    scaler = StandardScaler().fit(train.features.astype(np.float64))
    model = LogisticRegression(C=strength, max_iter=max_iterations)
    with warnings.catch_warnings():
        # A weakly regularised fit that stops early is a candidate like the others: the validation part decides.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(scaler.transform(train.features), train.labels)
    num_classes = int(train.labels.max()) + 1

    def probabilities(features: npt.NDArray[Any]) -> Probabilities:
        return _spread(model.predict_proba(scaler.transform(features)), model.classes_, num_classes)

    return probabilities


def fit_neighbours(train: Examples, params: NeighboursParams) -> Fitted:
    """Let the nearest training examples vote, by cosine similarity of standardised features.

    Args:
        train: examples to fit on, features (examples, D).
        params: how many vote.

    Raises:
        ProbeError: there are fewer examples than neighbours.

    Source: the weighting exp(similarity / 0.07) is that of instance discrimination (CVPR 2018) and DINO (ICCV 2021).
    """
    if len(train.labels) < params.neighbours:
        raise ProbeError(
            f"{params.neighbours} neighbours cannot vote among {len(train.labels)} training examples; "
            "set probe.knn.neighbours lower"
        )
    scaler = StandardScaler().fit(train.features.astype(np.float64))
    model = KNeighborsClassifier(params.neighbours, metric="cosine", weights=_neighbour_weights)
    model.fit(scaler.transform(train.features), train.labels)
    num_classes = int(train.labels.max()) + 1

    def probabilities(features: npt.NDArray[Any]) -> Probabilities:
        return _spread(model.predict_proba(scaler.transform(features)), model.classes_, num_classes)

    return Fitted(probabilities)


def _neighbour_weights(distances: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.exp(-distances / NEIGHBOUR_TEMPERATURE)


def _spread(probabilities: Probabilities, classes: npt.NDArray[np.int64], num_classes: int) -> Probabilities:
    """Put columns at their class numbers; a class that the part lacked gets probability 0."""
    wide = np.zeros((len(probabilities), num_classes))
    wide[:, classes] = probabilities
    return wide


def held_out(examples: Examples, *, share: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Return which examples are held out to choose regularisation on.

    Whole scenes are held out where they are known: what is chosen must hold for photographs that were not seen, as
    those of the test part are. Where that would leave a class out, and elsewhere, a share of every class's groups is.

    Args:
        examples: all examples of a group have the same label.
        share: 0 to 1; at least one scene, or group of each class, is held out, and not all of them.
        rng: draws scenes or groups.
    """
    if examples.scenes is not None and len(np.unique(examples.scenes)) > 1:
        is_held_out = np.isin(examples.scenes, _some(np.unique(examples.scenes), share, rng))
        parts = (examples.labels[is_held_out], examples.labels[~is_held_out])
        if all(len(np.unique(part)) == len(np.unique(examples.labels)) for part in parts):
            return is_held_out
    unique_groups, first = np.unique(examples.groups, return_index=True)
    labels = examples.labels[first]
    chosen = [_some(unique_groups[labels == label], share, rng) for label in np.unique(labels)]
    return np.isin(examples.groups, np.concatenate(chosen))


def _some(members: npt.NDArray[np.int64], share: float, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    count = min(max(1, round(share * len(members))), len(members) - 1)
    some: npt.NDArray[np.int64] = rng.permutation(members)[:count]
    return some


def group_means(probabilities: Probabilities, groups: npt.NDArray[np.int64]) -> Probabilities:
    """Return the probabilities averaged over the examples of each group, groups in ascending order."""
    unique, position = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(unique), probabilities.shape[1]))
    np.add.at(sums, position, probabilities)
    means: Probabilities = sums / np.bincount(position)[:, None]
    return means


def group_labels(examples: Examples) -> npt.NDArray[np.int64]:
    """Return the label of each group, groups in ascending order."""
    _, first = np.unique(examples.groups, return_index=True)
    labels: npt.NDArray[np.int64] = examples.labels[first]
    return labels


def group_accuracy(probabilities: Probabilities, examples: Examples) -> float:
    """Return the share of groups whose averaged answer is right."""
    answers = group_means(probabilities, examples.groups).argmax(axis=1)
    return float((answers == group_labels(examples)).mean())


def group_loss(probabilities: Probabilities, examples: Examples) -> float:
    """Return the mean cross-entropy of the averaged answers; on few clips it tells more than their accuracy."""
    means = group_means(probabilities, examples.groups)
    right = means[np.arange(len(means)), group_labels(examples)]
    return float(-np.log(np.maximum(right, np.finfo(np.float64).tiny)).mean())
