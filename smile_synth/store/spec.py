"""What one array of a store holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ArraySpec:
    """One array of a store; its first axis is the clip.

    Args:
        name: path inside the store, such as ``frames`` or ``labels/speed``.
        dtype: NumPy's name of the element type.
        item_shape: shape of one clip's part.
        axes: names of the axes after the first.
        fill_value: what a clip without a value holds.
        compressed: whether a clip's part is large; frames, motion and truth are, the rest is tiny.
        attributes: what the array says of itself.
        clips_per_chunk: clips that are encoded together; more than one only for the small arrays of a virtual store.
        is_rendered: whether it has no files, and is rendered when it is read.
    """

    name: str
    dtype: str
    item_shape: tuple[int, ...]
    axes: tuple[str, ...]
    fill_value: float = 0
    compressed: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)
    clips_per_chunk: int = 1
    is_rendered: bool = False

    @property
    def uses_zstd(self) -> bool:
        """Whether a chunk is a zstd frame."""
        return self.compressed or self.clips_per_chunk > 1

    @property
    def item_nbytes(self) -> int:
        """Bytes of one clip's part before compression."""
        return int(np.prod(self.item_shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize

    @property
    def chunk_nbytes(self) -> int:
        """Bytes of a chunk before compression."""
        return self.item_nbytes * self.clips_per_chunk
