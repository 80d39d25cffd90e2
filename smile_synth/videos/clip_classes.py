"""Any label of a store's clips as their class."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from smile_synth.errors import VideoError, nearest
from smile_synth.generator.labels import LabelSpec
from smile_synth.store import Store

UNDEFINED = -1
GENERATOR, OBJECT_CLASS = "generator", "object_class"
NO_LABEL = "clips"


def clip_classes(store: Store, label: str, bins: int) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Return names of classes, and the number of each clip's class.

    Args:
        store: a finished store.
        label: a label of its clips, ``generator`` (the family that made a clip), or empty: all are one class.
        bins: classes into which a number is binned, at quantiles.

    Returns:
        Names, and int64 (clips,), -1 for clips without the label.

    Raises:
        VideoError: there is no such label, or a clip has it for several objects.
    """
    if not label:
        return (NO_LABEL,), np.zeros(store.num_clips, np.int64)
    if label in store.label_specs:
        spec = store.label_specs[label]
        values = _one_value_a_clip(store.column(f"labels/{label}"), spec, label)
        return (spec.classes, values.astype(np.int64)) if spec.kind == "class" else _binned(values, spec, label, bins)
    if label == GENERATOR:
        return store.generators, store.column("generator").astype(np.int64)
    known = sorted({*store.label_specs, GENERATOR})
    raise VideoError(
        f"the clips of {store.path} have no label {label!r}.{nearest(label, known)} They have: {', '.join(known)}"
    )


def _one_value_a_clip(column: npt.NDArray[Any], spec: LabelSpec, label: str) -> npt.NDArray[Any]:
    if column.ndim == 1:
        return column
    is_defined = column >= 0 if spec.kind == "class" else np.isfinite(column)
    several = np.flatnonzero(is_defined.sum(axis=1) > 1)
    if len(several):
        raise VideoError(
            f"label {label!r} is one of each object, and clip {several[0]} has it for {is_defined[several[0]].sum()} "
            "objects; choose a label of the clip, or render clips of one object"
        )
    values: npt.NDArray[Any] = column[np.arange(len(column)), is_defined.argmax(axis=1)]
    return values


def _binned(
    values: npt.NDArray[Any], spec: LabelSpec, label: str, bins: int
) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        raise VideoError(f"label {label!r} is undefined on every clip; choose another one")
    edges = np.unique(np.quantile(finite, np.arange(1, bins) / bins))
    ends = [float(finite.min()), *edges.tolist(), float(finite.max())]
    unit = f" {spec.unit}" if spec.unit else ""
    names = [f"{label} {low:.3g} to {high:.3g}{unit}" for low, high in pairwise(ends)]
    numbers = np.where(np.isfinite(values), np.digitize(values, edges), UNDEFINED)
    # Bins of next to the same ends may read alike.
    distinct = names if len(set(names)) == len(names) else [f"{n}: {name}" for n, name in enumerate(names)]
    return tuple(distinct), numbers.astype(np.int64)


def folder_names(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return a folder's name for every class: without spaces, which part the fields of lists, and all different."""
    names = [re.sub(r"[^\w.+-]+", "_", name).strip("._") or "class" for name in classes]
    twice = {name for name in names if names.count(name) > 1}
    return tuple(f"{name}-{number}" if name in twice else name for number, name in enumerate(names))
