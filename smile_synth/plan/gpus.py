"""GPUs by name: what their makers state."""

from __future__ import annotations

from dataclasses import dataclass

from smile_synth.errors import ClusterError, nearest
from smile_synth.training.cost import PEAK_FLOPS


@dataclass(frozen=True)
class Gpu:
    """A kind of GPU.

    Args:
        name: as on the command line.
        memory_gib: its memory.
        peak_flops: dense bfloat16 peak, in FLOP/s.
    """

    name: str
    memory_gib: int
    peak_flops: float


_MEMORY_GIB = {
    "H200": 141,
    "H100 PCIe": 80,
    "H100 NVL": 94,
    "H100": 80,
    "B200": 180,
    "A100": 80,
    "L40S": 48,
    "A10G": 24,
    "V100": 32,
    "RTX 4090": 24,
}
GPUS = {
    name.lower().replace(" ", "-"): Gpu(name.lower().replace(" ", "-"), _MEMORY_GIB[name], peak)
    for name, peak in PEAK_FLOPS
}


def find_gpu(name: str) -> Gpu:
    """Return the kind of GPU called ``name``, such as ``h100``.

    Raises:
        ClusterError: it is not known.
    """
    gpu = GPUS.get(name.lower())
    if gpu is None:
        raise ClusterError(f"--gpu is one of {', '.join(GPUS)}, got {name!r}.{nearest(name.lower(), GPUS)}")
    return gpu
