"""A camera over a floor: places in the world to canvas points, and back to the floor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

# Nearer than this, in m, nothing is seen.
NEAREST = 0.2
Doubles = npt.NDArray[np.float64]
Cells = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Camera3D:
    """A pinhole camera that stands still over a floor; x to the right, y upwards, z away from it.

    Args:
        place_3: in the world, m.
        axes_33: rows are its right, its down and its forward direction.
        focal_px: pixels a metre, one metre away.
        middle_2: canvas point on its axis.
    """

    place_3: Doubles
    axes_33: Doubles
    focal_px: float
    middle_2: Doubles

    @cached_property
    def projection_34(self) -> Doubles:
        """World to homogeneous canvas points; the third number is the depth."""
        lens_33 = np.array([[self.focal_px, 0, self.middle_2[0]], [0, self.focal_px, self.middle_2[1]], [0, 0, 1]])
        return np.asarray(lens_33 @ np.column_stack([self.axes_33, -self.axes_33 @ self.place_3]), np.float64)

    @cached_property
    def rays_33(self) -> Doubles:
        """(column, row, 1) on the canvas to a ray in the world whose part along the axis is 1."""
        right, down, forward = self.axes_33 / np.array([[self.focal_px], [self.focal_px], [1]])
        return np.stack([right, down, forward - right * self.middle_2[0] - down * self.middle_2[1]], axis=1)

    def depths(self, place_N3: Doubles) -> Doubles:
        """Return how far places in the world, (..., 3), are from the camera along its axis, m."""
        return np.asarray((place_N3 - self.place_3) @ self.axes_33[2], np.float64)

    def project(self, place_N3: Doubles) -> Doubles:
        """Return homogeneous canvas points of places in the world, (..., 3) to (..., 3)."""
        return np.asarray(place_N3 @ self.projection_34[:, :3].T + self.projection_34[:, 3], np.float64)

    def floor_places(self, height: int, width: int) -> Doubles:
        """Return x and z of the floor that the middle of every pixel shows, (H, W, 2); infinite above the horizon."""
        columns, rows = np.arange(width) + 0.5, np.arange(height) + 0.5
        rays_33 = self.rays_33
        down_H = -(rays_33[1, 1] * rows + rays_33[1, 2])
        with np.errstate(divide="ignore", invalid="ignore"):
            length_H = np.where(down_H > 1e-6, self.place_3[1] / down_H, np.inf)
            x_HW = self.place_3[0] + length_H[:, None] * (rays_33[0, 0] * columns + rays_33[0, 2])
            z_H = self.place_3[2] + length_H * (rays_33[2, 1] * rows + rays_33[2, 2])
        x_HW[~np.isfinite(x_HW)] = np.inf
        return np.stack([x_HW, np.broadcast_to(z_H[:, None], x_HW.shape)], axis=-1)


def pixel_bounds(uvw_N3: Doubles, canvas_2: tuple[int, int]) -> tuple[Cells, Cells]:
    """Return the pixels around projected points, (..., N, 3) to (..., 2) each; none where one is behind the camera."""
    depth = uvw_N3[..., 2:]
    places = np.clip(uvw_N3[..., :2] / np.maximum(depth, NEAREST), -1e6, 1e6)
    low = np.clip(np.floor(places.min(axis=-2)) - 1, 0, canvas_2).astype(np.int64)
    high = np.clip(np.ceil(places.max(axis=-2)) + 1, 0, canvas_2).astype(np.int64)
    is_seen = (depth > NEAREST).all(axis=-2)
    return np.where(is_seen, low, canvas_2), np.where(is_seen, high, canvas_2)
