"""How objects move: speed, direction, turning, growth, from their tracks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smile_synth.report.measure.content import Count, Counts, Curve
from smile_synth.report.measure.tracks import Tracks
from smile_synth.report.measure.values import QuantitySpec

Floats = npt.NDArray[np.float64]

DIRECTIONS = ("right", "down-right", "down", "down-left", "left", "up-left", "up", "up-right")
ROSE_BINS = 24
# Below this an object has no direction worth naming.
MIN_DISPLACEMENT_PX = 1.0

MOTION_SPECS = (
    QuantitySpec(
        "speed",
        "Speed",
        "px/frame",
        "object and pair of frames",
        "How far an object moves from one frame to the next, while it can be seen.",
    ),
    QuantitySpec(
        "displacement",
        "Net displacement",
        "px",
        "object",
        "Straight distance between where an object is first and last seen.",
    ),
    QuantitySpec(
        "acceleration",
        "Acceleration",
        "px/frame²",
        "object and three frames",
        "Length of the change of an object's velocity from one pair of frames to the next.",
    ),
    QuantitySpec(
        "rotation",
        "Rotation",
        "deg",
        "object",
        "Angle an object turns through while it is seen; positive is clockwise on the screen.",
    ),
    QuantitySpec(
        "size_change",
        "Size change",
        "ratio",
        "object",
        "Size of an object when last seen over its size when first seen; 1 is no change.",
    ),
    QuantitySpec(
        "size",
        "Object size",
        "px",
        "object and frame",
        "Square root of the area of an object's box, in frames that show the whole object.",
    ),
    QuantitySpec(
        "curvature",
        "Path curvature",
        "deg/px",
        "object",
        "Angle a path turns through, left and right alike, over its length; a straight path has 0.",
    ),
    QuantitySpec(
        "time_visible",
        "Time visible",
        "share of frames",
        "object",
        "Share of the clip's frames in which something of an object lies on the canvas.",
    ),
)


@dataclass(frozen=True, eq=False)
class MotionSample:
    """What is measured on some clips; NaN where a quantity is not defined.

    Args:
        values: by the names of ``MOTION_SPECS``; absent slots are left out.
        heading_deg_BK: direction of the net displacement, [0, 360), 0 right and 90 down; NaN where there is none.
        fastest_B, slowest_B: highest and lowest mean speed of an object of the clip, px/frame; NaN without objects.
        smallest_B: smallest size of a whole object in the clip, px; NaN without.
    """

    values: dict[str, Floats]
    heading_deg_BK: Floats
    fastest_B: Floats
    slowest_B: Floats
    smallest_B: Floats


def measure_motion(tracks: Tracks) -> MotionSample:
    """Measure the motion of every object.

    Args:
        tracks: from ``find_tracks``.
    """
    path, is_present = tracks.path_BKT2, tracks.is_present_BK
    velocity_BKS2 = np.diff(path, axis=2)
    speed_BKS = np.linalg.norm(velocity_BKS2, axis=-1)
    net_BK2 = _last(path) - _first(path)
    per_object = {
        "displacement": np.linalg.norm(net_BK2, axis=-1),
        "rotation": _total_rotation(tracks.angle_BKT),
        "size_change": _last(tracks.scale_BKT[..., None])[..., 0] / _first(tracks.scale_BKT[..., None])[..., 0],
        "curvature": _curvature(velocity_BKS2),
        "time_visible": tracks.is_visible_BKT.mean(-1) if path.shape[2] else np.zeros(is_present.shape),
    }
    per_time = {
        "speed": speed_BKS,
        "acceleration": np.linalg.norm(np.diff(velocity_BKS2, axis=2), axis=-1),
        "size": tracks.side_BKT,
    }
    values = {name: value[is_present] for name, value in {**per_object, **per_time}.items()}
    mean_speed_BK = _mean(speed_BKS)
    return MotionSample(
        values=values,
        heading_deg_BK=_heading(net_BK2),
        fastest_B=_extreme(mean_speed_BK, np.fmax),
        slowest_B=_extreme(mean_speed_BK, np.fmin),
        smallest_B=_extreme(tracks.side_BKT.reshape(len(path), -1), np.fmin),
    )


def count_directions(heading_deg: Floats, is_present: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return how many objects go in each of ``ROSE_BINS`` directions; the first bin is centred on right.

    Args:
        heading_deg: degrees, NaN where an object has no direction.
        is_present: same shape; others are left out.
    """
    heading = heading_deg[is_present]
    heading = heading[np.isfinite(heading)]
    step = 360 / ROSE_BINS
    return np.bincount(np.floor((heading + step / 2) % 360 / step).astype(np.int64) % ROSE_BINS, minlength=ROSE_BINS)


