"""The compiled part of motion: how far what is visible in each cell moves from one frame to the next.

Weights are whole numbers, so that sums of them depend on no order; displacements are float64 in + - * / only, whose
rounding IEEE 754 defines; the mean is rounded to ``STEPS_PER_PX``. The same scene gives the same bytes everywhere.

Nothing is imported from kernel.py: numba's cache is renewed only when the file of the entry point changes.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt

from smile_synth.machine.compiled import entry_point, inlined

# The store's float16 holds every multiple of 1/256 px below 8 px, and rounds by 1/2048 of the value above.
STEPS_PER_PX = 256.0
# Farther than this nothing is followed: a point that meets the camera's horizon goes to infinity.
MAX_MOTION_PX = 16384.0
# A cell is undefined when more than 1 / this of its visible area has no motion.
UNDEFINED_SHARE = 16
# What is visible of a pixel under no layer, in the steps of alpha.
_ALL = 255
_0, _1, _2 = np.uint64(0), np.uint64(1), np.uint64(2)
_8, _128 = np.uint16(8), np.uint16(128)
# Columns a block, as in the coverage arrays.
BLOCK = 64

Counts = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Affine = tuple[float, float, float, float, float, float]
# Points, parts and projections of all surfaces one after the other, and the number of frames.
Surface = tuple[Floats, npt.NDArray[np.uint8], Floats, int]
# A pose that leaves texels where they are.
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@inlined
def affine_motion(now_6: Any, then_6: Any) -> Affine:
    """Return (dx by x, dx by y, dx at 0, and the same of dy): how far a canvas point moves with an affine pose."""
    a, b, c = np.float64(now_6[0]), np.float64(now_6[1]), np.float64(now_6[2])
    d, e, f = np.float64(now_6[3]), np.float64(now_6[4]), np.float64(now_6[5])
    p, q, r = np.float64(then_6[0]), np.float64(then_6[1]), np.float64(then_6[2])
    s, t, u = np.float64(then_6[3]), np.float64(then_6[4]), np.float64(then_6[5])
    area = a * e - b * d
    xx, xy = (p * e - q * d) / area, (q * a - p * b) / area
    yx, yy = (s * e - t * d) / area, (t * a - s * b) / area
    return xx - 1.0, xy, r - xx * c - xy * f, yx, yy - 1.0, u - yx * c - yy * f


@inlined
def camera_motion(now_33: Any, then_33: Any, moved_33: Any) -> bool:
    """Write the homography that takes a canvas point now to where it is then; return whether it is affine."""
    a, b, c = np.float64(now_33[0, 0]), np.float64(now_33[0, 1]), np.float64(now_33[0, 2])
    d, e, f = np.float64(now_33[1, 0]), np.float64(now_33[1, 1]), np.float64(now_33[1, 2])
    g, h, k = np.float64(now_33[2, 0]), np.float64(now_33[2, 1]), np.float64(now_33[2, 2])
    back = (
        (e * k - f * h, c * h - b * k, b * f - c * e),
        (f * g - d * k, a * k - c * g, c * d - a * f),
        (d * h - e * g, b * g - a * h, a * e - b * d),
    )
    for i in range(3):
        x, y, z = np.float64(then_33[i, 0]), np.float64(then_33[i, 1]), np.float64(then_33[i, 2])
        for j in range(3):
            moved_33[i, j] = x * back[0][j] + y * back[1][j] + z * back[2][j]
    return bool(g == 0.0 and h == 0.0 and then_33[2, 0] == 0.0 and then_33[2, 1] == 0.0)


@inlined
def _stands_still(camera_T33: Floats, t: int) -> bool:
    """Return whether the camera is the same in frames t and t + 1."""
    for i in range(3):
        for j in range(3):
            if camera_T33[t, i, j] != camera_T33[t + 1, i, j]:
                return False
    return True


@inlined
def _show_all(visible_HW: Any) -> None:
    """Make every pixel of the background visible."""
    # A loop, because a slice assignment takes seconds to compile.
    pixels_N = visible_HW.ravel()
    for i in range(len(pixels_N)):
        pixels_N[i] = _ALL


@inlined
def _add_run(visible_N: Any, alpha_N: Any, lever: Any, weights_N: Any, levers_N: Any) -> None:
    """Take what one run of a layer hides from the pixels' visible rest, and add it up by column."""
    # 16 bits hold all of it; and the compiler needs no remainder loop after the vectors.
    for i in range(len(alpha_N) // BLOCK * BLOCK):
        rest = np.uint16(visible_N[i])
        product = np.uint16(np.uint16(rest * np.uint16(alpha_N[i])) + _128)
        # A product of two bytes over 255, rounded: exact.
        weight = np.uint16(np.uint16(product + np.uint16(product >> _8)) >> _8)
        visible_N[i] = np.uint8(rest - weight)
        weights_N[i] = np.uint16(weights_N[i] + weight)
        levers_N[i] = np.uint16(levers_N[i] + np.uint16(weight * lever))


@inlined
def _empty_columns(columns_2W: Any, moments_W3: Any, first: int, last: int, cell_px: int) -> None:
    """Turn columns [first, last) into the moments of their cells, in half pixels, and empty them."""
    cell = first // cell_px
    column, end = first, min(last, (cell + 1) * cell_px)
    while column < last:
        total = by_x = by_y = np.uint64(0)
        lever = np.uint64(2 * (column - cell * cell_px) + 1)
        while column < end:
            place = np.uint64(column)
            weight = np.uint64(columns_2W[_0, place])
            total += weight
            by_x += weight * lever
            by_y += np.uint64(columns_2W[_1, place])
            columns_2W[_0, place] = 0
            columns_2W[_1, place] = 0
            lever += _2
            column += 1
        moments_W3[cell, 0], moments_W3[cell, 1], moments_W3[cell, 2] = total, by_x, by_y
        cell += 1
        end = min(last, end + cell_px)


@inlined
def _add_affine(moments_3: Any, motion: Affine, left: int, top: int, sums_3: Any) -> None:
    """Add what moves by an affine motion to a cell: weighted dx and dy, and the weight that is defined."""
    xx, xy, x0, yx, yy, y0 = motion
    weight = np.float64(moments_3[0])
    by_x, by_y = np.float64(moments_3[1]) * 0.5, np.float64(moments_3[2]) * 0.5
    dx = weight * (xx * left + xy * top + x0) + xx * by_x + xy * by_y
    dy = weight * (yx * left + yy * top + y0) + yx * by_x + yy * by_y
    # Written so that NaN is left out too.
    if abs(dx) <= weight * MAX_MOTION_PX and abs(dy) <= weight * MAX_MOTION_PX:
        sums_3[0] += dx
        sums_3[1] += dy
        sums_3[2] += weight


@inlined
def _add_perspective(visible_HW: Any, moved_33: Any, sums_HW3: Doubles, cell_px: int) -> None:
    """Add what is visible of the background, point by point, under a camera with perspective."""
    width = sums_HW3.shape[1] * cell_px
    columns_3W = np.zeros((3, width))
    for row in range(visible_HW.shape[0]):
        y = row + 0.5
        for column in range(width):
            x = column + 0.5
            nearness = 1.0 / (moved_33[2, 0] * x + moved_33[2, 1] * y + moved_33[2, 2])
            dx = (moved_33[0, 0] * x + moved_33[0, 1] * y + moved_33[0, 2]) * nearness - x
            dy = (moved_33[1, 0] * x + moved_33[1, 1] * y + moved_33[1, 2]) * nearness - y
            weight = np.float64(visible_HW[row, column])
            if not (abs(dx) <= MAX_MOTION_PX and abs(dy) <= MAX_MOTION_PX):
                weight, dx, dy = np.float64(0.0), 0.0, 0.0
            columns_3W[0, column] += weight * dx
            columns_3W[1, column] += weight * dy
            columns_3W[2, column] += weight
        if (row + 1) % cell_px == 0:
            for column in range(width):
                for i in range(3):
                    sums_HW3[row // cell_px, column // cell_px, i] += columns_3W[i, column]
                    columns_3W[i, column] = 0.0


@inlined
def _stay(projections_M34: Floats, place_5: Any, num_parts: int, num_frames: int, t: int) -> bool:
    """Return whether all parts of a surface are in frame t + 1 where they are in frame t."""
    for part in range(num_parts):
        now = place_5[4] + part * num_frames + t
        for i in range(3):
            for j in range(4):
                if projections_M34[now, i, j] != projections_M34[now + 1, i, j]:
                    return False
    return True


@inlined
def _is_whole(points_N3: Floats, first: int) -> bool:
    """Return whether all points from one on can be followed."""
    num_holes = 0
    for place in range(max(first, 0), len(points_N3)):
        num_holes += 1 if np.isnan(points_N3[place, 0]) else 0
    return num_holes == 0


@inlined
def _projected(projection_34: Any, point_3: Any) -> tuple[float, float]:
    """Return the canvas point of a part's point."""
    x, y, z = np.float64(point_3[0]), np.float64(point_3[1]), np.float64(point_3[2])
    u = projection_34[0, 0] * x + projection_34[0, 1] * y + projection_34[0, 2] * z + projection_34[0, 3]
    v = projection_34[1, 0] * x + projection_34[1, 1] * y + projection_34[1, 2] * z + projection_34[1, 3]
    w = projection_34[2, 0] * x + projection_34[2, 1] * y + projection_34[2, 2] * z + projection_34[2, 3]
    return u / w, v / w


@inlined
def _add_points(
    visible_N: Any,
    alpha_N: Any,
    row: int,
    left: int,
    pose_6: Any,
    surface: Surface,
    place_5: Any,
    t: int,
    sums_W3: Any,
    cell_px: int,
) -> None:
    """Add the motion of one run of a layer that shows a surface, point by point.

    A pixel takes the point in whose texel its middle lies: exact where texels lie on pixels.
    """
    points_N3, parts_N, projections_M34, num_frames = surface
    first, frames, height, width = place_5[0], place_5[1], place_5[2], place_5[3]
    a, b, c = np.float64(pose_6[0]), np.float64(pose_6[1]), np.float64(pose_6[2])
    d, e, f = np.float64(pose_6[3]), np.float64(pose_6[4]), np.float64(pose_6[5])
    area = a * e - b * d
    start = first + (t if frames > 1 else 0) * height * width
    y = row + 0.5 - f
    for i in range(min(len(visible_N), sums_W3.shape[0] * cell_px - left)):
        product = np.uint16(np.uint16(np.uint16(visible_N[i]) * np.uint16(alpha_N[i])) + _128)
        weight = np.float64(np.uint16(np.uint16(product + np.uint16(product >> _8)) >> _8))
        if weight == 0.0:
            continue
        x = left + i + 0.5 - c
        u, v = np.floor((e * x - b * y) / area), np.floor((a * y - d * x) / area)
        # Filtering spreads a texture a little beyond its border. 0.0 comes first, which NaN does not replace.
        column = int(min(max(0.0, u), width - 1.0))
        texel = start + int(min(max(0.0, v), height - 1.0)) * width + column
        now = place_5[4] + parts_N[texel] * num_frames + t
        x1, y1 = _projected(projections_M34[now], points_N3[texel])
        x2, y2 = _projected(projections_M34[now + 1], points_N3[texel])
        dx, dy = x2 - x1, y2 - y1
        if abs(dx) <= MAX_MOTION_PX and abs(dy) <= MAX_MOTION_PX:
            sums_3 = sums_W3[(left + i) // cell_px]
            sums_3[0] += weight * dx
            sums_3[1] += weight * dy
            sums_3[2] += weight


@inlined
def _mean(sums_3: Any, cell_px: int, motion_2: Any) -> None:
    """Write the mean of a cell, rounded; NaN where too much of it is undefined."""
    whole = np.float64(_ALL) * cell_px * cell_px
    defined = sums_3[2]
    if (whole - defined) * UNDEFINED_SHARE > whole:
        motion_2[0] = motion_2[1] = np.float32(np.nan)
        return
    for i in range(2):
        motion_2[i] = np.float32(np.floor(sums_3[i] / defined * STEPS_PER_PX + 0.5) / STEPS_PER_PX)


@inlined
def _add_layer(
    visible_HW: Any,
    start_2: Any,
    runs_R4: Any,
    alpha_N: Any,
    columns_2W: Any,
    moments_W3: Counts,
    covered_HW3: Counts,
    sums_HW3: Doubles,
    motion: Affine,
    is_defined: bool,
    cell_px: int,
    pose_6: Any,
    surface: Surface,
    place_5: Any,
    t: int,
) -> None:
    """Add what is visible of one layer in one frame to the cells."""
    run, end = start_2[0], start_2[0] + start_2[1]
    while run < end:
        # The runs of one row of cells.
        row = runs_R4[run, 0] // cell_px
        first, last = visible_HW.shape[1], 0
        while run < end and runs_R4[run, 0] // cell_px == row:
            y, left, right, pixel = runs_R4[run, 0], runs_R4[run, 1], runs_R4[run, 2], runs_R4[run, 3]
            if place_5[0] >= 0:
                _add_points(
                    visible_HW[y, left:right], alpha_N[pixel : pixel + right - left], y, left, pose_6, surface, place_5,
                    t, sums_HW3[row], cell_px,
                )  # fmt: skip
            _add_run(
                visible_HW[y, left:right], alpha_N[pixel : pixel + right - left],
                np.uint16(2 * (y - row * cell_px) + 1), columns_2W[0, left:right], columns_2W[1, left:right],
            )  # fmt: skip
            first, last = min(first, left), max(last, right)
            run += 1
        last = min(last, cell_px * sums_HW3.shape[1])
        _empty_columns(columns_2W, moments_W3, first, last, cell_px)
        for column in range(first // cell_px, (last - 1) // cell_px + 1):
            moments_3 = moments_W3[column]
            if moments_3[0] > 0:
                if is_defined:
                    _add_affine(moments_3, motion, column * cell_px, row * cell_px, sums_HW3[row, column])
                for i in range(3):
                    covered_HW3[row, column, i] += moments_3[i]


_COUNTS_3D = nb.types.Array(nb.int64, 3, "C", readonly=True)
_RUNS = nb.types.Array(nb.int64, 2, "C", readonly=True)
_ALPHA = nb.types.Array(nb.uint8, 1, "C", readonly=True)
_FLAGS = nb.types.Array(nb.boolean, 1, "C", readonly=True)
_FLOATS_2D = nb.types.Array(nb.float32, 2, "C", readonly=True)
_FLOATS_3D = nb.types.Array(nb.float32, 3, "C", readonly=True)


@entry_point(
    nb.void(
        nb.float32[:, :, :, ::1], _COUNTS_3D, _RUNS, _ALPHA, _FLOATS_3D, _FLAGS, _FLOATS_3D, nb.boolean, nb.int64,
        _FLOATS_2D, _ALPHA, _FLOATS_3D, _RUNS,
    )
)  # fmt: skip
def cell_motion(
    motion_THW2: Floats,
    starts_KT2: Counts,
    runs_R4: Counts,
    alpha_N: npt.NDArray[np.uint8],
    pose_KT6: Floats,
    is_defined_K: npt.NDArray[np.bool_],
    camera_T33: Floats,
    is_background_defined: bool,
    cell_px: int,
    points_N3: Floats,
    parts_N: npt.NDArray[np.uint8],
    projections_M34: Floats,
    places_K5: Counts,
) -> None:
    """Write the motion of every cell of every frame.

    Args:
        motion_THW2: float32 (T, H / cell_px, W / cell_px, 2), overwritten.
        starts_KT2, runs_R4, alpha_N: see ``Coverage``.
        pose_KT6: float32 (K, T, 6), as in ``Layer``.
        is_defined_K: bool (K,), False for layers whose poses do not tell their motion.
        camera_T33: float32 (T, 3, 3) as in ``Scene``, or (0, 3, 3) for a camera that stands still.
        is_background_defined: False for a background without motion of its own.
        cell_px: 1 to 16; it divides the canvas's sides.
        points_N3, parts_N, projections_M34: float32, uint8, float32; all surfaces, one after the other.
        places_K5: int64 (K + 1, 5), for every layer and for the background: its first point (-1 for no surface), frames
            with points of their own, height, width, and first projection.
    """
    num_frames, rows, columns = motion_THW2.shape[:3]
    width = ((columns * cell_px - 1) // BLOCK + 1) * BLOCK
    visible_HW, columns_2W = np.empty((rows * cell_px, width), np.uint8), np.zeros((2, width), np.uint16)
    moments_W3, covered_HW3 = np.zeros((columns, 3), np.int64), np.zeros((rows, columns, 3), np.int64)
    sums_HW3, moved_33 = np.zeros((rows, columns, 3)), np.zeros((3, 3))
    all_weight = _ALL * cell_px * cell_px
    surface = (points_N3, parts_N, projections_M34, num_frames)
    behind_5, opaque_N = places_K5[len(places_K5) - 1], np.full(width, _ALL, np.uint8)
    num_behind = (len(projections_M34) - behind_5[4]) // num_frames
    # A whole background that stays needs no look at its points.
    has_surface = behind_5[0] >= 0
    is_whole = has_surface and _is_whole(points_N3, behind_5[0])
    for t in range(num_frames - 1):
        moves = len(camera_T33) > 0 and not _stands_still(camera_T33, t)
        is_affine = moves and camera_motion(camera_T33[t], camera_T33[t + 1], moved_33)
        _show_all(visible_HW)
        for k in range(len(starts_KT2) - 1, -1, -1):
            _add_layer(
                visible_HW, starts_KT2[k, t], runs_R4, alpha_N, columns_2W, moments_W3, covered_HW3, sums_HW3,
                affine_motion(pose_KT6[k, t], pose_KT6[k, t + 1]), is_defined_K[k], cell_px,
                pose_KT6[k, t], surface, places_K5[k], t,
            )  # fmt: skip
        stays = is_whole and _stay(projections_M34, behind_5, num_behind, num_frames, t)
        if has_surface and not stays:
            for y in range(rows * cell_px):
                _add_points(
                    visible_HW[y], opaque_N, y, 0, _IDENTITY, surface, behind_5, t, sums_HW3[y // cell_px], cell_px
                )
        if is_background_defined and moves and not is_affine:
            _add_perspective(visible_HW, moved_33, sums_HW3, cell_px)
        scale = moved_33[2, 2]
        camera = (
            moved_33[0, 0] / scale - 1.0, moved_33[0, 1] / scale, moved_33[0, 2] / scale,
            moved_33[1, 0] / scale, moved_33[1, 1] / scale - 1.0, moved_33[1, 2] / scale,
        )  # fmt: skip
        for row in range(rows):
            for column in range(columns):
                covered_3, sums_3 = covered_HW3[row, column], sums_HW3[row, column]
                if is_background_defined and is_affine:
                    covered_3[0] = all_weight - covered_3[0]
                    covered_3[1] = all_weight * cell_px - covered_3[1]
                    covered_3[2] = all_weight * cell_px - covered_3[2]
                    _add_affine(covered_3, camera, column * cell_px, row * cell_px, sums_3)
                elif stays or (is_background_defined and not moves):
                    if covered_3[0] == 0:
                        motion_THW2[t, row, column, 0] = motion_THW2[t, row, column, 1] = 0.0
                        continue
                    sums_3[2] += np.float64(all_weight - covered_3[0])
                _mean(sums_3, cell_px, motion_THW2[t, row, column])
                for i in range(3):
                    covered_3[i] = 0
                    sums_3[i] = 0.0
    for row in range(rows):
        for column in range(columns):
            motion_THW2[num_frames - 1, row, column, 0] = np.float32(np.nan)
            motion_THW2[num_frames - 1, row, column, 1] = np.float32(np.nan)
