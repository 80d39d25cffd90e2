"""Compiling a Python function to machine code, kept on disk where a place for it can be found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")

# Exact results everywhere: no fast floating-point, and a division by zero gives IEEE infinity, as in numpy.
_OPTIONS: dict[str, Any] = {"fastmath": False, "error_model": "numpy", "nogil": True}


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` as a part of those that call it; ``function.py_func`` stays the plain Python."""
    compiled: Callable[P, R] = numba.njit(**_OPTIONS)(function)
    return compiled


def entry_point(signature: str | Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile a function for one signature at import, or load it from the cache of an earlier process.

    The cache lies next to the source or, where that is read-only, in the user's cache folder; ``NUMBA_CACHE_DIR``
    names another place. Without any writable place every process compiles for itself.

    Args:
        signature: numba types of result and arguments; fixing them keeps a read-only array from costing a second
            compilation.
    """

    def compile_it(function: Callable[P, R]) -> Callable[P, R]:
        compiled: Callable[P, R]
        try:
            compiled = numba.njit(signature, cache=True, **_OPTIONS)(function)
        except (RuntimeError, OSError):
            # numba's words for "no folder to keep it in"; a fault of the function itself shows again just below.
            compiled = numba.njit(signature, **_OPTIONS)(function)
        return compiled

    return compile_it
