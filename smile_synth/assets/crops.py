"""Crops of the photographs that the wheels hold: many backgrounds, split so that no two parts share a photograph."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from smile_synth.assets.photographs import MORE_PHOTOGRAPHS, PHOTOGRAPHS, Photograph
from smile_synth.assets.split import part_of
from smile_synth.assets.table import Asset, Image
from smile_synth.randomness import stream
from smile_synth.recipe.assets import Split

# Changes whenever the same name would give another image.
CROPPING_VERSION = 1
CROPS_PER_PHOTOGRAPH = 6
# Where a rectangle is cut, as parts of its longer side: uneven, so that sizes differ.
CUT_AT = (0.36, 0.5)
# Of the usual photograph here: the longer side is cut, and names are listed without opening a file.
WIDTH_TO_HEIGHT = 1.2
# Grey values here hardly differ (standard deviation below 7 of 255): nothing could be seen to move.
PLAIN = frozenset(
    {*(f"builtin/cell/crop-{n}" for n in (0, 1, 4, 5)), *(f"builtin/clock_motion/crop-{n}" for n in (0, 4))}
)


@dataclass(frozen=True)
class Crop(Asset):
    """A rectangle of a photograph that overlaps none of the photograph's other crops.

    Args:
        photograph: what is cut.
        edges: top, left, bottom, right as parts of the photograph's height and width.
    """

    photograph: Photograph
    edges: tuple[float, float, float, float]

    def read(self) -> Image:
        """Return the crop, uint8 (h, w, 3)."""
        whole = self.photograph.read()
        sides = (*whole.shape[:2], *whole.shape[:2])
        top, left, bottom, right = (round(part * side) for part, side in zip(self.edges, sides, strict=True))
        return np.ascontiguousarray(whole[top:bottom, left:right])

    def digest(self) -> str:
        """Return a digest of the photograph's bytes and of how it is cut."""
        text = f"{CROPPING_VERSION}/{self.name}/{self.photograph.digest()}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def sources(split: Split) -> tuple[Photograph, ...]:
    """Return the photographs of a part: those that the part has as ``builtin``, and its share of the others.

    So built-in cut-outs of one part show no photograph that another part has crops of.
    """
    return (
        *part_of(PHOTOGRAPHS, split, "backgrounds"),
        *part_of(MORE_PHOTOGRAPHS, split, "backgrounds"),
    )


def crops(split: Split) -> tuple[Crop, ...]:
    """Return the crops of every photograph of a part, but for those that are plain."""
    cut = (
        Crop(f"{source.name}/crop-{n}", source.class_name, source.licence, source.source, source, edges)
        for source in sources(split)
        for n, edges in enumerate(_rectangles(source))
    )
    return tuple(crop for crop in cut if crop.name not in PLAIN)


def _rectangles(photograph: Photograph) -> list[tuple[float, float, float, float]]:
    """Return disjoint rectangles that cover the photograph: again and again the largest one is cut in two."""
    rng = stream(0, f"crops/{CROPPING_VERSION}/{photograph.name}")
    rectangles = [(0.0, 0.0, 1.0, 1.0)]
    while len(rectangles) < CROPS_PER_PHOTOGRAPH:
        largest = max(rectangles, key=lambda edges: (edges[2] - edges[0]) * (edges[3] - edges[1]))
        rectangles.remove(largest)
        top, left, bottom, right = largest
        part = rng.uniform(*CUT_AT)
        if rng.random() < 0.5:
            part = 1 - part
        if bottom - top > WIDTH_TO_HEIGHT * (right - left):
            cut = top + part * (bottom - top)
            rectangles += [(top, left, cut, right), (cut, left, bottom, right)]
        else:
            cut = left + part * (right - left)
            rectangles += [(top, left, bottom, cut), (top, cut, bottom, right)]
    return sorted(rectangles)
