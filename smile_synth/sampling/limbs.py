"""Limbs: textured capsules between joints, drawn into one animated texture, with the point that every pixel shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smile_synth.machine.compiled import entry_point
from smile_synth.scene import Layer, Surface

# Brightness at a limb's edge, of 1 in its middle: it looks round.
EDGE_LIGHT = 0.6
SHORTEST_PX = 1e-3
Doubles = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Limbs:
    """The limbs of one figure in every frame, in canvas pixels.

    A limb is flat: it stretches, moves and turns in the picture, and its texture with it. The texture runs from its
    first to its second round end, and from side to side.

    Args:
        first_TL2, second_TL2: float64; the ends.
        radius_L2: float64; half the thickness at both ends.
        depth_TL: float64; nearer limbs, which hide others, have greater numbers.
        textures_LHWC: uint8 (L, rows along the limb, columns across it, 3).
    """

    first_TL2: Doubles
    second_TL2: Doubles
    radius_L2: Doubles
    depth_TL: Doubles
    textures_LHWC: Pixels

    def layer(self, height: int, width: int, class_name: str) -> Layer:
        """Draw them into a layer as large as needed, which follows them over a canvas of this size."""
        num_frames = len(self.first_TL2)
        reach_L1 = self.radius_L2.max(axis=1)[:, None] + 1
        ends_TL22 = np.stack([self.first_TL2, self.second_TL2], axis=2)
        low_T2 = np.floor((ends_TL22.min(axis=2) - reach_L1).min(axis=1))
        high_T2 = np.ceil((ends_TL22.max(axis=2) + reach_L1).max(axis=1))
        # What lies outside the canvas is not drawn.
        low_T2, high_T2 = (np.clip(edge, 0, (width, height)).astype(np.int64) for edge in (low_T2, high_T2))
        columns, rows = np.maximum(high_T2 - low_T2, 1).max(axis=0).tolist()
        texture_THW4 = np.zeros((num_frames, rows, columns, 4), np.uint8)
        points_THW3 = np.full((num_frames, rows, columns, 3), np.nan, np.float32)
        parts_THW = np.zeros((num_frames, rows, columns), np.uint8)
        draw_limbs(
            texture_THW4, points_THW3, parts_THW, low_T2, np.ascontiguousarray(self.first_TL2),
            np.ascontiguousarray(self.second_TL2), np.ascontiguousarray(self.radius_L2),
            self._caps_L(), np.argsort(self.depth_TL, axis=1, kind="stable"), self.textures_LHWC,
        )  # fmt: skip
        pose_T6 = np.zeros((num_frames, 6), np.float32)
        pose_T6[:, 0] = pose_T6[:, 4] = 1
        pose_T6[:, [2, 5]] = low_T2
        surface = Surface(points_THW3, parts_THW, self._projections_LT34())
        return Layer(texture_THW4, pose_T6, np.ones(num_frames, np.float32), class_name=class_name, surface=surface)

    def _caps_L(self) -> Doubles:
        """Return the share of the texture on each round end, so that nothing is stretched where a limb is longest."""
        longest_L = np.linalg.norm(self.second_TL2 - self.first_TL2, axis=2).max(axis=0)
        reach_L = self.radius_L2.max(axis=1)
        return np.asarray(reach_L / (longest_L + 2 * reach_L), np.float64)

    def _projections_LT34(self) -> npt.NDArray[np.float32]:
        """Return how (share of the length, radii along, radii across, 1) goes to the canvas."""
        along_TL2 = self.second_TL2 - self.first_TL2
        length_TL1 = np.linalg.norm(along_TL2, axis=2, keepdims=True)
        unit_TL2 = np.where(length_TL1 > SHORTEST_PX, along_TL2 / np.maximum(length_TL1, SHORTEST_PX), [0.0, 1.0])
        radius_L1 = self.radius_L2.max(axis=1)[:, None]
        across_TL2 = np.stack([-unit_TL2[..., 1], unit_TL2[..., 0]], axis=2)
        projections_TL34 = np.zeros((*length_TL1.shape[:2], 3, 4), np.float32)
        projections_TL34[:, :, :2] = np.stack(
            [along_TL2, unit_TL2 * radius_L1, across_TL2 * radius_L1, self.first_TL2], axis=3
        )
        projections_TL34[:, :, 2, 3] = 1
        return np.ascontiguousarray(projections_TL34.transpose(1, 0, 2, 3))


@entry_point(
    "void(uint8[:,:,:,::1], float32[:,:,:,::1], uint8[:,:,::1], int64[:,::1], float64[:,:,::1], float64[:,:,::1],"
    "float64[:,::1], float64[::1], int64[:,::1], uint8[:,:,:,::1])"
)
def draw_limbs(
    texture_THW4: Pixels,
    points_THW3: npt.NDArray[np.float32],
    parts_THW: Pixels,
    corner_T2: npt.NDArray[np.int64],
    first_TL2: Doubles,
    second_TL2: Doubles,
    radius_L2: Doubles,
    cap_L: Doubles,
    order_TL: npt.NDArray[np.int64],
    textures_LHWC: Pixels,
) -> None:
    """Draw limbs over each other, the farthest first.

    Args:
        texture_THW4: uint8, all 0; written.
        points_THW3, parts_THW: as of ``Surface``, points all NaN; written.
        corner_T2: x and y of the texture's upper left corner on the canvas.
        first_TL2, second_TL2, radius_L2, textures_LHWC: see ``Limbs``.
        cap_L: share of the texture's rows on each of the round ends, up to 0.5.
        order_TL: limbs in the order in which they are drawn.
    """
    num_frames, height, width, _ = texture_THW4.shape
    num_rows, num_columns = textures_LHWC.shape[1], textures_LHWC.shape[2]
    for t in range(num_frames):
        for place in range(order_TL.shape[1]):
            limb = order_TL[t, place]
            ax, ay = first_TL2[t, limb, 0] - corner_T2[t, 0], first_TL2[t, limb, 1] - corner_T2[t, 1]
            bx, by = second_TL2[t, limb, 0] - corner_T2[t, 0], second_TL2[t, limb, 1] - corner_T2[t, 1]
            thick, thin = radius_L2[limb, 0], radius_L2[limb, 1]
            reach = max(thick, thin)
            # Rows of the texture at the first end, from end to end, and along a pixel of the round ends.
            first, between = cap_L[limb] * num_rows - 0.5, (1.0 - 2.0 * cap_L[limb]) * num_rows
            rows_per_px = cap_L[limb] * num_rows / reach
            length = np.sqrt((bx - ax) * (bx - ax) + (by - ay) * (by - ay))
            ex, ey = (bx - ax) / max(length, SHORTEST_PX), (by - ay) / max(length, SHORTEST_PX)
            if length <= SHORTEST_PX:
                ex, ey = 0.0, 1.0
            first_row, last_row = (
                int(max(0.0, min(ay, by) - reach - 1)),
                int(min(height - 1.0, max(ay, by) + reach + 1)),
            )
            left, right = int(max(0.0, min(ax, bx) - reach - 1)), int(min(width - 1.0, max(ax, bx) + reach + 1))
            for row in range(first_row, last_row + 1):
                for column in range(left, right + 1):
                    x, y = column + 0.5 - ax, row + 0.5 - ay
                    along, across = x * ex + y * ey, y * ex - x * ey
                    share = min(max(along / max(length, SHORTEST_PX), 0.0), 1.0)
                    over = along - share * length
                    radius = thick + (thin - thick) * share
                    cover = min(radius + 0.5 - np.sqrt(over * over + across * across), 1.0)
                    if cover <= 0.0:
                        continue
                    # A function of the point alone: the texture stretches with the limb.
                    u = min(max(first + share * between + over * rows_per_px, 0.0), num_rows - 1.001)
                    v = min(max((0.5 + 0.5 * across / reach) * num_columns - 0.5, 0.0), num_columns - 1.001)
                    i, j = int(u), int(v)
                    down, right_share = u - i, v - j
                    side = min(abs(across) / radius, 1.0)
                    light = EDGE_LIGHT + (1.0 - EDGE_LIGHT) * np.sqrt(1.0 - side * side)
                    under = texture_THW4[t, row, column, 3] / 255.0 * (1.0 - cover)
                    alpha = cover + under
                    for channel in range(3):
                        upper = (1.0 - right_share) * textures_LHWC[limb, i, j, channel] + right_share * np.float64(
                            textures_LHWC[limb, i, j + 1, channel]
                        )
                        lower = (1.0 - right_share) * textures_LHWC[limb, i + 1, j, channel] + right_share * np.float64(
                            textures_LHWC[limb, i + 1, j + 1, channel]
                        )
                        own = ((1.0 - down) * upper + down * lower) * light
                        mixed = (own * cover + texture_THW4[t, row, column, channel] * under) / alpha
                        texture_THW4[t, row, column, channel] = np.uint8(mixed + 0.5)
                    texture_THW4[t, row, column, 3] = np.uint8(255.0 * alpha + 0.5)
                    if cover >= 0.5 or points_THW3[t, row, column, 0] != points_THW3[t, row, column, 0]:
                        parts_THW[t, row, column] = limb
                        points_THW3[t, row, column, 0] = share
                        points_THW3[t, row, column, 1] = over / reach
                        points_THW3[t, row, column, 2] = across / reach
