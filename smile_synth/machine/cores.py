"""How many processor cores there are for us."""

from __future__ import annotations

import os


def num_cores() -> int:
    """Return how many cores this process may use, which a batch system or a container may have cut down."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
