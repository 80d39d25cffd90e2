"""Convex solids and how they look: planes and one quadric each, drawn by casting rays, with shading and soft edges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from smile_synth.machine.compiled import entry_point, inlined

SolidShape = Literal["cube", "sphere", "cylinder", "cone", "prism", "pyramid", "octahedron"]
Pattern = Literal["plain", "stripes", "checks", "spots"]
SOLID_SHAPES: tuple[SolidShape, ...] = get_args(SolidShape)
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)
RIM_POINTS = 24
# Light from everywhere, as a share of all, and how much brighter it comes from above.
AMBIENT, SKY = 0.38, 0.12
HIGHLIGHT = 0.75
_BIG = 1e30
Vector = tuple[float, float, float]
Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Solid:
    """A convex solid that just fits into a ball: the points that lie below every plane and inside the quadric.

    Args:
        planes_P4: float64; (a, b, c, d): a x + b y + c z <= d.
        quadric_5: float64; (a, b, c, e, f): a x^2 + b (y - e)^2 + c z^2 <= f; all 0 for none.
        corners_V3: float64; what touches a floor.
        roundness: every corner is a ball of this radius.
    """

    planes_P4: Doubles
    quadric_5: Doubles
    corners_V3: Doubles
    roundness: float

    def scaled(self, size: float) -> Solid:
        """Return it so large that it fits into a ball of this radius."""
        return Solid(
            self.planes_P4 * (1, 1, 1, size),
            self.quadric_5 * (1, 1, 1, size, size * size),
            self.corners_V3 * size,
            self.roundness * size,
        )


def solid(shape: SolidShape) -> Solid:
    """Return a solid of radius 1; the axis of a cylinder, cone, prism or pyramid is y."""
    if shape == "sphere":
        return Solid(np.empty((0, 4)), np.array([1.0, 1, 1, 0, 1]), np.zeros((1, 3)), 1.0)
    if shape == "cube":
        side = 1 / math.sqrt(3)
        return _polyhedron([(*axis, side) for axis in _axes()], _signs() * side)
    if shape == "octahedron":
        side = 1 / math.sqrt(3)
        return _polyhedron([(*row, side) for row in (_signs() * side).tolist()], np.array(_axes()))
    if shape == "prism":
        radius, half, turns = 0.8, 0.6, 2 * math.pi * np.arange(3) / 3
        sides = [(-math.cos(turn), 0.0, -math.sin(turn), radius / 2) for turn in turns.tolist()]
        caps = [(0, 1, 0, half), (0, -1, 0, half)]
        return _polyhedron([*sides, *caps], np.concatenate([_rim(radius, turns, half), _rim(radius, turns, -half)]))
    radius, turns = math.sqrt(0.75), 2 * math.pi * np.arange(RIM_POINTS) / RIM_POINTS
    if shape == "pyramid":
        reach = radius / math.sqrt(2)
        slope = math.hypot(1.5, reach)
        normals = [(1.5, reach, 0), (-1.5, reach, 0), (0, reach, 1.5), (0, reach, -1.5)]
        slopes = [(a / slope, b / slope, c / slope, reach / slope) for a, b, c in normals]
        base = _rim(radius, math.pi / 4 + 2 * math.pi * np.arange(4) / 4, -0.5)
        return _polyhedron([*slopes, (0, -1, 0, 0.5)], np.concatenate([base, [[0, 1, 0]]]))
    if shape == "cone":
        planes = np.array([[0, -1, 0, 0.5], [0, 1, 0, 1.0]])
        corners = np.concatenate([_rim(radius, turns, -0.5), [[0, 1, 0]]])
        return Solid(planes, np.array([1.0, -((radius / 1.5) ** 2), 1, 1, 0]), corners, 0.0)
    radius, half = 0.64, math.sqrt(1 - 0.64**2)
    planes = np.array([[0, 1, 0, half], [0, -1, 0, half]])
    corners = np.concatenate([_rim(radius, turns, half), _rim(radius, turns, -half)])
    return Solid(planes, np.array([1.0, 0, 1, 0, radius**2]), corners, 0.0)


def _polyhedron(planes: list[tuple[float, ...]], corners_V3: Doubles) -> Solid:
    return Solid(np.array(planes, np.float64), np.zeros(5), np.asarray(corners_V3, np.float64), 0.0)


def _axes() -> list[tuple[float, float, float]]:
    return [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]


def _signs() -> Doubles:
    return np.array(np.meshgrid([-1.0, 1], [-1.0, 1], [-1.0, 1])).reshape(3, -1).T


def _rim(radius: float, turns_N: Doubles, y: float) -> Doubles:
    return np.stack([radius * np.cos(turns_N), np.full(len(turns_N), y), radius * np.sin(turns_N)], axis=1)


@inlined
def _hit(origin: Vector, ray: Vector, planes_P4: Doubles, num_facing: int, quadric: Any) -> tuple[float, int]:
    """Return how far along a ray a solid begins, and on which face: a plane, or -2 for the quadric; -1 for a miss.

    The first ``num_facing`` planes are those that the origin lies above; the last number of a plane is how far the
    origin is below it. A ray enters where it has passed all of those, if that is still below the others.
    """
    near, face = 0.0, -1
    dx, dy, dz = ray
    for n in range(num_facing):
        way = planes_P4[n, 0] * dx + planes_P4[n, 1] * dy + planes_P4[n, 2] * dz
        if way >= 0.0:
            return -1.0, -1
        entry = planes_P4[n, 3] / way
        if entry > near:
            near, face = entry, n
    a, b, c, shift, size = quadric
    if a > 0.0:
        ox, y, oz = origin[0], origin[1] - shift, origin[2]
        square = a * dx * dx + b * dy * dy + c * dz * dz
        half = a * ox * dx + b * y * dy + c * oz * dz
        rest = half * half - square * (a * ox * ox + b * y * y + c * oz * oz - size)
        if square > 0.0:
            if rest < 0.0:
                return -1.0, -1
            root = math.sqrt(rest)
            if near * square > root - half:
                return -1.0, -1
            entry = (-half - root) / square
            if entry > near:
                near, face = entry, -2
        elif square < 0.0 and rest >= 0.0:
            # Near its axis a ray is in the cone before one root and after the other, and planes leave one of them.
            root = math.sqrt(rest)
            first, second = (-half + root) / square, (-half - root) / square
            if near > first and second > near:
                near, face = second, -2
    for n in range(num_facing, len(planes_P4)):
        if (planes_P4[n, 0] * dx + planes_P4[n, 1] * dy + planes_P4[n, 2] * dz) * near > planes_P4[n, 3]:
            return -1.0, -1
    return (near, face) if face != -1 else (-1.0, -1)


@inlined
def _normal(point: Vector, face: int, planes_P4: Doubles, quadric: Any) -> Vector:
    """Return the direction in which a face looks at a point, of length 1."""
    if face >= 0:
        return planes_P4[face, 0], planes_P4[face, 1], planes_P4[face, 2]
    x, y, z = quadric[0] * point[0], quadric[1] * (point[1] - quadric[3]), quadric[2] * point[2]
    length = math.sqrt(x * x + y * y + z * z)
    return x / length, y / length, z / length


@inlined
def _is_second(x: float, y: float, z: float, pattern: float, frequency: float) -> bool:
    """Return whether a point of the body has the second colour of its pattern."""
    x, y, z = x * frequency, y * frequency, z * frequency
    if pattern == 1.0:
        return bool((math.floor(y + 0.35 * x) & 1) == 1)
    if pattern == 2.0:
        return bool(((math.floor(x) + math.floor(y) + math.floor(z)) & 1) == 1)
    if pattern == 3.0:
        u, v, w = x - math.floor(x) - 0.5, y - math.floor(y) - 0.5, z - math.floor(z) - 0.5
        return bool(u * u + v * v + w * w < 0.16)
    return False


@inlined
def _shade(is_second: bool, normal: Vector, ray: Vector, light: Vector, up: Vector, look: Any) -> Vector:
    """Return the colour, 0 to 255, that a point of a body shows; all vectors in the body's own coordinates."""
    red, green, blue, red2, green2, blue2, _, _, shininess = look
    if is_second:
        red, green, blue = red2, green2, blue2
    facing = normal[0] * light[0] + normal[1] * light[1] + normal[2] * light[2]
    upward = normal[0] * up[0] + normal[1] * up[1] + normal[2] * up[2]
    bright = AMBIENT + SKY * upward + (1.0 - AMBIENT) * max(facing, 0.0)
    shine = 0.0
    if shininess > 0.0:
        length = math.sqrt(ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2])
        x, y, z = light[0] - ray[0] / length, light[1] - ray[1] / length, light[2] - ray[2] / length
        half = (normal[0] * x + normal[1] * y + normal[2] * z) / math.sqrt(x * x + y * y + z * z)
        if half > 0.0:
            half *= half
            half *= half
            half *= half
            shine = 255.0 * shininess * half * half * half * half
    return (
        min(red * bright + shine, 255.0),
        min(green * bright + shine, 255.0),
        min(blue * bright + shine, 255.0),
    )


