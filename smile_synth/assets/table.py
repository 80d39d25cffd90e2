"""Rows of the asset table: what each background and object is, where it comes from, and how it is read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Kind = Literal["background", "object"]


@dataclass(frozen=True)
class AssetRow:
    """One row of a dataset's asset table; its place in the table is the asset's id.

    Args:
        kind: ``background`` or ``object``.
        name: unique within its kind: a path inside the user's folder, or a name of ours.
        class_name: what an object is: its class folder, or the kind of outline for built-in cut-outs.
        licence: as stated by whoever gave the image; empty where nobody said.
        source: the package, the person, or the folder as the recipe names it.
        digest: BLAKE2b-128 of what the image is made of, in hexadecimal.
    """

    kind: Kind
    name: str
    class_name: str
    licence: str
    source: str
    digest: str


@dataclass(frozen=True)
class Asset(ABC):
    """An image that can be read when it is wanted, and described without reading it."""

    name: str
    class_name: str
    licence: str
    source: str

    @abstractmethod
    def read(self) -> Image:
        """Return the image, uint8: (h, w, 3) RGB for a background, (h, w, 4) RGBA for an object."""

    @abstractmethod
    def digest(self) -> str:
        """Return the digest of what the image is made of."""

    @property
    def outline(self) -> str:
        """Kind of the outline that the object was cut or drawn under; empty where we cannot know."""
        return ""

    def row(self, kind: Kind) -> AssetRow:
        """Return the asset's row of the table."""
        return AssetRow(kind, self.name, self.class_name, self.licence, self.source, self.digest())