def direction_counts(rose: npt.NDArray[np.int64], undefined: int) -> Counts:
    """Return the eight compass directions from a rose's counts.

    Args:
        rose: int (``ROSE_BINS``,), as ``count_directions`` returns.
        undefined: objects that have no direction.
    """
    per_direction = ROSE_BINS // len(DIRECTIONS)
    eighths = np.roll(rose, per_direction // 2).reshape(len(DIRECTIONS), per_direction).sum(1)
    return Counts(
        name="direction",
        title="Direction",
        of="objects",
        meaning=f"Where objects go on the screen, by net displacement; below {MIN_DISPLACEMENT_PX:g} px there is none.",
        counts=[Count(name=name, count=int(n)) for name, n in zip(DIRECTIONS, eighths, strict=True)],
        undefined=undefined,
    )


def rose_curve(rose: npt.NDArray[np.int64]) -> Curve:
    """Return the share of objects that go in each direction.

    Args:
        rose: int (``ROSE_BINS``,), as ``count_directions`` returns.
    """
    return Curve(
        title="Direction of motion",
        x_title="heading (deg clockwise from right)",
        y_title="objects (%)",
        meaning=f"Share of moving objects by heading of their net displacement, in {ROSE_BINS} equal steps.",
        x=[i * 360 / ROSE_BINS for i in range(ROSE_BINS)],
        y=(100 * rose / max(int(rose.sum()), 1)).tolist(),
    )


def _first(values_BKTC: Floats) -> Floats:
    """Return the first defined value of every track, NaN without."""
    is_known = np.isfinite(values_BKTC).all(-1)
    if not is_known.shape[2]:
        return np.full((*values_BKTC.shape[:2], values_BKTC.shape[3]), np.nan)
    index = is_known.argmax(2)[:, :, None, None]
    return np.take_along_axis(values_BKTC, index, axis=2)[:, :, 0]


def _last(values_BKTC: Floats) -> Floats:
    return _first(values_BKTC[:, :, ::-1])


def _heading(net_BK2: Floats) -> Floats:
    heading = np.degrees(np.arctan2(net_BK2[..., 1], net_BK2[..., 0])) % 360
    return np.where(np.linalg.norm(net_BK2, axis=-1) >= MIN_DISPLACEMENT_PX, heading, np.nan)


def _total_rotation(angle_BKT: Floats) -> Floats:
    """Return the signed sum of turns from frame to frame, each taken the short way round."""
    turn = (np.diff(angle_BKT, axis=2) + 180) % 360 - 180
    return np.where(np.isfinite(turn).any(2), np.nansum(turn, axis=2), np.nan)


def _curvature(velocity_BKS2: Floats) -> Floats:
    """Return total turning over length, counting only turns between steps long enough to have a direction."""
    speed = np.linalg.norm(velocity_BKS2, axis=-1)
    before, after = velocity_BKS2[:, :, :-1], velocity_BKS2[:, :, 1:]
    cross = before[..., 0] * after[..., 1] - before[..., 1] * after[..., 0]
    turn = np.degrees(np.abs(np.arctan2(cross, (before * after).sum(-1))))
    counts = np.isfinite(turn) & (np.fmin(speed[:, :, :-1], speed[:, :, 1:]) > 0.1)
    length = np.nansum(speed, axis=2)
    is_moving = counts.any(2) & (length >= MIN_DISPLACEMENT_PX)
    return np.where(is_moving, np.where(counts, turn, 0).sum(2) / np.maximum(length, MIN_DISPLACEMENT_PX), np.nan)


def _mean(values_BKS: Floats) -> Floats:
    count = np.isfinite(values_BKS).sum(2)
    return np.where(count > 0, np.nansum(values_BKS, axis=2) / np.maximum(count, 1), np.nan)


def _extreme(values_BK: Floats, ufunc: np.ufunc) -> Floats:
    """Return the largest (fmax) or smallest (fmin) value of each row, NaN for a row without values."""
    return np.asarray(ufunc.reduce(values_BK, axis=1, initial=np.nan))
