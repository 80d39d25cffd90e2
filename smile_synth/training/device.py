"""The device a training runs on: which one, its precision, and how it keeps memory."""

from __future__ import annotations

import ctypes
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from smile_synth.errors import TrainingError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# What PyTorch's allocator for the CPU says, in versions for Linux and Windows.
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory")
LARGEST_KEPT_BYTES = 1 << 30
Precision = Literal["auto", "bfloat16", "float32"]


def pick_precision(asked: Precision, device: torch.device) -> torch.dtype:
    """Return the type asked for; ``auto`` is bfloat16 where the device computes in it, float32 elsewhere."""
    if asked == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    return torch.bfloat16 if asked == "bfloat16" else torch.float32


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether a device has instructions for bfloat16; emulated ones would be slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def pick_device(device: str, local_rank: int = 0) -> torch.device:
    """Return the device to compute on.

    Args:
        device: ``cpu``, ``cuda`` or ``auto``.
        local_rank: number of the CUDA device.

    Raises:
        TrainingError: the name is unknown, or the device is not there.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise TrainingError(f"device must be auto, cpu or cuda, got {device!r}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an old driver; what follows from it is said below
        count = torch.cuda.device_count() if device != "cpu" and torch.cuda.is_available() else 0
    if device == "cuda" and count == 0:
        raise TrainingError("device cuda was asked for, but PyTorch sees no CUDA device; use --device cpu")
    if count == 0:
        return torch.device("cpu")
    if local_rank >= count:
        raise TrainingError(f"local rank {local_rank} has no CUDA device, this host has {count}; start fewer processes")
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


@contextmanager
def naming_memory(device: torch.device) -> Iterator[None]:
    """Say in one line that memory ran out, which PyTorch says in a page.

    Raises:
        TrainingError: the device's memory, or this host's, ran out in the block.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        raise TrainingError(
            f"the memory of {device} ran out while training; take fewer clips at a time "
            f"(pretrain.runtime.micro_batch), or set pretrain.student.activation_checkpointing"
        ) from None


@contextmanager
def using_threads(count: int | None) -> Iterator[None]:
    """Compute with this many threads; None leaves torch's choice."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> bool:
    """Let glibc keep freed tensors for the next ones; fresh pages cost a fifth of an update's CPU time.

    Returns:
        Whether the C library took the advice; others than glibc are left alone.
    """
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    kept = library.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
    return bool(kept and library.mallopt(M_TRIM_THRESHOLD, 2 * LARGEST_KEPT_BYTES - 1))
