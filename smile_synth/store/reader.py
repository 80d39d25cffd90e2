"""Reading a finished store."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numcodecs.zstd import Zstd

from smile_synth.assets import AssetRow
from smile_synth.errors import DamagedStoreError, StoreError
from smile_synth.generator.labels import LabelSpec
from smile_synth.scene import Canvas
from smile_synth.store.layout import Layout, shard_file
from smile_synth.store.rendering import ClipReader, Rendering
from smile_synth.store.root import Root, read_root
from smile_synth.store.shard import CRC_NBYTES, MISSING, ShardFile, Tail, checked_payload, parse_tail
from smile_synth.store.spec import ArraySpec
from smile_synth.store.storage import Location, locate, storage_of

# Of each array; with frames and boxes of several stores this stays below the usual limit of 1,024 files.
OPEN_SHARDS = 64
# Shards in an object store whose index is kept, once it was fetched: 20 bytes a clip.
KNOWN_OBJECTS = 16384
# What zstd needs at most for data that does not compress (its own bound), and our checksum.
ZSTD_SPARE = 1 / 256
ZSTD_SPARE_NBYTES = 1024
# Clips that one thread fetches together.
CLIPS_AHEAD = 8


class ArrayReader:
    """Reads single clips of one array, from any thread, and checks every chunk.

    Args:
        store: where the store is.
        layout: of the store.
        spec: which array.
        advice: how to repair a damaged chunk, the end of the error's sentence.
    """

    def __init__(self, store: Location, layout: Layout, spec: ArraySpec, *, advice: str = "") -> None:
        self.spec = spec
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


class Store:
    """A finished store of clips.

    Of a virtual store the large arrays are rendered when they are read.

    Args:
        path: its folder or URL.
        manifest: what it says of itself, from ``read_root``.
        folder: where relative paths of a virtual store's recipe start; None: where they did when it was made.
        trust_code: let a virtual store's recipe run generators that no installed package registers.
    """

    def __init__(self, path: Location, manifest: Root, *, folder: Path | None = None, trust_code: bool = False) -> None:
        self.path, self.storage = path, storage_of(path)
        self.manifest = manifest
        self.layout = manifest.layout
        recorded = "" if manifest.virtual is None else manifest.virtual.folder
        self.folder = Path(recorded) if folder is None else folder
        self._trusts_code = trust_code
        self._readers: dict[str, ClipReader] = {}
        self._columns: dict[str, npt.NDArray[Any]] = {}

    @classmethod
    def open(cls, path: str | Location, *, folder: Path | None = None, trust_code: bool = False) -> Store:
        """Open a finished store; the code of a virtual store's recipe is run only once its clips are read.

        Args:
            path: its folder, or its URL in an object store, such as ``s3://bucket/clips.zarr``.

        Raises:
            StoreError: there is none, it is unfinished, or it is of another kind or a newer format.
            DamagedStoreError: its root document is damaged.
        """
        location = locate(path)
        return cls(location, read_root(location), folder=folder, trust_code=trust_code)

    def __len__(self) -> int:
        return self.num_clips

    def __repr__(self) -> str:
        c = self.canvas
        return f"Store({str(self.path)!r}, {self.num_clips} clips of {c.num_frames}x{c.height}x{c.width})"

    @property
    def num_clips(self) -> int:
        """Number of clips."""
        return self.layout.num_clips

    @cached_property
    def canvas(self) -> Canvas:
        """Size of every clip."""
        return self.manifest.size

    @property
    def max_objects(self) -> int:
        """Most layers of a clip; the arrays have at least one slot."""
        return self.manifest.max_objects

    @property
    def motion_cell_px(self) -> int | None:
        """Side of the cells of the array ``motion``, in pixels; None where the store has none."""
        return self.manifest.motion_cell_px

    @property
    def truth(self) -> tuple[str, ...]:
        """Kinds of dense truth that the store holds: ``flow``, ``visibility``, ``tracks``."""
        return self.manifest.truth

    @property
    def label_specs(self) -> dict[str, LabelSpec]:
        """Labels that every clip carries, by name."""
        return self.manifest.label_specs

    @property
    def assets(self) -> list[AssetRow]:
        """The asset table; ``background`` and ``object`` are its rows."""
        return self.manifest.asset_rows

    @property
    def generators(self) -> tuple[str, ...]:
        """Names of the generators; the array ``generator`` says which made a clip."""
        return self.manifest.generators

    @property
    def seed(self) -> int:
        """Seed of the dataset."""
        return self.manifest.seed

    @property
    def recipe(self) -> dict[str, Any]:
        """The whole resolved recipe that the store was rendered from."""
        return dict(self.manifest.recipe)

    @property
    def digest(self) -> str:
        """SHA-256 that stands for every byte of the store."""
        return self.manifest.digest

    @property
    def is_virtual(self) -> bool:
        """Whether frames, motion and truth are rendered when they are read."""
        return self.manifest.virtual is not None

    @cached_property
    def rendering(self) -> Rendering:
        """What renders the clips of a virtual store, held to the digests that were made with it.

        Raises:
            StoreError: the clips cannot be rendered as they were; says what is another now.
            UntrustedCodeError: the recipe names code that may not be run.
        """
        return Rendering(self.path, self.manifest, folder=self.folder, trust_code=self._trusts_code)

    def reader(self, name: str) -> ClipReader:
        """Return what reads, or renders, single clips of the array ``name``."""
        if name not in self._readers:
            spec = self.layout.array(name)
            self._readers[name] = (
                self.rendering.reader(spec) if spec.is_rendered else ArrayReader(self.path, self.layout, spec)
            )
        return self._readers[name]

    def array_reader(self, spec: ArraySpec) -> ArrayReader:
        """Return what reads the chunks of an array that has files."""
        reader = self.reader(spec.name)
        assert isinstance(reader, ArrayReader)
        return reader

    def read_frames(self, clips: Sequence[int] | npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.uint8]:
        """Return the frames of some clips.

        Args:
            clips: clip numbers, in any order.

        Returns:
            uint8 (B, T, H, W, 3).

        Raises:
            StoreError: there is no such clip.
            DamagedStoreError: a chunk is damaged; names array, shard and clip.
        """
        numbers = [int(clip) for clip in clips]
        for clip in numbers:
            if not 0 <= clip < self.num_clips:
                raise StoreError(f"clip must be 0 to {self.num_clips - 1} in {self.path}, got {clip}")
        reader = self.reader("frames")
        return self._read_clips(reader, numbers)

    def read_motion(self, clips: Sequence[int] | npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float32]:
        """Return the motion of some clips.

        Args:
            clips: clip numbers, in any order.

        Returns:
            float32 (B, T, H / cell, W / cell, 2), (dx, dy) in pixels to the next frame, NaN where undefined.

        Raises:
            StoreError: the store holds no motion.
            DamagedStoreError: a chunk is damaged; names array, shard and clip.
        """
        reader = self.reader("motion")
        return self._read_clips(reader, [int(clip) for clip in clips]).astype(np.float32)

    def rows(self, name: str, clips: Sequence[int]) -> npt.NDArray[Any]:
        """Return an array's values for some clips, without reading the others.

        Args:
            name: of any array.
            clips: clip numbers, in any order.

        Raises:
            StoreError: there is no such array.
            DamagedStoreError: a chunk is damaged; names array, shard and clip.
        """
        return self._read_clips(self.reader(name), clips)

    def _read_clips(self, reader: ClipReader, clips: Sequence[int]) -> npt.NDArray[Any]:
        from smile_synth.store.fetching import ahead

        values = np.empty((len(clips), *reader.spec.item_shape), np.dtype(reader.spec.dtype).newbyteorder("<"))
        order = np.argsort(clips, kind="stable").tolist()

        def read(places: Sequence[int]) -> None:
            fetched = ahead(reader, [clips[place] for place in places])
            for place in places:
                fetched.read_into(clips[place], values[place, ...])

        for _ in self.storage.map(read, [order[at : at + CLIPS_AHEAD] for at in range(0, len(order), CLIPS_AHEAD)]):
            pass
        return values

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a whole small array, read once and kept.

        Args:
            name: any array but ``frames`` and ``motion``: ``boxes``, ``poses``, ``opacity``, ``object``,
                ``background``, ``generator``, ``camera`` or ``labels/<name>``.

        Returns:
            Read-only array, first axis = clip.

        Raises:
            StoreError: there is no such array, or it is too large to read whole.
            DamagedStoreError: a shard is damaged; names array and shard.
        """
        if name not in self._columns:
            spec = self.layout.array(name)
            if spec.compressed:
                raise StoreError(f"{name!r} is too large to read whole; read it clip by clip with reader({name!r})")
            column = self._read_column(spec)
            column.flags.writeable = False
            self._columns[name] = column
        return self._columns[name]

    def _read_column(self, spec: ArraySpec) -> npt.NDArray[Any]:
        column = np.empty((self.num_clips, *spec.item_shape), np.dtype(spec.dtype).newbyteorder("<"))

        def read(shard: int) -> None:
            clips = self.layout.clips_of(shard)
            try:
                self._read_small_shard(spec, shard, column[clips.start : clips.stop])
            except OSError as error:
                raise StoreError(
                    f"store {self.path}, array {spec.name}, shard {shard}: cannot be read ({error.strerror})"
                ) from None
            except DamagedStoreError as error:
                raise DamagedStoreError(
                    f"store {self.path}, array {spec.name}, shard {shard}: {error}; "
                    f"repair it with: smile-synth verify {self.path} --repair"
                ) from None

        for _ in self.storage.map(read, range(self.layout.num_shards)):
            pass
        return column

    def _read_small_shard(self, spec: ArraySpec, shard: int, out: npt.NDArray[Any]) -> None:
        try:
            data = self.storage.read(shard_file(spec, shard))
        except FileNotFoundError:
            raise DamagedStoreError("the file is missing") from None
        place = self.layout.place(spec, shard)
        tail = parse_tail(data[-place.tail_nbytes :], place, file_nbytes=len(data))
        chunks = np.frombuffer(data, np.uint8)
        if spec.clips_per_chunk > 1:
            self._read_packed_shard(spec, shard, tail, chunks, out)
            return
        for row, (offset, nbytes) in enumerate(tail.index[: len(out)].tolist()):
            if offset == MISSING or nbytes != spec.item_nbytes + CRC_NBYTES:
                raise DamagedStoreError(f"the chunk of clip {shard * self.layout.clips_per_shard + row} is missing")
            payload = checked_payload(chunks[offset : offset + nbytes], int(tail.checksums[row]))
            out[row] = payload.view(out.dtype).reshape(spec.item_shape)

    def _read_packed_shard(
        self, spec: ArraySpec, shard: int, tail: Tail, chunks: npt.NDArray[np.uint8], out: npt.NDArray[Any]
    ) -> None:
        reader, several = self.array_reader(spec), spec.clips_per_chunk
        for slot, first in enumerate(range(0, len(out), several)):
            offset, nbytes = (int(value) for value in tail.index[slot])
            if offset == MISSING:
                raise DamagedStoreError(f"the chunk of clip {shard * self.layout.clips_per_shard + first} is missing")
            payload = checked_payload(chunks[offset : offset + nbytes], int(tail.checksums[slot]))
            reader.decode_payload(payload, chunk := reader.chunk())
            out[first : first + several] = chunk[: len(out) - first]
