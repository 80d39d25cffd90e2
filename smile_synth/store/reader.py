"""Reading a finished store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smile_synth.assets import AssetRow
from smile_synth.errors import DamagedStoreError, StoreError
from smile_synth.generator.dataset import Dataset
from smile_synth.generator.labels import LabelSpec
from smile_synth.scene import Canvas
from smile_synth.store.array_reader import ArrayReader
from smile_synth.store.chunk_cache import ChunkCache
from smile_synth.store.clip import StoredClip
from smile_synth.store.fetching import ahead
from smile_synth.store.layout import shard_file
from smile_synth.store.origin import stored_dataset
from smile_synth.store.rendering import ClipReader, Renderer, renderer_of
from smile_synth.store.root import Root, read_root
from smile_synth.store.shard import CRC_NBYTES, MISSING, Tail, checked_payload, parse_tail
from smile_synth.store.spec import ArraySpec
from smile_synth.store.storage import Location, locate, storage_of

# Clips that one thread fetches together.
CLIPS_AHEAD = 8


class NoSuchClipError(StoreError, IndexError):
    """A store has no clip of this number."""


class Store:
    """A finished store of clips.

    Of a virtual store the large arrays are rendered when they are read.

    Args:
        path: its folder or URL.
        manifest: what it says of itself, from ``read_root``.
        folder: where relative paths of its recipe start; None: where they did when a virtual store was made.
        trust_code: let its recipe run generators that no installed package registers.
        cache: keeps what is read of a store in an object store.

    Examples:
        >>> store = ss.open_store("clips.zarr")
        >>> len(store), store.canvas.height, store.motion_cell_px
        (64, 32, 8)
        >>> store.read_frames([0, 5]).shape
        (2, 8, 32, 32, 3)
        >>> store.column("boxes").shape
        (64, 2, 8, 4)
    """

    def __init__(
        self,
        path: Location,
        manifest: Root,
        *,
        folder: Path | None = None,
        trust_code: bool = False,
        cache: ChunkCache | None = None,
    ) -> None:
        self.path, self.storage = path, storage_of(path)
        self.manifest = manifest
        self.layout = manifest.layout
        recorded = "" if manifest.virtual is None else manifest.virtual.folder
        self.folder = Path(recorded) if folder is None else folder
        self._trusts_code, self._cache = trust_code, cache
        self._readers: dict[str, ClipReader] = {}
        self._columns: dict[str, npt.NDArray[Any]] = {}

    @classmethod
    def open(
        cls,
        path: str | Location,
        *,
        folder: Path | None = None,
        trust_code: bool = False,
        cache: ChunkCache | None = None,
    ) -> Store:
        """Open a finished store; the code of a virtual store's recipe is run only once its clips are read.

        Args:
            path: its folder, or its URL in an object store, such as ``s3://bucket/clips.zarr``.

        Raises:
            StoreError: there is none, it is unfinished, or it is of another kind or a newer format.
            DamagedStoreError: its root document is damaged.
        """
        location = locate(path)
        return cls(location, read_root(location), folder=folder, trust_code=trust_code, cache=cache)

    def __reduce__(self) -> tuple[Any, ...]:
        # Open files and what was read stay in their process.
        return (_reopened, (self.path, self.folder, self._trusts_code, self._cache))

    def reopened(self) -> Store:
        """Return the same store, opened again, as a forked process needs it."""
        return _reopened(self.path, self.folder, self._trusts_code, self._cache)

    def __len__(self) -> int:
        return self.num_clips

    def __getitem__(self, clip: int) -> StoredClip:
        """Return one clip; a negative number counts from the end.

        Raises:
            NoSuchClipError: there is none of this number.
        """
        self._check_number(clip, first=-self.num_clips)
        return StoredClip(self, int(clip) % self.num_clips)

    def _check_number(self, clip: int, *, first: int) -> None:
        if not first <= clip < self.num_clips:
            raise NoSuchClipError(f"clip must be 0 to {self.num_clips - 1} in {self.path}, got {clip}")

    def __iter__(self) -> Iterator[StoredClip]:
        return (StoredClip(self, clip) for clip in range(self.num_clips))

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
    def renderer(self) -> Renderer:
        """What renders the clips of a virtual store, held to the digests that were made with it.

        Raises:
            StoreError: the clips cannot be rendered as they were; says what is another now.
            UntrustedCodeError: the recipe names code that may not be run.
        """
        return renderer_of(self.path, self.manifest, self.folder, trust_code=self._trusts_code)

    @cached_property
    def dataset(self) -> Dataset:
        """The scenes that the store was rendered from, sampled again from its recipe and seed.

        Raises:
            SmileSynthError: the recipe's generator or images are not there, or not as they were for a virtual store.
            UntrustedCodeError: the recipe names code that no installed package registers, and it is not trusted.
        """
        if self.is_virtual:
            return self.renderer.dataset
        return stored_dataset(self.path, self.manifest, self.folder, trust_code=self._trusts_code)

    def reader(self, name: str) -> ClipReader:
        """Return what reads, or renders, single clips of the array ``name``."""
        if name not in self._readers:
            spec = self.layout.array(name)
            self._readers[name] = (
                self.renderer.reader(spec)
                if spec.is_rendered
                else ArrayReader(self.path, self.layout, spec, cache=self._cache)
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
            NoSuchClipError: there is no such clip.
            DamagedStoreError: a chunk is damaged; names array, shard and clip.
        """
        return self._read_clips(self.reader("frames"), clips)

    def read_motion(self, clips: Sequence[int] | npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float32]:
        """Return the motion of some clips.

        Args:
            clips: clip numbers, in any order.

        Returns:
            float32 (B, T, H / cell, W / cell, 2), (dx, dy) in pixels to the next frame, NaN where undefined.

        Raises:
            StoreError: the store holds no motion.
            NoSuchClipError: there is no such clip.
            DamagedStoreError: a chunk is damaged; names array, shard and clip.
        """
        return self._read_clips(self.reader("motion"), clips).astype(np.float32)

    def rows(self, name: str, clips: Sequence[int] | npt.NDArray[np.integer[Any]]) -> npt.NDArray[Any]:
        """Return an array's values for some clips, without reading the others.

        Args:
            name: of any array.
            clips: clip numbers, in any order.

        Raises:
            StoreError: there is no such array.
            NoSuchClipError: there is no such clip.
            DamagedStoreError: a chunk is damaged; names array, shard and clip.
        """
        return self._read_clips(self.reader(name), clips)

    def _read_clips(
        self, reader: ClipReader, numbers: Sequence[int] | npt.NDArray[np.integer[Any]]
    ) -> npt.NDArray[Any]:
        clips = [int(clip) for clip in numbers]
        for clip in clips:
            self._check_number(clip, first=0)
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


def _reopened(path: Location, folder: Path, trust_code: bool, cache: ChunkCache | None) -> Store:
    return Store.open(path, folder=folder, trust_code=trust_code, cache=cache)


def open_store(path: str | Location, *, folder: str | Path | None = None, trust_code: bool = False) -> Store:
    """Open a finished store; the frames of a virtual one are rendered when they are read.

    Args:
        path: its folder, or its URL in an object store, such as ``s3://bucket/clips.zarr``.
        folder: where relative paths of the store's recipe start; None: where they did when a virtual store was made.
        trust_code: let the store's recipe run generators that no installed package registers; read them first.

    Raises:
        StoreError: there is none, it is unfinished, or it is of another kind or a newer format.
        DamagedStoreError: its root document is damaged.

    Examples:
        >>> store = ss.open_store("clips.zarr")
        >>> store
        Store('clips.zarr', 64 clips of 8x32x32)
        >>> store[0].frames.shape
        (8, 32, 32, 3)
    """
    return Store.open(path, folder=None if folder is None else Path(folder), trust_code=trust_code)


# A store, or where it lies.
StoreLike = Store | str | Location
