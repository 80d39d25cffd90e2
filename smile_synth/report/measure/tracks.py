"""The ways of objects through clips, from boxes and poses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# Beyond this share of its box's side, an object moves inside its texture, and its pose does not tell where it is.
RIGID_TOLERANCE = 0.5


@dataclass(frozen=True, eq=False)
class Tracks:
    """Where the objects of some clips are, frame by frame.

    Args:
        path_BKT2: canvas point (x, y) that every object carries along, in pixels; NaN while it is not visible.
        side_BKT: geometric mean of the sides of its box, in pixels; NaN unless the whole object is on the canvas.
        angle_BKT: how far its pose is turned, in degrees, (-180, 180], clockwise on the screen; NaN while not visible.
        scale_BKT: how much its pose enlarges lengths, geometric mean over directions; NaN while not visible.
        is_visible_BKT: something of the object is drawn.
        is_drawn_BKT: the generator drew the object with some opacity, on or off the canvas.
        is_whole_BKT: visible and not touching the canvas's border.
        is_present_BK: the slot holds an object.
    """

    path_BKT2: Floats
    side_BKT: Floats
    angle_BKT: Floats
    scale_BKT: Floats
    is_visible_BKT: Bools
    is_drawn_BKT: Bools
    is_whole_BKT: Bools
    is_present_BK: Bools


def find_tracks(
    boxes_BKT4: npt.NDArray[np.float32],
    poses_BKT6: npt.NDArray[np.float32],
    opacity_BKT: npt.NDArray[np.float32],
    *,
    height: int,
    width: int,
) -> Tracks:
    """Follow every object by a point of its texture, so that being cut off at the border does not look like motion.

    The point is the median, over frames where the whole object is on the canvas, of the texture point under the
    box's centre. Objects that move inside their texture are followed by the centre of their box instead.

    Args:
        boxes_BKT4: xyxy in canvas pixels, NaN where absent.
        poses_BKT6: (a, b, c, d, e, f), texture point to canvas point.
        opacity_BKT: 0 to 1.
        height, width: size of the canvas in pixels.
    """
    boxes, poses = boxes_BKT4.astype(np.float64), poses_BKT6.astype(np.float64)
    is_visible: Bools = np.all(np.isfinite(boxes), axis=-1)
    is_whole: Bools = is_visible & (boxes[..., :2] > 0).all(-1) & (boxes[..., 2] < width) & (boxes[..., 3] < height)
    determinant = poses[..., 0] * poses[..., 4] - poses[..., 1] * poses[..., 3]
    has_pose = np.isfinite(poses).all(-1) & (np.abs(np.nan_to_num(determinant)) > 1e-12)
    is_drawn: Bools = is_visible | (has_pose & (np.nan_to_num(opacity_BKT) > 0))
    side = np.sqrt((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]))
    is_posed = has_pose & is_visible
    path = _carried_points(boxes, poses, side, is_posed, is_whole)
    return Tracks(
        path_BKT2=path,
        side_BKT=np.where(is_whole, side, np.nan),
        angle_BKT=np.where(is_posed, _angle_deg(poses), np.nan),
        scale_BKT=np.where(is_posed, np.sqrt(np.abs(determinant)), np.nan),
        is_visible_BKT=is_visible,
        is_drawn_BKT=is_drawn,
        is_whole_BKT=is_whole,
        is_present_BK=np.any(is_drawn, axis=-1),
    )


def _carried_points(boxes: Floats, poses: Floats, side: Floats, is_posed: Bools, is_whole: Bools) -> Floats:
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    texture = _to_texture(centre, poses, is_posed)
    has_whole: Bools = np.any(is_whole & is_posed, axis=-1)
    trusted = np.where(has_whole[..., None], is_whole & is_posed, is_posed)
    anchor = _median(np.where(trusted[..., None], texture, np.nan))
    path = np.where(is_posed[..., None], _to_canvas(anchor[:, :, None, :], poses), np.nan)
    gap = np.linalg.norm(path - centre, axis=-1) / np.maximum(side, 1.0)
    worst = np.max(np.where(trusted, gap, 0.0), axis=-1, initial=0.0)
    is_rigid = is_posed.any(-1) & (worst <= RIGID_TOLERANCE)
    return np.where(is_rigid[:, :, None, None], path, centre)


def _to_texture(points: Floats, poses: Floats, is_posed: Bools) -> Floats:
    """Return the texture points that poses take to canvas points, NaN without a pose."""
    a, b, c, d, e, f = np.moveaxis(np.where(is_posed[..., None], poses, np.nan), -1, 0)
    x, y = points[..., 0] - c, points[..., 1] - f
    determinant = a * e - b * d
    return np.stack([(e * x - b * y) / determinant, (a * y - d * x) / determinant], axis=-1)


def _to_canvas(points: Floats, poses: Floats) -> Floats:
    a, b, c, d, e, f = np.moveaxis(poses, -1, 0)
    x, y = points[..., 0], points[..., 1]
    return np.stack([a * x + b * y + c, d * x + e * y + f], axis=-1)


def _angle_deg(poses: Floats) -> Floats:
    """Return the rotation nearest to the pose's linear part; of a mirrored one, after mirroring it back."""
    a, b, _, d, e, _ = np.moveaxis(poses, -1, 0)
    is_mirrored = a * e - b * d < 0
    turned: Floats = np.where(is_mirrored, np.arctan2(d + b, a - e), np.arctan2(d - b, a + e))
    degrees: Floats = np.degrees(turned)
    return degrees


def _median(values_BKT2: Floats) -> Floats:
    """Return the median over frames, NaN where there is no value."""
    values = np.sort(values_BKT2, axis=2)
    count = np.isfinite(values).sum(2, keepdims=True)
    last = np.maximum(count - 1, 0)
    low = np.take_along_axis(values, last // 2, axis=2)
    high = np.take_along_axis(values, last - last // 2, axis=2)
    median: Floats = ((low + high) / 2)[:, :, 0]
    return median
