"""Memory of batches, used again once nobody holds it: touching fresh pages costs a third of reading a clip."""

from __future__ import annotations

import weakref
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from smile_synth.errors import LoaderError
from smile_synth.loader.memory import BatchShape
from smile_synth.loader.pool import RenderPool

NOT_SHARED = -1


@dataclass(frozen=True, eq=False)
class BatchMemory:
    """Tensors of one batch, with anything in them but the boxes, which are NaN where nobody else writes them.

    Args:
        frames_BTHWC, boxes_BKT4, motion_BTHW2: as in ``Batch``.
        number: of the memory in the pool; ``NOT_SHARED`` for memory of this process.
    """

    frames_BTHWC: torch.Tensor
    boxes_BKT4: torch.Tensor
    motion_BTHW2: torch.Tensor | None
    number: int = NOT_SHARED


class Buffers(Protocol):
    """Where the memory of batches comes from."""

    def take(self) -> BatchMemory:
        """Return memory for one batch."""


class OwnBuffers:
    """Memory of this process.

    Args:
        shape: of a batch.
        pin: whether the memory is page-locked.
    """

    def __init__(self, shape: BatchShape, *, pin: bool) -> None:
        self._shape, self._pin = shape, pin
        self._free: deque[npt.NDArray[np.uint8]] = deque()

    def take(self) -> BatchMemory:
        """Return memory for one batch."""
        boxes = torch.full(self._shape.boxes, float("nan"), dtype=torch.float32, pin_memory=self._pin)
        motion = None
        if self._shape.motion is not None:
            motion = torch.empty(self._shape.motion, dtype=torch.float32, pin_memory=self._pin)
        return BatchMemory(self._frames(), boxes, motion)

    def _frames(self) -> torch.Tensor:
        if self._pin:
            # PyTorch's own pool knows of copies to the GPU that still run, and waits for them.
            return torch.empty(self._shape.frames, dtype=torch.uint8, pin_memory=True)
        try:
            memory = self._free.popleft()
        except IndexError:
            memory = np.empty(self._shape.frames, np.uint8)
        view = memory[:]
        # The tensor and all its views hold `view`; when the last one goes, the memory is free again.
        weakref.finalize(view, self._free.append, memory).atexit = False
        return torch.from_numpy(view)


class SharedBuffers:
    """Memory that the processes of a pool write into.

    Args:
        shape: of a batch.
        pool: the processes.
        pin: whether the memory is page-locked.
    """

    def __init__(self, shape: BatchShape, pool: RenderPool, *, pin: bool) -> None:
        self._shape, self._pool, self._pin = shape, pool, pin
        self._free: deque[_Shared] = deque()

    def take(self) -> BatchMemory:
        """Return memory for one batch."""
        memory = self._free.popleft() if self._free else _Shared(*self._pool.share(), pin=self._pin)
        memory.wait_for_copies()
        views = [array[:] for array in self._shape.arrays(memory.bytes)]
        memory.num_held = len(views)
        for view in views:
            # The tensor and all its views hold `view`; when the last ones of all go, the memory is free again.
            weakref.finalize(view, self._release, memory).atexit = False
        frames, boxes, *motion = (torch.from_numpy(view) for view in views)
        boxes.fill_(float("nan"))
        return BatchMemory(frames, boxes, motion[0] if motion else None, memory.number)

    def _release(self, memory: _Shared) -> None:
        memory.num_held -= 1
        if not memory.num_held:
            memory.note_copies()
            self._free.append(memory)


class _Shared:
    """One batch's shared memory; page-locked as long as it lasts, if asked for."""

    def __init__(self, number: int, memory: Any, *, pin: bool) -> None:
        self.number, self.num_held = number, 0
        self.bytes: npt.NDArray[np.uint8] = memory.bytes
        self._pin = pin
        self._copied: torch.cuda.Event | None = None
        if pin:
            _lock_pages(self.bytes)

    def note_copies(self) -> None:
        """Remember the copies to the GPU that were begun so far; they may still run when nobody holds the tensors."""
        if self._pin:
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copied.record()

    def wait_for_copies(self) -> None:
        """Wait until they are done."""
        if self._copied is not None:
            self._copied.synchronize()

    def __del__(self) -> None:
        if self._pin:
            self.wait_for_copies()
            _cuda().cudaHostUnregister(self.bytes.ctypes.data)


def _lock_pages(memory: npt.NDArray[np.uint8]) -> None:
    code = _cuda().cudaHostRegister(memory.ctypes.data, memory.nbytes, 0)
    if int(code):
        raise LoaderError(
            f"{memory.nbytes / 1e9:.2g} GB of memory for a batch cannot be page-locked (CUDA error {int(code)}); make "
            f"batches smaller, or lower pretrain.loading.prefetch_batches"
        )


def _cuda() -> Any:
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]
