"""Sizes of a finished store."""

from __future__ import annotations

from dataclasses import dataclass

from smile_synth.store.layout import shard_file
from smile_synth.store.reader import Store
from smile_synth.store.spec import ArraySpec
from smile_synth.store.storage import Location, storage_of


@dataclass(frozen=True)
class StoreSizes:
    """How large a store is.

    Args:
        disk_nbytes: all its files.
        frames_nbytes: the shard files of the frames.
        raw_frames_nbytes: the frames before compression.
        motion_nbytes, truth_nbytes: the shard files of motion, and of the arrays of dense truth.
    """

    disk_nbytes: int
    frames_nbytes: int
    raw_frames_nbytes: int
    motion_nbytes: int
    truth_nbytes: int

    @property
    def ratio(self) -> float:
        """How many times smaller compression makes the frames."""
        return self.raw_frames_nbytes / max(self.frames_nbytes, 1)


def store_sizes(store: Store) -> StoreSizes:
    """Measure a store; only the sizes of its files are read."""
    frames, sizes = store.layout.array("frames"), store.storage.list()

    def nbytes(spec: ArraySpec) -> int:
        if spec.is_rendered:
            return 0
        return sum(sizes.get(shard_file(spec, shard), 0) for shard in range(store.layout.num_shards))

    return StoreSizes(
        disk_nbytes=sum(sizes.values()),
        frames_nbytes=nbytes(frames),
        raw_frames_nbytes=frames.item_nbytes * store.num_clips,
        motion_nbytes=0 if store.motion_cell_px is None else nbytes(store.layout.array("motion")),
        truth_nbytes=sum(nbytes(spec) for spec in store.layout.arrays if spec.name.startswith("truth/")),
    )


def store_nbytes(path: Location) -> int:
    """Return the size of all files of a store."""
    return sum(storage_of(path).list().values())


def format_size(nbytes: float) -> str:
    """Return a size as people write it: ``312 MB``."""
    for unit in ("B", "KB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.3g} {unit}"
        nbytes /= 1000
    return f"{nbytes:.3g} TB"