@inlined
def _ray(view: Any, x: float, y: float) -> Vector:
    """Return the ray through a canvas point."""
    return (
        view[0] * x + view[1] * y + view[2],
        view[3] * x + view[4] * y + view[5],
        view[6] * x + view[7] * y + view[8],
    )


@entry_point(
    "void(uint8[:,:,:,::1], float32[:,:,:,::1], float32[:,:,::1], int64[:,::1], int64[:,::1], float64[:,:,::1],"
    "float64[:,::1], float64[:,::1], float64[::1], float64[:,:,::1], float64[::1])"
)
def cast(
    texture_THW4: Pixels,
    points_THW3: Floats,
    depth_THW: Floats,
    corner_T2: npt.NDArray[np.int64],
    end_T2: npt.NDArray[np.int64],
    view_T33: Doubles,
    origin_T3: Doubles,
    planes_P4: Doubles,
    quadric_5: Doubles,
    vectors_T23: Doubles,
    look_9: Doubles,
) -> None:
    """Draw one solid in every frame.

    Args:
        texture_THW4: uint8, all 0; written.
        points_THW3: float32, all NaN; written: the body's point that a pixel shows.
        depth_THW: float32, all infinite; written: how far from the camera it is, along its axis.
        corner_T2: x and y of the texture's upper left corner on the canvas.
        end_T2: x and y beyond the last pixel that it may touch.
        view_T33: from (column, row, 1) on the canvas to a ray whose part along the camera's axis is 1, in the body's
            coordinates.
        origin_T3: the camera there.
        planes_P4, quadric_5: see ``Solid``.
        vectors_T23: directions to the light and upwards there, of length 1.
        look_9: two colours (0 to 255), pattern and its frequency, shininess.
    """
    num_frames, height, width, _ = texture_THW4.shape
    # Rays of a pixel at an edge; two of them do for an edge within a pattern.
    offsets_42 = np.array([[-0.375, -0.125], [0.375, 0.125], [0.125, -0.375], [-0.125, 0.375]])
    # What a pixel shows: 0 for nothing, or a number for its face and its colour; edges run where it changes.
    shown_HW, ordered_P4 = np.zeros((height + 2, width + 2), np.int64), np.empty_like(planes_P4)
    quadric = (quadric_5[0], quadric_5[1], quadric_5[2], quadric_5[3], quadric_5[4])
    look = (
        look_9[0], look_9[1], look_9[2], look_9[3], look_9[4], look_9[5], look_9[6], look_9[7], look_9[8],
    )  # fmt: skip
    for t in range(num_frames):
        left, top = corner_T2[t, 0], corner_T2[t, 1]
        rows, columns = end_T2[t, 1] - top, end_T2[t, 0] - left
        view = (
            view_T33[t, 0, 0], view_T33[t, 0, 1], view_T33[t, 0, 2], view_T33[t, 1, 0], view_T33[t, 1, 1],
            view_T33[t, 1, 2], view_T33[t, 2, 0], view_T33[t, 2, 1], view_T33[t, 2, 2],
        )  # fmt: skip
        origin = (origin_T3[t, 0], origin_T3[t, 1], origin_T3[t, 2])
        light = (vectors_T23[t, 0, 0], vectors_T23[t, 0, 1], vectors_T23[t, 0, 2])
        up = (vectors_T23[t, 1, 0], vectors_T23[t, 1, 1], vectors_T23[t, 1, 2])
        num_facing, num_others = 0, 0
        for n in range(len(planes_P4)):
            a, b, c = planes_P4[n, 0], planes_P4[n, 1], planes_P4[n, 2]
            room = planes_P4[n, 3] - a * origin[0] - b * origin[1] - c * origin[2]
            place = num_facing if room < 0.0 else len(planes_P4) - 1 - num_others
            ordered_P4[place, 0], ordered_P4[place, 1], ordered_P4[place, 2], ordered_P4[place, 3] = a, b, c, room
            if room < 0.0:
                num_facing += 1
            else:
                num_others += 1
        shown_HW[:] = 0
        for row in range(rows):
            for column in range(columns):
                ray = _ray(view, left + column + 0.5, top + row + 0.5)
                length, face = _hit(origin, ray, ordered_P4, num_facing, quadric)
                if length > 0.0:
                    point = (origin[0] + length * ray[0], origin[1] + length * ray[1], origin[2] + length * ray[2])
                    is_second = _is_second(point[0], point[1], point[2], look[6], look[7])
                    colour = _shade(is_second, _normal(point, face, ordered_P4, quadric), ray, light, up, look)
                    texture_THW4[t, row, column, 0] = np.uint8(colour[0] + 0.5)
                    texture_THW4[t, row, column, 1] = np.uint8(colour[1] + 0.5)
                    texture_THW4[t, row, column, 2] = np.uint8(colour[2] + 0.5)
                    texture_THW4[t, row, column, 3] = 255
                    shown_HW[row + 1, column + 1] = 2 * (face + 3) + (1 if is_second else 0)
                    depth_THW[t, row, column] = length
                    points_THW3[t, row, column, 0] = point[0]
                    points_THW3[t, row, column, 1] = point[1]
                    points_THW3[t, row, column, 2] = point[2]
        for row in range(rows):
            for column in range(columns):
                here = shown_HW[row + 1, column + 1]
                # All bits in which a neighbour differs; the lowest is the pattern's.
                edges = (
                    (here ^ shown_HW[row + 1, column])
                    | (here ^ shown_HW[row + 1, column + 2])
                    | (here ^ shown_HW[row, column + 1])
                    | (here ^ shown_HW[row + 2, column + 1])
                )
                if edges == 0:
                    continue
                num_rays = 2 if edges == 1 else 4
                hits, red, green, blue = 0, 0.0, 0.0, 0.0
                for n in range(num_rays):
                    dx, dy = offsets_42[n, 0], offsets_42[n, 1]
                    ray = _ray(view, left + column + 0.5 + dx, top + row + 0.5 + dy)
                    length, face = _hit(origin, ray, ordered_P4, num_facing, quadric)
                    if length > 0.0:
                        point = (origin[0] + length * ray[0], origin[1] + length * ray[1], origin[2] + length * ray[2])
                        is_second = _is_second(point[0], point[1], point[2], look[6], look[7])
                        colour = _shade(is_second, _normal(point, face, ordered_P4, quadric), ray, light, up, look)
                        hits, red, green, blue = hits + 1, red + colour[0], green + colour[1], blue + colour[2]
                        if depth_THW[t, row, column] == np.inf:
                            depth_THW[t, row, column] = length
                            points_THW3[t, row, column, 0] = point[0]
                            points_THW3[t, row, column, 1] = point[1]
                            points_THW3[t, row, column, 2] = point[2]
                share = 1.0 / max(hits, 1)
                texture_THW4[t, row, column, 0] = np.uint8(red * share + 0.5)
                texture_THW4[t, row, column, 1] = np.uint8(green * share + 0.5)
                texture_THW4[t, row, column, 2] = np.uint8(blue * share + 0.5)
                texture_THW4[t, row, column, 3] = (255 * hits + num_rays // 2) // num_rays


@entry_point("void(uint8[:,:,:,::1], float32[:,:,::1], int64[:,::1], uint8[:,:,:,::1], float32[:,:,::1], int64[:,::1])")
def hide_behind(
    texture_THW4: Pixels,
    depth_THW: Floats,
    corner_T2: npt.NDArray[np.int64],
    other_THW4: Pixels,
    other_depth_THW: Floats,
    other_corner_T2: npt.NDArray[np.int64],
) -> None:
    """Take from a solid what another one hides that is painted before it, but lies nearer there."""
    num_frames, height, width, _ = texture_THW4.shape
    other_height, other_width = other_depth_THW.shape[1:]
    for t in range(num_frames):
        dy, dx = corner_T2[t, 1] - other_corner_T2[t, 1], corner_T2[t, 0] - other_corner_T2[t, 0]
        for row in range(max(0, -dy), min(height, other_height - dy)):
            for column in range(max(0, -dx), min(width, other_width - dx)):
                if other_depth_THW[t, row + dy, column + dx] < depth_THW[t, row, column]:
                    rest = 255 - np.int64(other_THW4[t, row + dy, column + dx, 3])
                    texture_THW4[t, row, column, 3] = (np.int64(texture_THW4[t, row, column, 3]) * rest + 127) // 255


@entry_point("void(uint8[:,:,:,::1], float64[:,:,::1], float64[:,:,::1], int64[:,:,::1])")
def draw_shadows(
    frames_THWC: Pixels, floor_HW2: Doubles, shadows_TK4: Doubles, extents_TK4: npt.NDArray[np.int64]
) -> None:
    """Darken the floor below solids.

    Args:
        frames_THWC: uint8 (T, H, W, 3), drawn into.
        floor_HW2: float64; x and z of the floor that a pixel shows, infinite above the horizon.
        shadows_TK4: float64; x and z of the middle, radius, and darkness from 0 to 1.
        extents_TK4: int64; first column and row, last column and row + 1 that a shadow may touch, on the canvas.
    """
    for t in range(len(frames_THWC)):
        for k in range(shadows_TK4.shape[1]):
            middle_x, middle_z, radius, darkness = (
                shadows_TK4[t, k, 0],
                shadows_TK4[t, k, 1],
                shadows_TK4[t, k, 2],
                shadows_TK4[t, k, 3],
            )
            for row in range(extents_TK4[t, k, 1], extents_TK4[t, k, 3]):
                for column in range(extents_TK4[t, k, 0], extents_TK4[t, k, 2]):
                    x, z = floor_HW2[row, column, 0] - middle_x, floor_HW2[row, column, 1] - middle_z
                    inside = 1.0 - (x * x + z * z) / (radius * radius)
                    if inside > 0.0:
                        light = 1.0 - darkness * inside * inside * (3.0 - 2.0 * inside)
                        for channel in range(3):
                            shown = frames_THWC[t, row, column, channel] * light
                            frames_THWC[t, row, column, channel] = np.uint8(shown + 0.5)
