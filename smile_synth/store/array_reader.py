"""Reading single clips of one array of a store."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numcodecs.zstd import Zstd

from smile_synth.errors import DamagedStoreError, StoreError
from smile_synth.store.chunk_cache import ChunkCache
from smile_synth.store.layout import Layout, shard_file
from smile_synth.store.shard import ShardFile
from smile_synth.store.spec import ArraySpec
from smile_synth.store.storage import Location, storage_of

# Of each array; with frames and boxes of several stores this stays below the usual limit of 1,024 files.
OPEN_SHARDS = 64
# Shards in an object store whose index is kept, once it was fetched: 20 bytes a clip.
KNOWN_OBJECTS = 16384
# What zstd needs at most for data that does not compress (its own bound), and our checksum.
ZSTD_SPARE = 1 / 256
ZSTD_SPARE_NBYTES = 1024


class ArrayReader:
    """Reads single clips of one array, from any thread, and checks every chunk.

    Args:
        store: where the store is.
        layout: of the store.
        spec: which array.
        advice: how to repair a damaged chunk, the end of the error's sentence.
        cache: keeps what is fetched from an object store.
    """

    def __init__(
        self, store: Location, layout: Layout, spec: ArraySpec, *, advice: str = "", cache: ChunkCache | None = None
    ) -> None:
        self.spec, self.cache = spec, cache
        self._advice = advice or f"repair it with: smile-synth verify {store} --repair"
        self._store, self.layout, self._storage = store, layout, storage_of(store)
        self._codec = Zstd(level=layout.zstd_level) if spec.uses_zstd else None
        self._buffers = threading.local()
        self.max_chunk_nbytes = int(spec.chunk_nbytes * (1 + ZSTD_SPARE)) + ZSTD_SPARE_NBYTES
        self._shard = lru_cache(maxsize=KNOWN_OBJECTS if self.is_remote else OPEN_SHARDS)(self.open_shard)
        self._opening = [threading.Lock() for _ in range(64)] if self.is_remote else []

    def read_into(self, clip: int, out: npt.NDArray[Any]) -> None:
        """Read one clip's part of the array straight into ``out``.

        Args:
            clip: 0 to number of clips - 1.
            out: C-contiguous, of the array's type and item shape.

        Raises:
            DamagedStoreError: the chunk is damaged or missing; names store, array, shard and clip.
            StoreError: the file cannot be opened or read.
        """
        shard, place = divmod(clip, self.layout.clips_per_shard)
        try:
            self._read(self._shard(shard), place, out)
        except (DamagedStoreError, OSError) as error:
            raise self.failed(error, clip) from None

    @property
    def is_remote(self) -> bool:
        """Whether every read is a request, so that several clips should be fetched together."""
        return self._storage.is_remote

    def known_shard(self, shard: int) -> ShardFile:
        """Return a shard whose index is kept once it was fetched; for stores where that takes a request.

        Raises:
            DamagedStoreError: it is missing, cut off, damaged at its end, or belongs elsewhere.
        """
        # One thread fetches an index; the others wait for it instead of fetching it too.
        with self._opening[shard % len(self._opening)]:
            return self._shard(shard)

    def failed(self, error: DamagedStoreError | OSError, clip: int) -> StoreError:
        """Return the error for a clip that cannot be read, with store, array, shard and clip."""
        shard = clip // self.layout.clips_per_shard
        place = f"store {self._store}, array {self.spec.name}, shard {shard}, clip {clip}"
        if isinstance(error, DamagedStoreError):
            return DamagedStoreError(f"{place}: {error}; {self._advice}")
        # Not the store's fault, and not to be skipped: too many open files, no permission, a lost mount.
        return StoreError(f"{place}: cannot be read ({error.strerror})")

    def open_shard(self, shard: int, *, whole: bool = False) -> ShardFile:
        """Open one shard file; ``whole`` where all of it will be read.

        Raises:
            DamagedStoreError: it is missing, cut off, damaged at its end, or belongs elsewhere.
        """
        name, place = shard_file(self.spec, shard), self.layout.place(self.spec, shard)
        return ShardFile.open(self._storage, name, place, whole=whole)

    def decode(self, file: ShardFile, slot: int, out: npt.NDArray[Any]) -> None:
        """Read the chunk in ``slot`` of an open shard into ``out``.

        Raises:
            DamagedStoreError: the chunk is damaged.
        """
        self.decode_payload(file.read(slot, self._buffer()), out)

    def chunk(self) -> npt.NDArray[Any]:
        """Return memory for one chunk, (clips, *item shape) where it holds several clips."""
        several = (self.spec.clips_per_chunk,) if self.spec.clips_per_chunk > 1 else ()
        return np.empty((*several, *self.spec.item_shape), np.dtype(self.spec.dtype).newbyteorder("<"))

    def _read(self, file: ShardFile, place: int, out: npt.NDArray[Any]) -> None:
        slot, row = divmod(place, self.spec.clips_per_chunk)
        if self.spec.clips_per_chunk == 1:
            self.decode(file, slot, out)
            return
        self.decode(file, slot, chunk := self.chunk())
        out[...] = chunk[row]

    def decode_payload(self, payload: npt.NDArray[np.uint8], out: npt.NDArray[Any]) -> None:
        """Decode a chunk that was read, without its checksum, into ``out``.

        Raises:
            DamagedStoreError: it does not decode to as many bytes.
        """
        if self._codec is None:
            if len(payload) != out.nbytes:
                raise DamagedStoreError(f"the chunk has {len(payload)} bytes, {out.nbytes} are expected")
            out.reshape(-1).view(np.uint8)[:] = payload
            return
        try:
            self._codec.decode(payload, out)
        except (RuntimeError, ValueError) as error:
            raise DamagedStoreError(f"the chunk cannot be decompressed ({error})") from None

    def _buffer(self) -> npt.NDArray[np.uint8]:
        if not hasattr(self._buffers, "chunk"):
            self._buffers.chunk = np.empty(self.max_chunk_nbytes, np.uint8)
        chunk: npt.NDArray[np.uint8] = self._buffers.chunk
        return chunk
