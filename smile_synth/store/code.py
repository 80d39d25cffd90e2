"""The code and packages that pixels depend on, digested part by part, so that a change can be named."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from smile_synth.generator.base import Generator
from smile_synth.generator.registry import code_digest

# Modules that decide over the values of a clip, by the part that a message names.
PARTS: Mapping[str, tuple[str, ...]] = {
    "smile_synth.assets": ("assets",),
    "smile_synth.sampling": ("sampling",),
    "smile_synth.render": ("render",),
    "smile_synth.generator": ("generator/base.py", "generator/dataset.py", "generator/labels.py"),
    "smile_synth": ("machine/compiled.py", "randomness.py", "scene.py", "store/clip_values.py"),
}
# Packages that compute, draw or decode what goes into a clip; others, and Python itself, decide over no value.
PACKAGES = ("numpy", "numba", "opencv-python", "pillow", "scipy", "scikit-image", "scikit-learn")


def code_digests(generator: Generator[Any]) -> dict[str, str]:
    """Return BLAKE2b digests (32 hex digits) of the code that clips depend on, by part.

    Args:
        generator: whose own code, and that of its parts, counts too.
    """
    return {**_own_digests(), "generator": code_digest(generator)}


@cache
def _own_digests() -> dict[str, str]:
    root = Path(str(resources.files("smile_synth")))
    return {part: _digest(root, places) for part, places in PARTS.items()}


def _digest(root: Path, places: tuple[str, ...]) -> str:
    files = [file for place in places for file in _sources(root / place)]
    state = hashlib.blake2b(digest_size=16)
    for file in files:
        content = file.read_bytes()
        state.update(f"{file.relative_to(root).as_posix()}/{len(content)}/".encode())
        state.update(content)
    return state.hexdigest()


def _sources(place: Path) -> list[Path]:
    return [place] if place.suffix == ".py" else sorted(place.rglob("*.py"))


def package_versions() -> dict[str, str]:
    """Return the versions of ``PACKAGES``."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
