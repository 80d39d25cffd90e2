"""Which arrays a store has, how they are cut into shards, and their Zarr metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore

from smile_synth.errors import StoreError
from smile_synth.generator.labels import LabelSpec
from smile_synth.render import motion_shape
from smile_synth.scene import NO_ASSET, Canvas
from smile_synth.store.shard import Place
from smile_synth.store.spec import ArraySpec
from smile_synth.store.truth import truth_arrays

LABEL_NAME = re.compile(r"[a-z][a-z0-9_]*")
# Of the small arrays of a virtual store. Measured on two objects under a moving camera: 1.2 KB a clip, alone 1.9.
CLIPS_PER_CHUNK = 64
SMALL_ZSTD_LEVEL = 3


@dataclass(frozen=True)
class Layout:
    """How the clips of a store lie on disk: every array has the same shard boundary.

    A chunk is one clip; in a virtual store, which has no large arrays, it is ``CLIPS_PER_CHUNK`` of them.

    Args:
        num_clips: clips of the store.
        clips_per_shard: clips of one shard file; the last shard may hold fewer.
        zstd_level: level of the frames' compression.
        arrays: every array, ``frames`` first; of a virtual store, those that are rendered too.
        store_id: 32 hex digits that stand for everything that makes the store's clips; every shard is sealed to it.
    """

    num_clips: int
    clips_per_shard: int
    zstd_level: int
    arrays: tuple[ArraySpec, ...]
    store_id: str

    @property
    def stored(self) -> tuple[ArraySpec, ...]:
        """The arrays that have files."""
        return tuple(spec for spec in self.arrays if not spec.is_rendered)

    @property
    def num_shards(self) -> int:
        """Shard files of each array."""
        return -(-self.num_clips // self.clips_per_shard)

    def clips_of(self, shard: int) -> range:
        """Return the clips that lie in ``shard``."""
        first = shard * self.clips_per_shard
        return range(first, min(first + self.clips_per_shard, self.num_clips))

    def place(self, spec: ArraySpec, shard: int) -> Place:
        """Return where the shard ``shard`` of an array belongs."""
        return Place(self.store_id, spec.name, shard, self.clips_per_shard // spec.clips_per_chunk)

    def array(self, name: str) -> ArraySpec:
        """Return the array called ``name``.

        Raises:
            StoreError: there is none.
        """
        for spec in self.arrays:
            if spec.name == name:
                return spec
        raise StoreError(f"the store has no array {name!r}; it has {', '.join(spec.name for spec in self.arrays)}")

    def metadata_files(self) -> list[str]:
        """Return the paths of all metadata documents but the root's."""
        names = [spec.name for spec in self.stored]
        groups = sorted({name.rpartition("/")[0] for name in names} - {""})
        return sorted(f"{name}/zarr.json" for name in (*names, *groups))

    def metadata(self) -> dict[str, dict[str, Any]]:
        """Return the Zarr metadata documents of all arrays and inner groups, by path inside the store."""
        files: dict[str, Any] = {}
        group = zarr.create_group(store=MemoryStore(files))
        for spec in self.stored:
            self._create(group, spec)
        documents = {path: json.loads(buffer.to_bytes()) for path, buffer in sorted(files.items())}
        del documents["zarr.json"]
        return documents

    def _create(self, group: zarr.Group, spec: ArraySpec) -> None:
        level = self.zstd_level if spec.compressed else SMALL_ZSTD_LEVEL
        codecs = [ZstdCodec(level=level), Crc32cCodec()] if spec.uses_zstd else [Crc32cCodec()]
        group.create_array(
            spec.name,
            shape=(self.num_clips, *spec.item_shape),
            shards=(self.clips_per_shard, *spec.item_shape),
            chunks=(spec.clips_per_chunk, *spec.item_shape),
            dtype=spec.dtype,
            compressors=codecs,
            fill_value=spec.fill_value,
            dimension_names=("clip", *spec.axes),
            # "." puts all shards of an array into one folder; "/" would make a chain of folders for each.
            chunk_key_encoding={"name": "default", "separator": "."},
            attributes=dict(spec.attributes),
        )


def shard_file(spec: ArraySpec, shard: int) -> str:
    """Return the path of a shard file inside the store."""
    return f"{spec.name}/{'.'.join(['c', str(shard), *['0'] * len(spec.item_shape)])}"


