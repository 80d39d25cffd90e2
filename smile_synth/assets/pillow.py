"""Pillow without its own words: what it finds wrong with a file, our errors say, by name and on one line."""

from __future__ import annotations

import ctypes
import logging
import threading
import warnings
from typing import Any

from PIL import _imaging

_lock = threading.Lock()
_inside = 0
_filters: Any = None

# Without a handler of its own, what Pillow logs about a damaged file goes to the terminal.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def _quiet_libtiff() -> None:
    """Keep libtiff, which Pillow brings along, from writing to the terminal; Pillow raises what matters."""
    library = ctypes.CDLL(_imaging.__file__)
    for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        # A Pillow that hides libtiff's names, or has none, is left as it is.
        if hasattr(library, name):
            getattr(library, name)(None)


_quiet_libtiff()


class QuietPillow:
    """Keep Pillow's warnings away while any thread is inside.

    ``warnings.catch_warnings`` alone would leave the wrong filters behind where two threads overlap.
    """

    def __enter__(self) -> None:
        global _inside, _filters
        with _lock:
            _inside += 1
            if _inside == 1:
                _filters = warnings.catch_warnings()
                _filters.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")

    def __exit__(self, *raised: object) -> None:
        global _inside
        with _lock:
            _inside -= 1
            if _inside == 0:
                _filters.__exit__(None, None, None)
