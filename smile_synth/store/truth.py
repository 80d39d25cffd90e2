"""Dense truth as further arrays of a store: flow, visible layers, and tracks of a grid of points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from smile_synth.render.surfaces import BACKGROUND
from smile_synth.render.truth import MIN_ALPHA, Truth, tracks, truth
from smile_synth.scene import Canvas, Scene
from smile_synth.store.spec import ArraySpec

FLOW, VISIBILITY, TRACKS = "flow", "visibility", "tracks"
TRACK_SPACING_PX = 16
# What float16 holds with room to spare; a point that meets a camera's horizon goes farther.
MAX_FLOW_PX = 16384.0
_NAN = float("nan")


def truth_arrays(canvas: Canvas, kinds: Sequence[str]) -> Iterator[ArraySpec]:
    """Yield the arrays of the kinds of truth that a recipe names: ``flow``, ``visibility``, ``tracks``."""
    size = (canvas.num_frames, canvas.height, canvas.width)
    axes = ("frame", "y", "x")
    if FLOW in kinds:
        for name, other in (("forward", "next"), ("backward", "previous")):
            meaning = (
                f"(dx, dy) to the {other} frame of what the middle of a pixel shows; NaN where there is no such frame "
                "or the picture changes; wrong by at most 1/2048 of the value"
            )
            yield _array(f"flow_{name}", "float16", (*size, 2), (*axes, "xy"), _NAN, {"unit": "px", "meaning": meaning})
    if VISIBILITY in kinds:
        meaning = (
            f"the front-most layer whose alpha is at least {MIN_ALPHA} of 255 in the pixel, -1 for the background; "
            "layers are numbered from back to front"
        )
        yield _array("visibility", "int16", size, axes, BACKGROUND, {"meaning": meaning})
    if TRACKS in kinds:
        num_points = len(track_queries(canvas))
        meaning = (
            f"(x, y) in every frame of the points that lie in the first frame on a grid of about {TRACK_SPACING_PX} px"
            "; NaN where the picture changes"
        )
        shape, names = (num_points, canvas.num_frames), ("point", "frame")
        yield _array("track_points", "float32", (*shape, 2), (*names, "xy"), _NAN, {"unit": "px", "meaning": meaning})
        meaning = "1 where the point lies inside the canvas and its pixel shows the layer that it belongs to"
        yield _array("track_visible", "uint8", shape, names, 0, {"meaning": meaning})


def track_queries(canvas: Canvas) -> npt.NDArray[np.float64]:
    """Return the points that are tracked, (N, 3) of frame, x, y: a grid over the first frame, row by row."""
    rows, columns = (max(1, side // TRACK_SPACING_PX) for side in (canvas.height, canvas.width))
    y, x = np.indices((rows, columns)) + 0.5
    return np.stack([0 * x, x * canvas.width / columns, y * canvas.height / rows], axis=-1).reshape(-1, 3)


def write_truth(scene: Scene, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write the truth of a scene into those of the arrays, by name, that hold truth."""
    if not any(name.startswith("truth/") for name in arrays):
        return
    found: Truth = truth(scene)
    for name, flow_THW2 in (("forward", found.flow_forward_THW2), ("backward", found.flow_backward_THW2)):
        if f"truth/flow_{name}" in arrays:
            arrays[f"truth/flow_{name}"][...] = np.where(np.abs(flow_THW2) <= MAX_FLOW_PX, flow_THW2, np.nan)
    if "truth/visibility" in arrays:
        arrays["truth/visibility"][...] = found.layer_THW
    if "truth/track_points" in arrays:
        followed = tracks(scene, track_queries(scene.canvas), found.layer_THW)
        arrays["truth/track_points"][...] = followed.points_NT2
        arrays["truth/track_visible"][...] = followed.is_visible_NT


def _array(
    name: str, dtype: str, shape: tuple[int, ...], axes: tuple[str, ...], fill_value: float, attributes: dict[str, Any]
) -> ArraySpec:
    return ArraySpec(f"truth/{name}", dtype, shape, axes, fill_value, True, attributes)
