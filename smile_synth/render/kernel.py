"""The compiled renderer: area filtering, warping and blending in integer fixed-point.

A texel is four 16-bit lanes in one 64-bit word (red lowest, alpha highest), each holding 0 to 255, so that one
multiplication weighs all four. Colours are premultiplied by alpha. Positions are 32.32 fixed-point.

Everything compiled lives in this one file because numba's cache is renewed only when the file of the entry point
changes.
"""

from __future__ import annotations

import math
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt

from smile_synth.machine.compiled import entry_point, inlined

FRACTION_BITS = 32
ONE = 1 << FRACTION_BITS
# Keeps every position of a canvas of up to MAX_SIDE pixels inside 63 bits.
MAX_SIDE = 1 << 15
MAX_STEP = float(1 << 14)
MAX_OFFSET = float(1 << 29)
# Keeps 1/256 texel inside 32 bits.
MAX_POSITION = float(1 << 22)
# A texture is filtered down when it has more than this many texels to a drawn pixel.
MIN_SHRINK = 1.25
# An object is filtered again each time its size has halved, at most this often.
MAX_HALVINGS = 16
# Columns a block of coverage: vector instructions need no remainder loop.
BLOCK = 64
# Where a pose magnifies more than this, its row bounds are not trusted and all rows are tried.
MAX_BOUNDED_SCALE = 4096.0

# Places are unsigned: for a signed one numba would test at every access whether it counts from the end.
_0, _1, _2 = np.uint64(0), np.uint64(1), np.uint64(2)
_BYTE = np.uint64(255)
_WHOLE = np.uint64(256)
_HALF_LANES = np.uint64(0x0080_0080_0080_0080)
_LANES = np.uint64(0x00FF_00FF_00FF_00FF)
_S8, _S16, _S32, _S48 = np.uint64(8), np.uint64(16), np.uint64(32), np.uint64(48)

Texels = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]
Step = tuple[bool, int, int, int, int, int, int]
NOT_DRAWN: Step = (False, 0, 0, 0, 0, 0, 0)


# ---- From floats to integers: shared with the reference. Only + - * / and sqrt, whose rounding IEEE 754 defines. ----


@inlined
def opacity_weight(opacity: float) -> int:
    """Return an opacity in [0, 1] as 0 to 256."""
    return math.floor(np.float64(opacity) * 256.0 + 0.5)


@inlined
def drawn_sides(pose_6: Any, height: int, width: int) -> tuple[float, float]:
    """Return the lengths in canvas pixels of the texture's left and top sides under a pose."""
    a, b = np.float64(pose_6[0]), np.float64(pose_6[1])
    d, e = np.float64(pose_6[3]), np.float64(pose_6[4])
    return math.sqrt(b * b + e * e) * height, math.sqrt(a * a + d * d) * width


@inlined
def reduced_side(side: int, drawn: float) -> int:
    """Return how many texels a side is filtered down to when ``drawn`` pixels is the longest it is drawn."""
    if not drawn * MIN_SHRINK < side:
        return side
    return max(1, math.ceil(drawn))


@inlined
def octave(longest: float, drawn: float) -> int:
    """Return how many times a side drawn ``longest`` at most has halved at ``drawn``."""
    halvings = 0
    while halvings < MAX_HALVINGS and drawn * 2.0 <= longest:
        drawn *= 2.0
        halvings += 1
    return halvings


