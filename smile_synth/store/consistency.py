"""Whether the small arrays of a store fit together, and to its tables and canvas."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from smile_synth.store.reader import Store

Problem = tuple[str, int, str]
"""Array, clip, reason."""


def inconsistencies(store: Store) -> Iterator[Problem]:
    """Yield what does not fit: at most one clip, the first, for each rule."""
    yield from _first(store, "background", _outside(store.column("background"), -1, len(store.assets)), "no such asset")
    yield from _first(store, "object", _outside(store.column("object"), -1, len(store.assets)), "no such asset")
    yield from _first(store, "generator", _outside(store.column("generator"), 0, len(store.generators)), "no such row")
    yield from _first(store, "boxes", _bad_boxes(store), "a box must be whole, inside the canvas, x1 < x2, y1 < y2")
    yield from _first(store, "opacity", _bad_opacity(store), "opacity must lie in [0, 1]")
    yield from _first(store, "camera", ~np.isfinite(store.column("camera")), "a camera must be finite")
    yield from _first(store, "poses", _half_empty(store), "a slot must have poses exactly where it has opacity")
    for name, spec in store.label_specs.items():
        if spec.kind == "class":
            column = store.column(f"labels/{name}")
            yield from _first(store, f"labels/{name}", _outside(column, -1, len(spec.classes)), "no such class")


def _first(store: Store, array: str, is_bad: npt.NDArray[np.bool_], reason: str) -> Iterator[Problem]:
    clips = np.flatnonzero(is_bad.reshape(store.num_clips, -1).any(axis=1))
    if len(clips):
        yield array, int(clips[0]), reason


def _outside(column: npt.NDArray[np.int32], low: int, high: int) -> npt.NDArray[np.bool_]:
    is_outside: npt.NDArray[np.bool_] = (column < low) | (column >= high)
    return is_outside


def _bad_boxes(store: Store) -> npt.NDArray[np.bool_]:
    boxes = store.column("boxes")
    is_absent = np.isnan(boxes)
    x1, y1, x2, y2 = np.moveaxis(boxes, -1, 0)
    inside = (x1 >= 0) & (y1 >= 0) & (x2 <= store.canvas.width) & (y2 <= store.canvas.height) & (x1 < x2) & (y1 < y2)
    is_bad: npt.NDArray[np.bool_] = ~(is_absent.all(axis=-1) | inside)
    return is_bad


def _bad_opacity(store: Store) -> npt.NDArray[np.bool_]:
    opacity = store.column("opacity")
    is_bad: npt.NDArray[np.bool_] = ~(np.isnan(opacity) | ((opacity >= 0) & (opacity <= 1)))
    return is_bad


def _half_empty(store: Store) -> npt.NDArray[np.bool_]:
    has_pose = np.isfinite(store.column("poses")).all(axis=-1)
    is_bad: npt.NDArray[np.bool_] = has_pose != np.isfinite(store.column("opacity"))
    return is_bad
