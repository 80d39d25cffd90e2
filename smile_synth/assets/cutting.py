"""Built-in objects: photographs cut under drawn outlines, and drawn shapes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from smile_synth.assets.outlines import OUTLINES, draw_outline
from smile_synth.assets.photographs import Photograph
from smile_synth.assets.table import Asset, Image
from smile_synth.randomness import stream

# Changes whenever the same name would give another image.
CUTTING_VERSION = 1
CUTS_PER_PHOTOGRAPH = 24
DRAWINGS = 48
OBJECT_SIDE = 160
_TRIES = 6


@dataclass(frozen=True)
class CutOut(Asset):
    """A piece of a photograph under a drawn outline; the outline is the class.

    Args:
        photograph: what is cut.
        number: which of the photograph's cuts under this outline.
    """

    photograph: Photograph
    number: int

    @property
    def outline(self) -> str:
        """Kind of the outline, which is the class too."""
        return self.class_name

    def read(self) -> Image:
        """Return the cut-out, uint8 (h, w, 4); its colours continue beyond the outline, which leaves no halo."""
        rng = stream(0, f"cut-out/{CUTTING_VERSION}/{self.name}")
        alpha = draw_outline(self.class_name, OBJECT_SIDE, rng=rng)
        return _under(_busiest_piece(self.photograph.read(), alpha, rng), alpha)

    def digest(self) -> str:
        """Return a digest of the photograph's bytes and of how the object is cut."""
        return _digest(f"{CUTTING_VERSION}/{self.name}/{self.photograph.digest()}")


@dataclass(frozen=True)
class Drawing(Asset):
    """A drawn shape, filled with two colours that run into each other or alternate in stripes."""

    @property
    def outline(self) -> str:
        """Kind of the outline, which is the class too."""
        return self.class_name

    def read(self) -> Image:
        """Return the drawing, uint8 (h, w, 4)."""
        rng = stream(0, f"drawing/{CUTTING_VERSION}/{self.name}")
        alpha = draw_outline(self.class_name, OBJECT_SIDE, rng=rng)
        return _under(_two_colours(alpha.shape[0], alpha.shape[1], rng), alpha)

    def digest(self) -> str:
        """Return a digest of how the shape is drawn."""
        return _digest(f"{CUTTING_VERSION}/{self.name}")


def cut_outs(photographs: Sequence[Photograph]) -> tuple[CutOut, ...]:
    """Return the cut-outs of every photograph under every kind of outline."""
    return tuple(
        CutOut(f"{photograph.name}/{outline}-{n:02}", outline, photograph.licence, photograph.source, photograph, n)
        for photograph in photographs
        for outline in OUTLINES
        for n in range(CUTS_PER_PHOTOGRAPH)
    )


def drawings() -> tuple[Drawing, ...]:
    """Return the drawn shapes."""
    return tuple(
        Drawing(f"builtin/drawn/{outline}-{n:02}", outline, "CC0-1.0", "drawn by smile-synth")
        for outline in OUTLINES
        for n in range(DRAWINGS)
    )


def _under(rgb: Image, alpha: Image) -> Image:
    # Many times quicker than numpy's dstack.
    rgba = np.empty((*alpha.shape, 4), np.uint8)
    rgba[..., :3] = rgb
    rgba[..., 3] = alpha
    return rgba


def _busiest_piece(photograph: Image, alpha: Image, rng: np.random.Generator) -> Image:
    """Return, of a few random pieces of the alpha's form, the one with most contrast: plain sky makes a poor object."""
    height, width = alpha.shape
    room = min(photograph.shape[0] / height, photograph.shape[1] / width)
    pieces: list[Image] = []
    for _ in range(_TRIES):
        scale = rng.uniform(0.6, max(0.6, min(2.0, room)))
        h, w = min(round(height * scale), photograph.shape[0]), min(round(width * scale), photograph.shape[1])
        top = int(rng.integers(photograph.shape[0] - h + 1))
        left = int(rng.integers(photograph.shape[1] - w + 1))
        piece = photograph[top : top + h, left : left + w]
        pieces.append(piece)
    busiest = max(pieces, key=lambda piece: float(piece[::8, ::8].std()))
    return np.asarray(cv2.resize(busiest, (width, height), interpolation=cv2.INTER_LINEAR_EXACT), dtype=np.uint8)


def _two_colours(height: int, width: int, rng: np.random.Generator) -> Image:
    first, second = rng.integers(0, 256, (2, 3))
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:height, 0:width]
    along = (x * np.cos(angle) + y * np.sin(angle)) / max(height, width)
    along = (along - along.min()) / (along.max() - along.min())
    if rng.random() < 0.5:
        along = 0.5 - 0.5 * np.cos(2 * np.pi * int(rng.integers(2, 6)) * along)
    filled: Image = np.rint(first + along[..., None] * (second - first)).astype(np.uint8)
    return filled


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
