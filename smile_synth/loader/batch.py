"""One batch of clips, and features of clips that go into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy.typing as npt
import torch


@dataclass(frozen=True, eq=False)
class Batch:
    """One rank's part of a global batch.

    Args:
        frames_BTHWC: uint8, in pinned memory if asked for.
        boxes_BKT4: float32, xyxy in canvas pixels, NaN = absent.
        clips_B: int64, clip numbers inside their stores.
        store_B: int64, places of the stores in the loader's list.
        first: place of the first clip in the global batch.
        epoch: number of the epoch, from 0.
        step: place of the batch in its epoch.
        motion_BTHW2: float32 (B, T, H / cell, W / cell, 2), mean displacement to the next frame in pixels, NaN where
            undefined; None unless the loader reads motion.
        features_BND: float16 or float32 (B, N, D), cached features of a teacher; None unless the loader reads them.
        position: where to resume once this batch is trained on, for ``Loader.load_position`` of any number of ranks.

    Examples:
        >>> with ss.Loader([ss.open_store("clips.zarr")], batch_size=4, seed=0) as loader:
        ...     batch = next(iter(loader))
        >>> batch.frames_BTHWC.dtype, batch.boxes_BKT4.shape, batch.epoch, batch.step
        (torch.uint8, torch.Size([4, 2, 8, 4]), 0, 0)
    """

    frames_BTHWC: torch.Tensor
    boxes_BKT4: torch.Tensor
    clips_B: torch.Tensor
    store_B: torch.Tensor
    first: int
    epoch: int
    step: int
    position: dict[str, Any]
    motion_BTHW2: torch.Tensor | None = None
    features_BND: torch.Tensor | None = None


class ClipFeatures(Protocol):
    """Features of every clip of a store, read from any thread."""

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D) of one clip's features."""

    @property
    def dtype(self) -> Literal["float16", "float32"]:
        """Type that features are read as without loss."""

    def read_into(self, clip: int, out: npt.NDArray[Any]) -> None:
        """Read one clip's features into float16 or float32 (N, D)."""
