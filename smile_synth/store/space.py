"""How large a store will be, and whether the disk has room for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from smile_synth.errors import StoreError
from smile_synth.generator.dataset import Dataset
from smile_synth.recipe.dataset import DatasetParams
from smile_synth.store.build import out_of_memory
from smile_synth.store.clip_values import DrawnClip
from smile_synth.store.compression import clip_compressor
from smile_synth.store.layout import Layout
from smile_synth.store.manifest import Manifest
from smile_synth.store.shard import CRC_NBYTES
from smile_synth.store.summary import format_size, store_nbytes
from smile_synth.store.workspace import Workspace

CLIPS_TO_TRY = 4
# Place and length of a chunk in its shard's index.
INDEX_NBYTES = 16
# Clips of a shard in an object store: fewer objects for many clips, less to repeat for few.
USUAL_SHARD, LARGE_SHARD, MANY_CLIPS = 512, 1024, 1_000_000
# S3 takes 5 GiB in one put.
MAX_OBJECT_NBYTES = 4 * 2**30
# Of the largest array: of frames, or of flow where there is truth.
RGB_NBYTES, FLOW_NBYTES = 3, 8


def expected_nbytes(dataset: Dataset) -> int:
    """Return about how many bytes a dataset's store will have, from a few of its clips, rendered and compressed.

    Raises:
        GeneratorError: one of these clips cannot be made.
        StoreError: memory does not suffice for one clip.
    """
    layout = Manifest.of(dataset, {}).layout
    try:
        return _expected_nbytes(dataset, layout)
    except MemoryError as error:
        raise StoreError(out_of_memory(error, layout, "a clip")) from error


def _expected_nbytes(dataset: Dataset, layout: Layout) -> int:
    drawn = DrawnClip(layout)
    compress = {name: clip_compressor(layout.zstd_level, array.nbytes) for name, array in drawn.arrays.items()}
    clips = np.unique(np.linspace(0, len(dataset) - 1, CLIPS_TO_TRY).astype(int)).tolist()
    compressed = 0
    for clip in clips:
        drawn.draw(dataset.sample(clip))
        compressed += sum(len(compress[name](array)) for name, array in drawn.arrays.items())
    plain = sum(spec.item_nbytes for spec in layout.arrays if not spec.compressed)
    around = (CRC_NBYTES + INDEX_NBYTES) * len(layout.arrays)
    return int((compressed / len(clips) + plain + around) * layout.num_clips)


def clips_per_object(params: DatasetParams) -> int:
    """Return how many clips a shard should have in an object store, where every object is one put."""
    wanted = LARGE_SHARD if params.clips >= MANY_CLIPS else USUAL_SHARD
    pixels = params.canvas.frames * params.canvas.height * params.canvas.width
    clip_nbytes = pixels * (FLOW_NBYTES if params.store.truth else RGB_NBYTES)
    while wanted > 1 and wanted * clip_nbytes > MAX_OBJECT_NBYTES:
        wanted //= 2
    return wanted


def free_nbytes(path: Path) -> int:
    """Return the free bytes of the disk where a path is or will be."""
    existing = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    return shutil.disk_usage(existing).free


def check_space(dataset: Dataset, path: Path) -> None:
    """Refuse to render a store that the disk has no room for; what is rendered of it already counts as room.

    Raises:
        StoreError: the store will be larger than what is free.
    """
    if Workspace(path).is_finished:
        return
    layout = Manifest.of(dataset, {}).layout
    free = free_nbytes(path) + (store_nbytes(path) if path.is_dir() else 0)
    if _raw_nbytes(layout) <= free:
        return
    expected = expected_nbytes(dataset)
    if expected > free:
        raise StoreError(
            f"{path} has room for {format_size(free)}, {layout.num_clips} clips take about {format_size(expected)}; "
            "free some space, name another disk with --out, or lower dataset.clips"
        )


def _raw_nbytes(layout: Layout) -> int:
    """Return the size of a store before compression, which compression nearly never exceeds."""
    return layout.num_clips * sum(spec.item_nbytes + CRC_NBYTES + INDEX_NBYTES for spec in layout.arrays)
