"""Where each layer of a rendered scene has drawn, and how much of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smile_synth.render.kernel import BLOCK, bounded_rows
from smile_synth.scene import Scene

Counts = npt.NDArray[np.int64]
_MEMORY = threading.local()
# A thread keeps no more than this for its next scene; what is larger is returned to the system.
MAX_KEPT_PIXELS = 64 * 2**20


@dataclass(frozen=True, eq=False)
class Coverage:
    """The alpha that every layer alone drew, as runs of columns: far smaller than whole frames.

    Args:
        starts_KT2: int64 (K, T, 2); first run and number of runs of layer k in frame t; runs go down the rows.
        runs_R4: int64 (R, 4); row, first column, last column + 1, and first pixel. Columns come in whole blocks, and
            may pass the canvas's right border; there, and where nothing was drawn, alpha is 0.
        alpha_N: uint8 (N,); alpha of the runs' pixels, opacity included.
        kept_2: int64 (2,); how many runs and pixels are in use.
        keeps: False where coverage is not wanted.
    """

    starts_KT2: Counts
    runs_R4: Counts
    alpha_N: npt.NDArray[np.uint8]
    kept_2: Counts
    keeps: bool = True

    @classmethod
    def none(cls, scene: Scene) -> Coverage:
        """Return a coverage that keeps nothing."""
        return cls(_starts(scene), np.empty((0, 4), np.int64), np.empty(1, np.uint8), np.zeros(2, np.int64), False)

    @classmethod
    def room_for(cls, scene: Scene) -> Coverage:
        """Return an empty coverage with room for all that a scene can draw."""
        num_runs, num_pixels = _room(scene)
        return cls(
            _starts(scene), np.empty((num_runs, 4), np.int64), np.empty(num_pixels, np.uint8), np.zeros(2, np.int64)
        )

    @classmethod
    def borrowed(cls, scene: Scene) -> Coverage:
        """Return the same in memory of this thread, which the thread's next scene overwrites.

        Fresh memory for every clip would cost as much time as motion itself.
        """
        num_runs, num_pixels = _room(scene)
        if num_pixels > MAX_KEPT_PIXELS:
            return cls.room_for(scene)
        runs_R4, alpha_N = getattr(_MEMORY, "buffers", (np.empty((0, 4), np.int64), np.empty(0, np.uint8)))
        if len(runs_R4) < num_runs or len(alpha_N) < num_pixels:
            runs_R4, alpha_N = np.empty((num_runs, 4), np.int64), np.empty(num_pixels, np.uint8)
            _MEMORY.buffers = runs_R4, alpha_N
        return cls(_starts(scene), runs_R4, alpha_N, np.zeros(2, np.int64))

    def alpha_HW(self, layer: int, frame: int, height: int, width: int) -> npt.NDArray[np.uint8]:
        """Return what one layer drew in one frame, uint8 (H, W)."""
        alpha_HW = np.zeros((height, width), np.uint8)
        run, count = self.starts_KT2[layer, frame].tolist()
        for row, first, last, pixel in self.runs_R4[run : run + count].tolist():
            alpha_HW[row, first:last] = self.alpha_N[pixel : pixel + min(last, width) - first]
        return alpha_HW


def _starts(scene: Scene) -> Counts:
    return np.zeros((len(scene.layers), scene.canvas.num_frames, 2), np.int64)


def _room(scene: Scene) -> tuple[int, int]:
    """Return how many runs and pixels a scene can draw at most."""
    canvas, rows = scene.canvas, 0
    for layer in scene.layers:
        height, width = layer.texture.shape[-3:-1]
        rows += bounded_rows(np.ascontiguousarray(layer.pose_T6), height, width, canvas.height)
    return rows, rows * -(-canvas.width // BLOCK) * BLOCK + 1
