"""Files damaged at random, the same for the same seed: flipped bits, lost ends, swapped and repeated pieces."""

from __future__ import annotations

import numpy as np

from smile_synth.randomness import stream


def mutated(data: bytes, name: str, trial: int) -> bytes:
    """Return ``data`` with one to three faults; ``name`` and ``trial`` decide which."""
    rng = stream(0, f"mutations/{name}", trial)
    damaged = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        kinds = (_flip, _flip_early, _truncate, _swap, _overwrite, _repeat)
        damaged = kinds[int(rng.integers(len(kinds)))](damaged, rng)
    return bytes(damaged)


def _flip(data: bytearray, rng: np.random.Generator) -> bytearray:
    for place in rng.integers(0, max(1, len(data)), int(rng.integers(1, 20))):
        if place < len(data):
            data[place] ^= 1 << int(rng.integers(8))
    return data


def _flip_early(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Flip bits of the header, where sizes and formats stand."""
    head = _flip(data[:256], rng)
    return head + data[256:]


def _truncate(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[: int(rng.integers(len(data) + 1))]


def _swap(data: bytearray, rng: np.random.Generator) -> bytearray:
    a, b, c = sorted(int(place) for place in rng.integers(0, len(data) + 1, 3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def _overwrite(data: bytearray, rng: np.random.Generator) -> bytearray:
    start = int(rng.integers(len(data) + 1))
    length = min(int(rng.integers(1, 64)), len(data) - start)
    filling = rng.bytes(length) if rng.random() < 0.5 else bytes([0 if rng.random() < 0.5 else 255]) * length
    data[start : start + length] = filling
    return data


def _repeat(data: bytearray, rng: np.random.Generator) -> bytearray:
    start, end = sorted(int(place) for place in rng.integers(0, len(data) + 1, 2))
    return data[:end] + data[start:end] + data[end:]