def build_layout(
    canvas: Canvas,
    max_objects: int,
    label_specs: Mapping[str, LabelSpec],
    *,
    num_clips: int,
    clips_per_shard: int,
    zstd_level: int,
    motion_cell_px: int | None,
    store_id: str,
    truth: Sequence[str] = (),
    is_virtual: bool = False,
) -> Layout:
    """Return the layout of a store.

    Args:
        canvas: size of every clip.
        max_objects: most layers of a clip; a store of empty scenes still has one slot, which stays empty.
        label_specs: labels of the generator, by name.
        num_clips: clips of the store.
        clips_per_shard: clips of one shard; cut down to ``num_clips``, unless the store is virtual.
        zstd_level: level of the frames' compression.
        motion_cell_px: side of the cells of the motion, in pixels; None for a store without motion.
        truth: kinds of dense truth, see ``truth_arrays``.
        is_virtual: render the large arrays when they are read, instead of storing them.
        store_id: what the store's shards are sealed to.

    Raises:
        StoreError: a label's name cannot be a name in the store.
    """
    t, k = canvas.num_frames, max(1, max_objects)
    nan = float("nan")
    arrays = [
        ArraySpec("frames", "uint8", (t, canvas.height, canvas.width, 3), ("frame", "y", "x", "rgb"), 0, True),
        ArraySpec("boxes", "float32", (k, t, 4), ("object", "frame", "xyxy"), nan, False, {"unit": "px"}),
        ArraySpec("poses", "float32", (k, t, 6), ("object", "frame", "affine"), nan),
        ArraySpec("opacity", "float32", (k, t), ("object", "frame"), nan),
        ArraySpec("object", "int32", (k,), ("object",), NO_ASSET),
        ArraySpec("background", "int32", (), (), NO_ASSET),
        ArraySpec("generator", "int32", (), (), NO_ASSET),
        ArraySpec("camera", "float32", (t, 3, 3), ("frame", "row", "column")),
        *([] if motion_cell_px is None else [_motion_array(canvas, motion_cell_px)]),
        *truth_arrays(canvas, truth),
        *(_label_array(name, label_specs[name], k) for name in sorted(label_specs)),
    ]
    if is_virtual:
        arrays = [_without_pixels(spec) for spec in arrays]
        return Layout(num_clips, clips_per_shard, zstd_level, tuple(arrays), store_id)
    return Layout(num_clips, min(clips_per_shard, num_clips), zstd_level, tuple(arrays), store_id)


def _without_pixels(spec: ArraySpec) -> ArraySpec:
    return replace(spec, is_rendered=True) if spec.compressed else replace(spec, clips_per_chunk=CLIPS_PER_CHUNK)


def _motion_array(canvas: Canvas, cell_px: int) -> ArraySpec:
    meaning = (
        "mean (dx, dy) from this frame to the next of what is visible in the cell, weighted by visibility; NaN in the "
        "last frame and where more than 1/16 of the cell shows pictures that change from frame to frame; "
        "wrong by at most 1/512 px below 8 px, and by 1/2048 of the value above"
    )
    return ArraySpec(
        name="motion",
        dtype="float16",
        item_shape=motion_shape(canvas, cell_px),
        axes=("frame", "cell_y", "cell_x", "xy"),
        fill_value=float("nan"),
        compressed=True,
        attributes={"unit": "px", "cell_px": cell_px, "meaning": meaning},
    )


def _label_array(name: str, spec: LabelSpec, num_slots: int) -> ArraySpec:
    if not LABEL_NAME.fullmatch(name):
        raise StoreError(f"a label's name must be lower case letters, digits and underscores, got {name!r}")
    is_class = spec.kind == "class"
    per_object = spec.per == "object"
    return ArraySpec(
        name=f"labels/{name}",
        dtype="int32" if is_class else "float32",
        item_shape=(num_slots,) if per_object else (),
        axes=("object",) if per_object else (),
        fill_value=-1 if is_class else float("nan"),
        attributes=label_document(spec),
    )


def label_document(spec: LabelSpec) -> dict[str, Any]:
    """Return a label's meaning as plain values."""
    return {**asdict(spec), "classes": list(spec.classes)}
