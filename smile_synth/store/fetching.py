"""Fetching the chunks of several clips in few requests, for stores that every read takes a request to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from smile_synth.errors import DamagedStoreError
from smile_synth.store.array_reader import ArrayReader
from smile_synth.store.chunk_cache import ChunkCache
from smile_synth.store.rendering import ClipReader
from smile_synth.store.shard import ShardFile

Fetched = npt.NDArray[np.uint8] | DamagedStoreError
"""An encoded chunk with its checksum, or what is wrong with it."""


def ahead(reader: ClipReader, clips: Sequence[int]) -> ClipReader:
    """Return a reader of clips that are about to be read, which has fetched them if that needs requests.

    Args:
        reader: of one array.
        clips: in any order; no others may be read.

    Raises:
        StoreError: they cannot be read; damage is raised by reading the clip that it concerns.
    """
    return FetchedClips(reader, clips) if isinstance(reader, ArrayReader) and reader.is_remote else reader


class FetchedClips:
    """Encoded chunks of some clips, checked and decoded when they are read.

    Args:
        reader: of their array.
        clips: in any order.

    Raises:
        StoreError: they cannot be read.
    """

    def __init__(self, reader: ArrayReader, clips: Iterable[int]) -> None:
        self.spec = reader.spec
        self._reader = reader
        self._chunks: dict[tuple[int, int], Fetched] = {}
        by_shard: dict[int, list[int]] = defaultdict(list)
        for clip in clips:
            by_shard[self._place(clip)[0]].append(clip)
        for shard, numbers in by_shard.items():
            self._fetch(shard, numbers)

    def read_into(self, clip: int, out: npt.NDArray[Any]) -> None:
        """Read one of the clips.

        Raises:
            DamagedStoreError: its chunk is damaged or missing; names store, array, shard and clip.
        """
        shard, slot, row = self._place(clip)
        fetched = self._chunks[shard, slot]
        try:
            if isinstance(fetched, DamagedStoreError):
                raise fetched
            payload = self._reader.known_shard(shard).checked(slot, fetched)
            if self.spec.clips_per_chunk == 1:
                self._reader.decode_payload(payload, out)
            else:
                self._reader.decode_payload(payload, chunk := self._reader.chunk())
                out[...] = chunk[row]
        except DamagedStoreError as error:
            raise self._reader.failed(error, clip) from None

    def _place(self, clip: int) -> tuple[int, int, int]:
        """Return the shard of a clip, its slot there, and its row in the slot's chunk."""
        shard, place = divmod(clip, self._reader.layout.clips_per_shard)
        return shard, *divmod(place, self.spec.clips_per_chunk)

    def _fetch(self, shard: int, clips: Sequence[int]) -> None:
        slots = sorted({self._place(clip)[1] for clip in clips})
        try:
            found = self._fetch_slots(self._reader.known_shard(shard), slots)
        except DamagedStoreError as error:
            found = dict.fromkeys(slots, error)
        except OSError as error:
            raise self._reader.failed(error, clips[0]) from None
        self._chunks |= {(shard, slot): chunk for slot, chunk in found.items()}

    def _fetch_slots(self, file: ShardFile, slots: Sequence[int]) -> Mapping[int, Fetched]:
        max_nbytes, cache = self._reader.max_chunk_nbytes, self._reader.cache
        if cache is None:
            return dict(zip(slots, file.fetch(slots, max_nbytes), strict=True))
        found: dict[int, Fetched] = {slot: kept for slot in slots if (kept := _kept(cache, file, slot)) is not None}
        missing = [slot for slot in slots if slot not in found]
        for slot, chunk in zip(missing, file.fetch(missing, max_nbytes), strict=True):
            found[slot] = chunk
            if not isinstance(chunk, DamagedStoreError):
                cache.put(_name(file, slot), chunk.data)
        return found


def _kept(cache: ChunkCache, file: ShardFile, slot: int) -> npt.NDArray[np.uint8] | None:
    """Return a chunk from the cache, or None; one that fails its checksum is dropped."""
    data = cache.get(_name(file, slot))
    if data is None:
        return None
    chunk = np.frombuffer(data, np.uint8)
    try:
        file.checked(slot, chunk)
    except DamagedStoreError:
        cache.drop(_name(file, slot))
        return None
    return chunk


def _name(file: ShardFile, slot: int) -> str:
    return f"{file.tail.seal}-{slot}"
