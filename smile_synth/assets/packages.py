"""Where installed packages lie."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

from smile_synth.errors import AssetError


@lru_cache
def package_folder(package: str) -> Path:
    """Return the folder of an installed package, without importing it.

    Raises:
        AssetError: the package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise AssetError(f"the package {package!r} is not installed, and built-in images come with it; install it")
    return Path(spec.origin).parent
