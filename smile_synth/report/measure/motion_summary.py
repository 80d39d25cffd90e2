"""The motion of a whole sample, gathered batch by batch."""

from __future__ import annotations

import numpy as np

from smile_synth.report.measure.content import ObjectMotion
from smile_synth.report.measure.layout_statistics import (
    GRID_SIDE,
    LAYOUT_SPECS,
    LayoutSample,
    heat_grid,
    measure_layout,
)
from smile_synth.report.measure.motion_statistics import (
    MOTION_SPECS,
    ROSE_BINS,
    MotionSample,
    count_directions,
    direction_counts,
    measure_motion,
    rose_curve,
)
from smile_synth.report.measure.sample import ClipBatch
from smile_synth.report.measure.tracks import Tracks
from smile_synth.report.measure.values import Values

CAMERA_TOLERANCE = 1e-6


class MotionSummary:
    """Gathers how objects move, and where.

    Args:
        height, width: size of the canvas in pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        self._height, self._width = height, width
        self._values = {spec.name: Values(spec) for spec in (*MOTION_SPECS, *LAYOUT_SPECS)}
        self._rose = np.zeros(ROSE_BINS, np.int64)
        self._heat = np.zeros((GRID_SIDE, GRID_SIDE))
        self._frames = self._without_direction = self._moving_cameras = 0
        self._drawn = self._visible = self._whole = 0

    def add(self, batch: ClipBatch, tracks: Tracks) -> tuple[MotionSample, LayoutSample]:
        """Take in some clips with the tracks of their objects, and return what was measured on them."""
        motion = measure_motion(tracks)
        layout = measure_layout(batch.boxes_BKT4, height=self._height, width=self._width)
        clip_of_object = batch.clips_B[np.nonzero(tracks.is_present_BK)[0]]
        for name, values in motion.values.items():
            self._values[name].add(values, clip_of_object)
        for name, values in layout.values.items():
            self._values[name].add(values, batch.clips_B[layout.clip_of[name]])
        self._add_directions(motion, tracks)
        self._heat += layout.heat
        self._frames += layout.frames
        moves = np.abs(batch.camera_BT33 - np.eye(3, dtype=np.float32)) > CAMERA_TOLERANCE
        self._moving_cameras += int(moves.any((1, 2, 3)).sum())
        return motion, layout

    def _add_directions(self, motion: MotionSample, tracks: Tracks) -> None:
        rose = count_directions(motion.heading_deg_BK, tracks.is_present_BK)
        self._rose += rose
        self._without_direction += int(tracks.is_present_BK.sum() - rose.sum())
        self._drawn += int(tracks.is_drawn_BKT.sum())
        self._visible += int(tracks.is_visible_BKT.sum())
        self._whole += int(tracks.is_whole_BKT.sum())

    def summary(self) -> ObjectMotion:
        """Return what was gathered."""
        return ObjectMotion(
            quantities=[values.summary() for values in self._values.values()],
            direction=direction_counts(self._rose, self._without_direction),
            rose=rose_curve(self._rose),
            heat_map=heat_grid(self._heat, self._frames),
            moving_cameras=self._moving_cameras,
            off_canvas_share=1 - self._visible / max(self._drawn, 1) if self._drawn else 0.0,
            cut_off_share=1 - self._whole / max(self._visible, 1) if self._visible else 0.0,
        )
