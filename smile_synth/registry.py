"""Finding generators by name."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from smile_synth.errors import GeneratorError, nearest
from smile_synth.generator import Generator

GROUP = "smile_synth.generators"


def find(name: str, folder: Path) -> type[Generator[Any]]:
    """Return the generator class that an installed package registered under ``name``."""
    known = {point.name: point for point in entry_points(group=GROUP)}
    if name not in known:
        raise GeneratorError(f"there is no generator {name!r}.{nearest(name, known)} Known: {', '.join(known)}")
    cls: type[Generator[Any]] = known[name].load()
    return cls
