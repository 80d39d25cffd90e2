"""What only a renderer knows of every pixel: where it goes, where it came from, what it shows, and tracks of points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from smile_synth.errors import SceneError
from smile_synth.render.coverage import Coverage
from smile_synth.render.renderer import draw
from smile_synth.render.surfaces import BACKGROUND, surface_points
from smile_synth.scene import Scene

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
# A pixel shows the front-most layer that draws at least half of it.
MIN_ALPHA = 128
# Nearer than this to a query, a point of the same surface is taken for the one that was asked for.
SAME_POINT_PX = 2.0


@dataclass(frozen=True, eq=False)
class Truth:
    """Dense truth of a clip.

    Args:
        flow_forward_THW2: float32 (T, H, W, 2); (dx, dy) in pixels from frame t to t + 1 of what the middle of a pixel
            shows in frame t, also where it is hidden or outside then. NaN in the last frame, and where a layer or the
            background has a picture for every frame and no surface.
        flow_backward_THW2: the same from frame t to t - 1; NaN in the first frame.
        layer_THW: int16 (T, H, W); what a pixel shows: the front-most layer whose own alpha, opacity included, is at
            least 128 of 255 there, or -1 for the background.
        front_to_back_K: int64 (K,); layers by depth, the nearest first: what is drawn later lies in front.
    """

    flow_forward_THW2: Floats
    flow_backward_THW2: Floats
    layer_THW: npt.NDArray[np.int16]
    front_to_back_K: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Tracks:
    """Where points of a clip are in every frame, as in TAP-Vid.

    Args:
        points_NT2: float32 (N, T, 2); (x, y) in canvas pixels, whether visible or not. Where the picture changes from
            frame to frame and has no surface, a point is NaN in every frame but that of its query.
        is_visible_NT: bool (N, T); the point lies inside the canvas, and its pixel shows the layer that it belongs to;
            of a layer with a surface, the point itself, not another part or side of it.
        layer_N: int16 (N,); the layer that a point belongs to, -1 for the background.
    """

    points_NT2: Floats
    is_visible_NT: npt.NDArray[np.bool_]
    layer_N: npt.NDArray[np.int16]


def truth(scene: Scene) -> Truth:
    """Return flow, visibility and depth order of a scene.

    Raises:
        SceneError: a picture of the scene is larger than the renderer can address.
    """
    canvas, layer_THW = scene.canvas, visible_layers(scene)
    flows = []
    for step in (1, -1):
        flow_THW2 = np.full((*layer_THW.shape, 2), np.nan, np.float32)
        for t in range(canvas.num_frames):
            if 0 <= t + step < canvas.num_frames:
                _write_flow(scene, layer_THW[t], t, t + step, flow_THW2[t])
        flows.append(flow_THW2)
    return Truth(flows[0], flows[1], layer_THW, np.arange(len(scene.layers))[::-1].copy())


def tracks(scene: Scene, queries_N3: npt.ArrayLike, layer_THW: npt.NDArray[np.int16] | None = None) -> Tracks:
    """Follow points through a clip.

    Args:
        scene: whose points.
        queries_N3: (N, 3) of (frame, x, y), x and y in canvas pixels, edges: the first pixel's middle is (0.5, 0.5).
        layer_THW: of ``visible_layers``, where it is at hand.

    Raises:
        SceneError: a query lies outside the clip.
    """
    canvas = scene.canvas
    queries = np.asarray(queries_N3, np.float64).reshape(-1, 3)
    frames, inside = queries[:, 0].astype(np.int64), _is_inside(scene, queries[:, 1:])
    is_bad = (frames != queries[:, 0]) | (frames < 0) | (frames >= canvas.num_frames) | ~inside
    if is_bad.any():
        raise SceneError(
            f"a query must be a frame of 0 to {canvas.num_frames - 1}, x of 0 to {canvas.width} and y of 0 to "
            f"{canvas.height} px, got {queries[is_bad][0].tolist()}"
        )
    shown_THW = visible_layers(scene) if layer_THW is None else layer_THW
    rows, columns = queries[:, 2].astype(np.int64), queries[:, 1].astype(np.int64)
    layer_N = shown_THW[frames, rows, columns]
    points_NT2 = np.full((len(queries), canvas.num_frames, 2), np.nan)
    for layer in np.unique(layer_N).tolist():
        own = np.flatnonzero(layer_N == layer)
        matrices_T33 = placements(scene, layer)
        for t in np.unique(frames[own]).tolist():
            some = own[frames[own] == t]
            if matrices_T33 is not None:
                points_NT2[some] = _moved(queries[some, 1:], matrices_T33 @ np.linalg.inv(matrices_T33[t]))
            elif (seen := surface_points(scene, layer, t, queries[some, 1:])) is not None:
                places_NT2 = seen.places_NT2()
                points_NT2[some] = places_NT2 + (queries[some, 1:] - places_NT2[:, t])[:, None]
            points_NT2[some, t] = queries[some, 1:]
    is_visible_NT = np.zeros(points_NT2.shape[:2], np.bool_)
    for t in range(canvas.num_frames):
        here = np.flatnonzero(_is_inside(scene, points_NT2[:, t]))
        x, y = points_NT2[here, t].astype(np.int64).T
        is_visible_NT[here, t] = shown_THW[t, y, x] == layer_N[here]
    _hide_far_sides(scene, queries, layer_N, points_NT2, is_visible_NT)
    return Tracks(points_NT2.astype(np.float32), is_visible_NT, layer_N)


def visible_layers(scene: Scene) -> npt.NDArray[np.int16]:
    """Return ``layer_THW`` of ``Truth``."""
    canvas, coverage = scene.canvas, Coverage.room_for(scene)
    size = (canvas.num_frames, canvas.height, canvas.width)
    draw(scene, np.empty((*size, 3), np.uint8), coverage)
    layer_THW = np.full(size, BACKGROUND, np.int16)
    for layer in range(len(scene.layers)):
        for t in range(canvas.num_frames):
            layer_THW[t][coverage.alpha_HW(layer, t, canvas.height, canvas.width) >= MIN_ALPHA] = layer
    return layer_THW


def placements(scene: Scene, layer: int) -> Doubles | None:
    """Return the homographies (T, 3, 3) that take points of a layer, or of the background, to the canvas.

    None for a picture that changes from frame to frame: it has no points to follow, or those of its surface.
    """
    picture = scene.background if layer == BACKGROUND else scene.layers[layer].texture
    if picture.ndim == 4:
        return None
    matrices_T33 = np.tile(np.eye(3), (scene.canvas.num_frames, 1, 1))
    if layer != BACKGROUND:
        matrices_T33[:, :2] = scene.layers[layer].pose_T6.reshape(-1, 2, 3)
    elif scene.camera_T33 is not None:
        matrices_T33[...] = scene.camera_T33
    return matrices_T33


def _write_flow(
    scene: Scene, layer_HW: npt.NDArray[np.int16], now: int, then: int, flow_HW2: npt.NDArray[np.float32]
) -> None:
    for layer in np.unique(layer_HW).tolist():
        matrices_T33 = placements(scene, layer)
        rows, columns = np.nonzero(layer_HW == layer)
        points_N2 = np.stack([columns + 0.5, rows + 0.5], axis=1)
        if matrices_T33 is None:
            if (seen := surface_points(scene, layer, now, points_N2)) is not None:
                places_NT2 = seen.places_NT2([now, then])
                flow_HW2[rows, columns] = places_NT2[:, 1] - places_NT2[:, 0]
            continue
        moved_NT2 = _moved(points_N2, (matrices_T33[then] @ np.linalg.inv(matrices_T33[now]))[None])
        flow_HW2[rows, columns] = moved_NT2[:, 0] - points_N2


def _hide_far_sides(
    scene: Scene, queries: Doubles, layer_N: npt.NDArray[np.int16], points_NT2: Doubles, is_visible_NT: Any
) -> None:
    """Mark points of surfaces as hidden where their pixel shows another point of the same layer."""
    asked_N = queries[:, 0].astype(np.int64)
    for layer in np.unique(layer_N).tolist():
        if placements(scene, layer) is not None:
            continue
        part_N = np.zeros(len(queries), np.uint8)
        for t in np.unique(asked_N).tolist():
            own = np.flatnonzero((layer_N == layer) & (asked_N == t))
            if (asked := surface_points(scene, layer, t, queries[own, 1:])) is not None:
                part_N[own] = asked.parts_N
        for t in range(scene.canvas.num_frames):
            some = np.flatnonzero((layer_N == layer) & is_visible_NT[:, t])
            seen = surface_points(scene, layer, t, points_NT2[some, t])
            if seen is None:
                continue
            # What is shown here now was, in the frame of the query, where the query is: or it is another point.
            then_N2 = seen.places_NT2()[np.arange(len(some)), asked_N[some]]
            with np.errstate(invalid="ignore"):
                is_near = np.hypot(*(then_N2 - queries[some, 1:]).T) <= SAME_POINT_PX
            is_visible_NT[some, t] = is_near & (seen.parts_N == part_N[some]) | (asked_N[some] == t)


def _moved(points_N2: Doubles, matrices_T33: Doubles) -> Doubles:
    """Return where each homography takes each point, (N, T, 2); NaN for a point on the horizon."""
    homogeneous_N3 = np.concatenate([points_N2, np.ones((len(points_N2), 1))], axis=1)
    moved_NT3 = np.einsum("tij,nj->nti", matrices_T33, homogeneous_N3)
    with np.errstate(divide="ignore", invalid="ignore"):
        moved_NT2 = moved_NT3[..., :2] / moved_NT3[..., 2:]
    return np.asarray(np.where(np.isfinite(moved_NT2), moved_NT2, np.nan), np.float64)


def _is_inside(scene: Scene, points_N2: Doubles) -> npt.NDArray[np.bool_]:
    x, y = points_N2[..., 0], points_N2[..., 1]
    is_inside: npt.NDArray[np.bool_] = (x >= 0) & (y >= 0) & (x < scene.canvas.width) & (y < scene.canvas.height)
    return is_inside