@inlined
def texture_step(pose_6: Any, zoom_y: float, zoom_x: float) -> Step:
    """Turn a pose around: from canvas pixels to positions in a filtered texture, in fixed-point.

    Args:
        pose_6: (a, b, c, d, e, f) of ``Layer``.
        zoom_y, zoom_x: texture pixels to a texel of the filtered texture.

    Returns:
        (drawn, u, u by column, u by row, v, v by column, v by row) where (u, v) belongs to canvas pixel (0, 0);
        texel centres lie at whole numbers, and texel 0 is the transparent one before the first.
    """
    a, b, c = np.float64(pose_6[0]) * zoom_x, np.float64(pose_6[1]) * zoom_y, np.float64(pose_6[2])
    d, e, f = np.float64(pose_6[3]) * zoom_x, np.float64(pose_6[4]) * zoom_y, np.float64(pose_6[5])
    area = a * e - b * d
    if area == 0.0:
        return NOT_DRAWN
    ux, uy, vx, vy = e / area, -b / area, -d / area, a / area
    u = ux * (0.5 - c) + uy * (0.5 - f) + 0.5
    v = vx * (0.5 - c) + vy * (0.5 - f) + 0.5
    largest_step = max(max(abs(ux), abs(uy)), max(abs(vx), abs(vy)))
    # Written so that NaN is refused too.
    if not (largest_step <= MAX_STEP and abs(u) <= MAX_OFFSET and abs(v) <= MAX_OFFSET):
        return NOT_DRAWN
    return True, to_fixed(u), to_fixed(ux), to_fixed(uy), to_fixed(v), to_fixed(vx), to_fixed(vy)


@inlined
def to_fixed(value: float) -> int:
    """Round a number to 32.32 fixed-point."""
    return math.floor(value * 4294967296.0 + 0.5)


@inlined
def camera_inverse(camera_33: Any, zoom_y: float, zoom_x: float) -> tuple[float, ...]:
    """Return the nine numbers of the homography (up to its scale) from canvas points to filtered background points."""
    a, b, c = np.float64(camera_33[0, 0]) * zoom_x, np.float64(camera_33[0, 1]) * zoom_y, np.float64(camera_33[0, 2])
    d, e, f = np.float64(camera_33[1, 0]) * zoom_x, np.float64(camera_33[1, 1]) * zoom_y, np.float64(camera_33[1, 2])
    g, h, k = np.float64(camera_33[2, 0]) * zoom_x, np.float64(camera_33[2, 1]) * zoom_y, np.float64(camera_33[2, 2])
    return (
        e * k - f * h, c * h - b * k, b * f - c * e,
        f * g - d * k, a * k - c * g, c * d - a * f,
        d * h - e * g, b * g - a * h, a * e - b * d,
    )  # fmt: skip


# ---- Filtering a texture down, once a clip. ----


@inlined
def _packed(red: Any, green: Any, blue: Any, alpha: Any) -> Any:
    return np.uint64(red) | np.uint64(green) << _S16 | np.uint64(blue) << _S32 | np.uint64(alpha) << _S48


@inlined
def _scaled(texel: Any, weight: Any) -> Any:
    """Multiply every lane by ``weight`` / 255, rounded: exact for every product of two bytes."""
    product = texel * weight + _HALF_LANES
    return ((product + ((product >> _S8) & _LANES)) >> _S8) & _LANES


@inlined
def _premultiplied(texture_HWC: Bytes, margin: int) -> Texels:
    """Premultiply a texture, with a transparent margin around."""
    height, width, num_channels = texture_HWC.shape
    texels = np.zeros((height + 2 * margin, width + 2 * margin), np.uint64)
    for i in range(height):
        for j in range(width):
            texel = _packed(texture_HWC[i, j, 0], texture_HWC[i, j, 1], texture_HWC[i, j, 2], 255)
            if num_channels == 4:
                texel = _scaled(texel, np.uint64(texture_HWC[i, j, 3]))
            texels[margin + i, margin + j] = texel
    return texels


@inlined
def _add_row(sums_4W: Any, row_WC: Bytes, weight: Any) -> None:
    """Add ``weight`` times one row of premultiplied colours (0 to 255 x 255) to the sums."""
    for j in range(row_WC.shape[0]):
        alpha = weight * np.uint32(row_WC[j, 3] if row_WC.shape[1] == 4 else 255)
        sums_4W[0, j] += np.uint32(row_WC[j, 0]) * alpha
        sums_4W[1, j] += np.uint32(row_WC[j, 1]) * alpha
        sums_4W[2, j] += np.uint32(row_WC[j, 2]) * alpha
        sums_4W[3, j] += np.uint32(255) * alpha


