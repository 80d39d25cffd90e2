"""Memory of batches that worker processes write into, and the arrays that lie in it."""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

PAGE_NBYTES = 4096


def batches_held(prefetch: int) -> int:
    """Return how many batches are in memory at once: those read ahead, one being filled, one in use."""
    return prefetch + 2


@dataclass(frozen=True)
class BatchShape:
    """The arrays of a batch of rendered clips.

    Args:
        frames: shape of the frames, (B, T, H, W, 3), uint8.
        boxes: shape of the boxes, (B, K, T, 4), float32.
        motion: shape of the motion, (B, T, H / cell, W / cell, 2), float32; None where it is not read.
    """

    frames: tuple[int, ...]
    boxes: tuple[int, ...]
    motion: tuple[int, ...] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, each at the start of a page."""
        return sum(_paged(nbytes) for _, _, nbytes in self._parts())

    def arrays(self, memory: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[Any], ...]:
        """Return frames, boxes and, if it is read, motion, that lie in ``memory`` of ``nbytes``."""
        found: list[npt.NDArray[Any]] = []
        start = 0
        for shape, dtype, nbytes in self._parts():
            found.append(memory[start : start + nbytes].view(dtype).reshape(shape))
            start += _paged(nbytes)
        return tuple(found)

    def _parts(self) -> list[tuple[tuple[int, ...], type, int]]:
        parts: list[tuple[tuple[int, ...], type]] = [(self.frames, np.uint8), (self.boxes, np.float32)]
        if self.motion is not None:
            parts.append((self.motion, np.float32))
        return [
            (shape, dtype, int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize) for shape, dtype in parts
        ]


def _paged(nbytes: int) -> int:
    return -(-nbytes // PAGE_NBYTES) * PAGE_NBYTES


class SharedMemory:
    """Memory without a name, that lasts as long as a process maps it: nothing of it is left after a kill.

    It takes none of the room of ``/dev/shm``, which containers keep small.

    Args:
        nbytes: how much.
        handle: of memory that another process made; None for new memory.
    """

    def __init__(self, nbytes: int, handle: int | None = None) -> None:
        self.handle = _anonymous_file(nbytes) if handle is None else handle
        self.bytes = np.frombuffer(mmap.mmap(self.handle, nbytes), np.uint8)

    def close_handle(self) -> None:
        """Close the file; the memory stays as long as an array lies in it."""
        os.close(self.handle)


def _anonymous_file(nbytes: int) -> int:
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("smile-synth-batch")
    else:
        with tempfile.TemporaryFile() as file:
            handle = os.dup(file.fileno())
    os.ftruncate(handle, nbytes)
    return handle
