"""Points of surfaces: what an animated picture shows at a place, and where that goes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smile_synth.scene import Scene

Doubles = npt.NDArray[np.float64]
BACKGROUND = -1


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """Points of a surface.

    Args:
        parts_N: uint8 (N,); which part each belongs to.
        points_N3: float64 (N, 3); in the coordinates of their parts, NaN where nothing can be followed.
        projections_NT34: float64 (N, T, 3, 4); where each goes.
    """

    parts_N: npt.NDArray[np.uint8]
    points_N3: Doubles
    projections_NT34: Doubles

    def places_NT2(self, frames: list[int] | None = None) -> Doubles:
        """Return canvas points, in all frames or in some."""
        chosen = self.projections_NT34 if frames is None else self.projections_NT34[:, frames]
        homogeneous_N4 = np.concatenate([self.points_N3, np.ones((len(self.points_N3), 1))], axis=1)
        uvw_NT3 = np.einsum("ntij,nj->nti", chosen, homogeneous_N4)
        with np.errstate(divide="ignore", invalid="ignore"):
            places_NT2 = uvw_NT3[..., :2] / uvw_NT3[..., 2:]
        return np.asarray(np.where(np.isfinite(places_NT2), places_NT2, np.nan), np.float64)


def surface_points(scene: Scene, layer: int, frame: int, points_N2: Doubles) -> SurfacePoints | None:
    """Return what a layer, or the background, shows at canvas points in one frame; None without a surface.

    A canvas point takes what the middle of its texel shows; beyond the texture's border, that of the nearest texel.
    """
    is_background = layer == BACKGROUND
    surface = scene.background_surface if is_background else scene.layers[layer].surface
    if surface is None:
        return None
    pose_33 = np.eye(3)
    if not is_background:
        pose_33[:2] = scene.layers[layer].pose_T6[frame].reshape(2, 3)
    homogeneous_N3 = np.concatenate([points_N2, np.ones((len(points_N2), 1))], axis=1)
    texels_N2 = np.floor(homogeneous_N3 @ np.linalg.inv(pose_33)[:2].T)
    _, height, width = surface.parts_THW.shape
    columns, rows = np.clip(texels_N2, 0, (width - 1, height - 1)).astype(np.int64).T
    source = min(frame, len(surface.parts_THW) - 1)
    parts_N = surface.parts_THW[source, rows, columns]
    return SurfacePoints(
        parts_N,
        surface.points_THW3[source, rows, columns].astype(np.float64),
        surface.projections_PT34.astype(np.float64)[parts_N],
    )
