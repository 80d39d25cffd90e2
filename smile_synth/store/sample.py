"""A seeded sample of clips whose pixels are digested when a store is made; a virtual store is held to it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from smile_synth.randomness import stream
from smile_synth.store.layout import Layout
from smile_synth.store.spec import ArraySpec

CLIPS_PER_SHARD = 8
DIGEST_NBYTES = 16


class ClipSample:
    """Digests of a few clips of one shard, of every array that is rendered when it is read.

    Args:
        layout: of the store.
        shard: which.

    Attributes:
        clips: numbers of the sampled clips, a pure function of store and shard; none where all arrays are stored.
    """

    def __init__(self, layout: Layout, shard: int) -> None:
        self._layout = layout
        self._rendered = [spec for spec in layout.arrays if spec.is_rendered]
        self.clips = _chosen(layout, shard) if self._rendered else ()
        self._digests: dict[tuple[str, int], str] = {}

    def add(self, clip: int, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Digest a clip's arrays, by name, if it is one of ``clips``."""
        if clip in self.clips:
            for spec in self._rendered:
                self._digests[spec.name, clip] = _digest(self._layout, spec, clip, arrays[spec.name])

    def seal(self, spec: ArraySpec) -> str:
        """Return the digests of an array's sampled clips, 32 hex digits each, in the order of ``clips``."""
        return "".join(self._digests[spec.name, clip] for clip in self.clips)

    def differing(self, seals: Mapping[str, str]) -> list[tuple[str, int]]:
        """Return the pairs of array and clip whose digest is not the one of ``seals``, by array, once all are added."""
        width = 2 * DIGEST_NBYTES
        return [
            (spec.name, clip)
            for spec in self._rendered
            for place, clip in enumerate(self.clips)
            if self._digests[spec.name, clip] != seals[spec.name][place * width : (place + 1) * width]
        ]


def _chosen(layout: Layout, shard: int) -> tuple[int, ...]:
    clips = layout.clips_of(shard)
    rng = stream(int(layout.store_id, 16), "clip digests", shard)
    places = rng.choice(len(clips), min(CLIPS_PER_SHARD, len(clips)), replace=False)
    return tuple(sorted(clips.start + int(place) for place in places))


def _digest(layout: Layout, spec: ArraySpec, clip: int, values: npt.NDArray[Any]) -> str:
    # It stands for content and place, as a shard's seal does.
    state = hashlib.blake2b(digest_size=DIGEST_NBYTES, person=b"smile clip")
    state.update(f"{layout.store_id}/{spec.name}/{clip}/".encode())
    state.update(np.ascontiguousarray(values, dtype=np.dtype(spec.dtype).newbyteorder("<")).data)
    return state.hexdigest()
