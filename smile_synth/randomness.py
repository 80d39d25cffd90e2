"""Random streams that depend on what they are for, never on who asks first."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """Return the counter-based Philox stream of (seed, purpose, counters).

    Args:
        seed: any integer >= 0.
        purpose: what the numbers are for; streams of different purposes are independent.
        counters: integers >= 0, such as an epoch or a clip.

    Returns:
        A generator that is the same on every host, whatever else was drawn before.
    """
    text = "/".join([str(seed), purpose, *map(str, counters)])
    key = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))


def clip_rng(seed: int, clip: int) -> np.random.Generator:
    """Return the stream from which clip ``clip`` of the dataset with ``seed`` is sampled."""
    return stream(seed, "clip", clip)