@inlined
def _average_columns(texels_N: Any, sums_4W: Any, num_columns: int, divisor: int) -> None:
    """Average the sums of one row over each texel's share of the columns."""
    width = sums_4W.shape[1]
    half = np.uint64(divisor // 2)
    for column in range(num_columns):
        left = column * width
        right = left + width
        red = green = blue = alpha = half
        j = left // num_columns
        while j * num_columns < right:
            weight = np.uint64(min((j + 1) * num_columns, right) - max(j * num_columns, left))
            red += weight * np.uint64(sums_4W[0, j])
            green += weight * np.uint64(sums_4W[1, j])
            blue += weight * np.uint64(sums_4W[2, j])
            alpha += weight * np.uint64(sums_4W[3, j])
            j += 1
        texels_N[column] = _packed(
            _quotient(red, divisor), _quotient(green, divisor), _quotient(blue, divisor), _quotient(alpha, divisor)
        )


@inlined
def _quotient(number: Any, divisor: int) -> Any:
    """Divide whole numbers, rounding down.

    Below 2^53 the float quotient is never rounded up to the next whole number, and its division is the faster one.
    """
    return np.int64(np.float64(np.int64(number)) / np.float64(divisor))


@inlined
def _filtered(texture_HWC: Bytes, num_rows: int, num_columns: int, margin: int) -> Texels:
    """Premultiply a texture and average it over the area of each texel, with a transparent margin around.

    Row r of the texture covers [r, r + 1) x num_rows, row i of the result [i, i + 1) x height, so that every overlap
    is a whole number and the average is exact before its one rounding.
    """
    height, width = texture_HWC.shape[:2]
    if num_rows == height and num_columns == width:
        return _premultiplied(texture_HWC, margin)
    texels = np.zeros((num_rows + 2 * margin, num_columns + 2 * margin), np.uint64)
    sums_4W = np.empty((4, width), np.uint32)
    for i in range(num_rows):
        sums_4W[:] = 0
        top = i * height
        bottom = top + height
        row = top // num_rows
        while row * num_rows < bottom:
            weight = min((row + 1) * num_rows, bottom) - max(row * num_rows, top)
            _add_row(sums_4W, texture_HWC[row], np.uint32(weight))
            row += 1
        _average_columns(texels[margin + i, margin:], sums_4W, num_columns, 255 * height * width)
    return texels


# ---- Drawing one object into one frame. ----


@inlined
def _lerp(first: Any, second: Any, weight: Any) -> Any:
    """Blend two texels, lane by lane; ``weight`` is 0 to 255 of 256, for the second."""
    # Whole words may borrow between lanes in between: every lane of the sum is in range again.
    return (((first << _S8) + (second - first) * weight + _HALF_LANES) >> _S8) & _LANES


@inlined
def _span(start: int, step: int, limit: int, first: int, last: int) -> tuple[int, int]:
    """Return the part of columns [first, last) where 0 <= start + column x step < limit."""
    if step == 0:
        return (first, last) if 0 <= start < limit else (first, first)
    if step > 0:
        return max(first, -(start // step)), min(last, -((start - limit) // step))
    return max(first, (start - limit) // -step + 1), min(last, start // -step + 1)


@inlined
def _blend(row_B: Any, place: Any, texel: Any, alpha: Any) -> None:
    """Put a premultiplied texel over the pixel whose red byte is at ``place``."""
    if alpha != _BYTE:
        under = _packed(row_B[place], row_B[place + _1], row_B[place + _2], 0)
        texel += _scaled(under, _BYTE - alpha)
    row_B[place] = texel & _BYTE
    row_B[place + _1] = (texel >> _S16) & _BYTE
    row_B[place + _2] = (texel >> _S32) & _BYTE


@inlined
def _draw_row(
    row_B: Any,
    texels_N: Any,
    stride: int,
    u: int,
    ux: int,
    v: int,
    vx: int,
    first: int,
    last: int,
    weight: Any,
    alpha_N: Any,
    kept: Any,
    kept_step: Any,
) -> tuple[int, int]:
    """Draw columns [first, last) of one row; return the first and last column drawn, or (last, -1).

    Where alpha is not 0 it goes to ``alpha_N``, from ``kept`` on; a step of 0 keeps none.
    """
    drawn_first, drawn_last = last, -1
    u += first * ux
    v += first * vx
    for column in range(first, last):
        place = np.uint64((v >> FRACTION_BITS) * stride + (u >> FRACTION_BITS))
        below = place + np.uint64(stride)
        north_west, north_east = texels_N[place], texels_N[place + _1]
        south_west, south_east = texels_N[below], texels_N[below + _1]
        east = np.uint64(u >> (FRACTION_BITS - 8)) & _BYTE
        south = np.uint64(v >> (FRACTION_BITS - 8)) & _BYTE
        u += ux
        v += vx
        if (north_west | north_east | south_west | south_east) == 0:
            kept += kept_step
            continue
        texel = _lerp(_lerp(north_west, north_east, east), _lerp(south_west, south_east, east), south)
        if weight != _WHOLE:
            texel = ((texel * weight + _HALF_LANES) >> _S8) & _LANES
        alpha = texel >> _S48
        if alpha != 0:
            _blend(row_B, np.uint64(3 * column), texel, alpha)
            alpha_N[kept] = alpha
            drawn_first = min(drawn_first, column)
            drawn_last = column
        kept += kept_step
    return drawn_first, drawn_last


@inlined
def _row_bounds(pose_6: Floats, height: int, width: int, zoom_y: float, zoom_x: float, num_rows: int) -> Any:
    """Return rows [first, last) of the canvas that hold everything a pose may draw."""
    scale = 0.0
    for i in (0, 1, 3, 4):
        scale = max(scale, abs(np.float64(pose_6[i])))
    if scale > MAX_BOUNDED_SCALE:
        return 0, num_rows
    d, e, f = np.float64(pose_6[3]), np.float64(pose_6[4]), np.float64(pose_6[5])
    left, right = -zoom_x * d, (width + zoom_x) * d
    top, bottom = -zoom_y * e, (height + zoom_y) * e
    first = min(left, right) + min(top, bottom) + f - 2.0
    last = max(left, right) + max(top, bottom) + f + 2.0
    return int(min(max(first, 0.0), float(num_rows))), int(min(max(last, 0.0), float(num_rows)))


@inlined
def _empty_blocks(alpha_N: Any, start: int, first: int, last: int) -> int:
    """Empty the blocks for columns [first, last), and return where they start."""
    for place in range(start, start + (last - 1) // BLOCK * BLOCK + BLOCK - first // BLOCK * BLOCK):
        alpha_N[np.uint64(place)] = 0
    return start


@inlined
def _draw_texels(
    frame_HB: Any,
    texels: Texels,
    step: Step,
    first_row: int,
    last_row: int,
    weight: Any,
    box_4: Any,
    runs_R4: Any,
    alpha_N: Any,
    kept_2: Any,
    keeps: bool,
) -> None:
    """Draw one frame of an object, write its box, and keep what it covers."""
    _, u0, ux, uy, v0, vx, vy = step
    num_columns = frame_HB.shape[1] // 3
    u_limit, v_limit = (texels.shape[1] - 1) << FRACTION_BITS, (texels.shape[0] - 1) << FRACTION_BITS
    texels_N = texels.ravel()
    x1, y1, x2, y2 = num_columns, -1, -1, -1
    kept_step = _1 if keeps else _0
    for row in range(first_row, last_row):
        u, v = u0 + row * uy, v0 + row * vy
        first, last = _span(u, ux, u_limit, 0, num_columns)
        first, last = _span(v, vx, v_limit, first, last)
        if first >= last:
            continue
        kept = first % BLOCK + (_empty_blocks(alpha_N, kept_2[1], first, last) if keeps else 0)
        left, right = _draw_row(
            frame_HB[row], texels_N, texels.shape[1], u, ux, v, vx, first, last, weight,
            alpha_N, np.uint64(kept) if keeps else _0, kept_step,
        )  # fmt: skip
        if keeps and right >= 0:
            block, end = left // BLOCK * BLOCK, (right // BLOCK + 1) * BLOCK
            run, start = kept_2[0], kept - first + block
            runs_R4[run, 0], runs_R4[run, 1], runs_R4[run, 2], runs_R4[run, 3] = row, block, end, start
            kept_2[0], kept_2[1] = run + 1, start + end - block
        if right >= 0:
            x1, x2 = min(x1, left), max(x2, right)
            y1, y2 = row if y1 < 0 else y1, row
    if y1 >= 0:
        box_4[0], box_4[1], box_4[2], box_4[3] = x1, y1, x2 + 1, y2 + 1


# ---- One object through all frames. ----


@inlined
def _octaves(pose_T6: Floats, opacity_T: Floats, height: int, width: int) -> Any:
    """Return for every frame how often its object has halved since it was largest (-1 where unseen), and its sides."""
    num_frames = pose_T6.shape[0]
    sides_T2 = np.zeros((num_frames, 2))
    longest_y = longest_x = 0.0
    for t in range(num_frames):
        if opacity_weight(opacity_T[t]) > 0:
            sides_T2[t, 0], sides_T2[t, 1] = side_y, side_x = drawn_sides(pose_T6[t], height, width)
            longest_y, longest_x = max(longest_y, side_y), max(longest_x, side_x)
    octave_T = np.empty(num_frames, np.int64)
    for t in range(num_frames):
        octave_T[t] = -1
        if opacity_weight(opacity_T[t]) > 0:
            octave_T[t] = max(octave(longest_y, sides_T2[t, 0]), octave(longest_x, sides_T2[t, 1]))
    return octave_T, sides_T2


_BYTES_3D = nb.types.Array(nb.uint8, 3, "C")
_INPUT_4D = nb.types.Array(nb.uint8, 4, "C", readonly=True)
_INPUT_2D = nb.types.Array(nb.float32, 2, "C", readonly=True)
_INPUT_1D = nb.types.Array(nb.float32, 1, "C", readonly=True)
_INPUT_33 = nb.types.Array(nb.float32, 3, "C", readonly=True)
_COUNTS_2D = nb.types.Array(nb.int64, 2, "C")


@entry_point(nb.int64(_INPUT_2D, nb.int64, nb.int64, nb.int64))
def bounded_rows(pose_T6: Floats, height: int, width: int, num_rows: int) -> int:
    """Return how many rows of the canvas an object can touch at most, over all frames.

    Args:
        pose_T6: as in ``Layer``.
        height, width: of the texture.
        num_rows: of the canvas.
    """
    total = 0
    for t in range(pose_T6.shape[0]):
        first, last = _row_bounds(pose_T6[t], height, width, 1.0, 1.0, num_rows)
        # The transparent margin is one texel wide, which is a texture's pixel, or drawn smaller than a canvas's.
        total += min(num_rows, last - first + 4)
    return total


@entry_point(
    nb.void(
        _BYTES_3D,
        _INPUT_4D,
        _INPUT_2D,
        _INPUT_1D,
        nb.float32[:, ::1],
        _COUNTS_2D,
        _COUNTS_2D,
        nb.uint8[::1],
        nb.int64[::1],
        nb.boolean,
    )
)
def draw_layer(
    frames_THB: Bytes,
    texture_THWC: Bytes,
    pose_T6: Floats,
    opacity_T: Floats,
    boxes_T4: Floats,
    starts_T2: Counts,
    runs_R4: Counts,
    alpha_N: Bytes,
    kept_2: Counts,
    keeps: bool,
) -> None:
    """Draw one object over all frames of a clip.

    Frames in which the object is of similar size share one filtered texture; whenever it has halved, the next is made.

    Args:
        frames_THB: uint8 (T, H, 3 W), drawn into.
        texture_THWC: uint8 (1 or T, h, w, 4).
        pose_T6, opacity_T: as in ``Layer``.
        boxes_T4: float32 (T, 4), filled with NaN before; written where something was drawn.
        starts_T2, runs_R4, alpha_N: what the object covers, added where ``Coverage`` (coverage.py) says; there must be
            room for ``bounded_rows`` of it.
        kept_2: int64 (2,), runs and pixels that are kept already; counted on.
        keeps: whether to keep what the object covers.
    """
    height, width = texture_THWC.shape[1:3]
    octave_T, sides_T2 = _octaves(pose_T6, opacity_T, height, width)
    for level in range(MAX_HALVINGS + 1):
        longest_y = longest_x = 0.0
        for t in range(len(octave_T)):
            if octave_T[t] == level:
                longest_y, longest_x = max(longest_y, sides_T2[t, 0]), max(longest_x, sides_T2[t, 1])
        reduced_y, reduced_x = reduced_side(height, longest_y), reduced_side(width, longest_x)
        zoom_y, zoom_x = height / reduced_y, width / reduced_x
        texels, made_of = np.empty((0, 0), np.uint64), -1
        for t in range(len(octave_T)):
            if octave_T[t] != level:
                continue
            step = texture_step(pose_T6[t], zoom_y, zoom_x)
            if not step[0]:
                continue
            source = min(t, texture_THWC.shape[0] - 1)
            if source != made_of:
                texels, made_of = _filtered(texture_THWC[source], reduced_y, reduced_x, 1), source
            first, last = _row_bounds(pose_T6[t], height, width, zoom_y, zoom_x, frames_THB.shape[1])
            weight = np.uint64(opacity_weight(opacity_T[t]))
            starts_T2[t, 0] = kept_2[0]
            _draw_texels(
                frames_THB[t], texels, step, first, last, weight, boxes_T4[t], runs_R4, alpha_N, kept_2, keeps
            )  # fmt: skip
            starts_T2[t, 1] = kept_2[0] - starts_T2[t, 0]


# ---- The background through a moving camera. ----


@inlined
def camera_sides(camera_33: Any, height: int, width: int, num_rows: int, num_columns: int) -> tuple[float, float]:
    """Return the lengths in canvas pixels of a background's sides, at the scale found in the canvas's middle."""
    y, x = num_rows * 0.5, num_columns * 0.5
    h = camera_inverse(camera_33, 1.0, 1.0)
    depth = h[6] * x + h[7] * y + h[8]
    p, q = (h[0] * x + h[1] * y + h[2]) / depth, (h[3] * x + h[4] * y + h[5]) / depth
    g, k = np.float64(camera_33[2, 0]), np.float64(camera_33[2, 1])
    w = g * p + k * q + np.float64(camera_33[2, 2])
    a, d = (np.float64(camera_33[0, 0]) - x * g) / w, (np.float64(camera_33[1, 0]) - y * g) / w
    b, e = (np.float64(camera_33[0, 1]) - x * k) / w, (np.float64(camera_33[1, 1]) - y * k) / w
    side_y, side_x = math.sqrt(b * b + e * e) * height, math.sqrt(a * a + d * d) * width
    # A middle that lies on the camera's horizon has no scale: the background is then not filtered.
    return (side_y, side_x) if side_y + side_x < math.inf else (np.float64(height), np.float64(width))


@inlined
def _position(value: float) -> Any:
    """Round a position to 1/256 of a texel; one that lies too far to mean anything becomes 0."""
    near = value if abs(value) < MAX_POSITION else 0.0
    return np.int32(math.floor(near * 256.0 + 0.5))


@inlined
def _perspective_positions(u_W: Any, v_W: Any, h: Any, row: int) -> None:
    """Find where in the background, in 1/256 texel, the pixels of one row look."""
    y = row + 0.5
    for column in range(len(u_W)):
        x = column + 0.5
        nearness = 1.0 / (h[6] * x + h[7] * y + h[8])
        u_W[column] = _position((h[0] * x + h[1] * y + h[2]) * nearness - 0.5)
        v_W[column] = _position((h[3] * x + h[4] * y + h[5]) * nearness - 0.5)


@inlined
def _mirrored(index: int, size: int) -> int:
    """Reflect an index at the borders, each border texel repeated once."""
    if 0 <= index < size:
        return index
    index %= 2 * size
    return index if index < size else 2 * size - 1 - index


@inlined
def camera_step(camera_33: Any, zoom_y: float, zoom_x: float) -> Step:
    """Return a camera without perspective as steps from pixel to pixel, texel centres at whole numbers.

    The first value is False for a camera with perspective, and for one too extreme for fixed-point.
    """
    depth = np.float64(camera_33[2, 2])
    if camera_33[2, 0] != 0.0 or camera_33[2, 1] != 0.0 or depth == 0.0:
        return NOT_DRAWN
    a, b, c = np.float64(camera_33[0, 0]), np.float64(camera_33[0, 1]), np.float64(camera_33[0, 2])
    d, e, f = np.float64(camera_33[1, 0]), np.float64(camera_33[1, 1]), np.float64(camera_33[1, 2])
    pose_6 = (a / depth, b / depth, c / depth, d / depth, e / depth, f / depth)
    is_fit, u, ux, uy, v, vx, vy = texture_step(pose_6, zoom_y, zoom_x)
    return is_fit, u - ONE, ux, uy, v - ONE, vx, vy


@inlined
def _view(texels: Texels, u: Any, v: Any) -> Any:
    """Return the background at a position in 1/256 texel."""
    height, width = texels.shape
    x, y = u >> 8, v >> 8
    if 0 <= x < width - 1 and 0 <= y < height - 1:
        west, east, north, south = x, x + 1, y, y + 1
    else:
        west, east, north, south = (
            _mirrored(x, width),
            _mirrored(x + 1, width),
            _mirrored(y, height),
            _mirrored(y + 1, height),
        )
    share = np.uint64(u & 255)
    upper = _lerp(texels[np.uint64(north), np.uint64(west)], texels[np.uint64(north), np.uint64(east)], share)
    lower = _lerp(texels[np.uint64(south), np.uint64(west)], texels[np.uint64(south), np.uint64(east)], share)
    return _lerp(upper, lower, np.uint64(v & 255))


@inlined
def _draw_stepped_view(frame_HB: Any, texels: Texels, step: Step) -> None:
    """Draw one frame of the background as a camera without perspective sees it."""
    _, u0, ux, uy, v0, vx, vy = step
    height, width = texels.shape
    texels_N, num_columns = texels.ravel(), frame_HB.shape[1] // 3
    no_alpha = np.empty(1, np.uint8)
    for row in range(frame_HB.shape[0]):
        u, v = u0 + row * uy, v0 + row * vy
        # Between these columns no texel is mirrored.
        first, last = _span(u, ux, (width - 1) << FRACTION_BITS, 0, num_columns)
        first, last = _span(v, vx, (height - 1) << FRACTION_BITS, first, last)
        # Where there are none, both bounds may lie beyond the row.
        first = min(first, num_columns)
        last = max(first, min(last, num_columns))
        _draw_row(frame_HB[row], texels_N, width, u, ux, v, vx, first, last, _WHOLE, no_alpha, _0, _0)
        _draw_mirrored(frame_HB[row], texels, u, ux, v, vx, 0, first)
        _draw_mirrored(frame_HB[row], texels, u, ux, v, vx, last, num_columns)


@inlined
def _draw_mirrored(row_B: Any, texels: Texels, u: int, ux: int, v: int, vx: int, first: int, last: int) -> None:
    """Draw columns [first, last) of one row of the background, mirrored at its borders."""
    for column in range(first, last):
        texel = _view(texels, (u + column * ux) >> (FRACTION_BITS - 8), (v + column * vx) >> (FRACTION_BITS - 8))
        _blend(row_B, np.uint64(3 * column), texel, _BYTE)


@inlined
def _draw_perspective_view(frame_HB: Any, texels: Texels, h: Any) -> None:
    """Draw one frame of the background as a camera with perspective sees it."""
    num_columns = frame_HB.shape[1] // 3
    # Apart from the drawing, finding the positions is vector code.
    u_W, v_W = np.empty(num_columns, np.int32), np.empty(num_columns, np.int32)
    for row in range(frame_HB.shape[0]):
        _perspective_positions(u_W, v_W, h, row)
        for column in range(num_columns):
            texel = _view(texels, np.int64(u_W[column]), np.int64(v_W[column]))
            _blend(frame_HB[row], np.uint64(3 * column), texel, _BYTE)


# Loops instead of np.array_equal and a slice assignment, which take seconds to compile.


@inlined
def _is_same_view(camera_T33: Floats, t: int) -> bool:
    """Return whether the camera stands in frame t where it stood before."""
    for i in range(3):
        for j in range(3):
            if camera_T33[t, i, j] != camera_T33[t - 1, i, j]:
                return False
    return True


@inlined
def _copy_frame(frames_THB: Bytes, t: int) -> None:
    """Repeat the frame before frame t."""
    for row in range(frames_THB.shape[1]):
        for place in range(frames_THB.shape[2]):
            frames_THB[t, row, place] = frames_THB[t - 1, row, place]


@entry_point(nb.void(_BYTES_3D, _INPUT_4D, _INPUT_33))
def draw_background(frames_THB: Bytes, background_THWC: Bytes, camera_T33: Floats) -> None:
    """Draw the background as a camera sees it, over the whole of every frame.

    Args:
        frames_THB: uint8 (T, H, 3 W), overwritten.
        background_THWC: uint8 (1 or T, h, w, 3).
        camera_T33: as in ``Scene``.
    """
    height, width = background_THWC.shape[1:3]
    num_rows, num_columns = frames_THB.shape[1], frames_THB.shape[2] // 3
    longest_y = longest_x = 0.0
    for t in range(frames_THB.shape[0]):
        side_y, side_x = camera_sides(camera_T33[t], height, width, num_rows, num_columns)
        longest_y, longest_x = max(longest_y, side_y), max(longest_x, side_x)
    reduced_y, reduced_x = reduced_side(height, longest_y), reduced_side(width, longest_x)
    texels, made_of = np.empty((0, 0), np.uint64), -1
    for t in range(frames_THB.shape[0]):
        source = min(t, background_THWC.shape[0] - 1)
        if t > 0 and source == made_of and _is_same_view(camera_T33, t):
            _copy_frame(frames_THB, t)
            continue
        if source != made_of:
            texels, made_of = _filtered(background_THWC[source], reduced_y, reduced_x, 0), source
        step = camera_step(camera_T33[t], height / reduced_y, width / reduced_x)
        if step[0]:
            _draw_stepped_view(frames_THB[t], texels, step)
        else:
            inverse = camera_inverse(camera_T33[t], height / reduced_y, width / reduced_x)
            _draw_perspective_view(frames_THB[t], texels, inverse)
