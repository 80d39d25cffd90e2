"""Building one shard: sample, render, compress and write clip by clip, then publish it whole."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from smile_synth.errors import GeneratorError, SceneError, StoreError, repair
from smile_synth.generator.dataset import Dataset
from smile_synth.store.clip_values import DrawnClip, Values, empty_values, fill_clip
from smile_synth.store.compression import clip_compressor
from smile_synth.store.layout import SMALL_ZSTD_LEVEL, Layout, shard_file
from smile_synth.store.sample import ClipSample
from smile_synth.store.shard import ShardWriter
from smile_synth.store.spec import ArraySpec
from smile_synth.store.workspace import Receipt, Workspace

# Looks at a clip's number and its part of every array; raises where something is wrong.
Check = Callable[[int, Values], None]


def build_shard(
    dataset: Dataset,
    layout: Layout,
    workspace: Workspace,
    shard: int,
    on_clip: Callable[[int], None],
    check: Check | None = None,
) -> None:
    """Render one shard of every array and publish it; nothing is left of a shard that fails.

    Memory: one clip, and the small arrays of one shard. Of a virtual store every clip is drawn too: its boxes are tight
    around what is drawn.

    Args:
        dataset: where scenes come from.
        layout: of the store.
        workspace: of the store.
        shard: which.
        on_clip: called with a clip's number before it is made.
        check: looks at every clip that was made.

    Raises:
        GeneratorError: a scene could not be made.
        StoreError: the shard could not be written, or there is not enough memory for it.
    """
    try:
        with workspace.drafts(shard) as folder:
            drafts, receipt = draft_shard(dataset, layout, folder, shard, on_clip, check)
            workspace.publish(shard, drafts, receipt)
    except OSError as error:
        raise StoreError(writing_failed(error, f"shard {shard} of {workspace.store}")) from error
    except MemoryError as error:
        raise StoreError(out_of_memory(error, layout, f"shard {shard} of {workspace.store}")) from error


def draft_shard(
    dataset: Dataset,
    layout: Layout,
    folder: Path,
    shard: int,
    on_clip: Callable[[int], None],
    check: Check | None = None,
) -> tuple[dict[str, Path], Receipt]:
    """Render one shard of every array into ``folder``, and let ``check`` look at every clip.

    Returns:
        The files by their path inside the store; and the receipt, which has each file's size, seal and store, and for
        an array that is rendered when it is read, the digests of a sample of its clips.
    """
    drafts: dict[str, Path] = {}
    receipt: Receipt = {}
    values = empty_values(layout.arrays, len(layout.clips_of(shard)))
    with contextlib.ExitStack() as stack:
        writers = {}
        for spec in layout.stored:
            draft = drafts[shard_file(spec, shard)] = folder / spec.name.replace("/", "-")
            writers[spec.name] = stack.enter_context(ShardWriter(draft, layout.place(spec, shard)))
        sample = ClipSample(layout, shard)
        _write_clips(writers, dataset, layout, shard, values, sample, on_clip, check)
        for spec in layout.arrays:
            if spec.is_rendered:
                receipt[spec.name] = {"nbytes": 0, "seal": sample.seal(spec), "store": layout.store_id}
        for spec in layout.stored:
            if not spec.compressed:
                write_values(writers[spec.name], spec, values[spec.name])
            writers[spec.name].finish()
            writer = writers[spec.name]
            receipt[spec.name] = {"nbytes": writer.nbytes, "seal": writer.seal, "store": layout.store_id}
    return drafts, receipt


def _write_clips(
    writers: Mapping[str, ShardWriter],
    dataset: Dataset,
    layout: Layout,
    shard: int,
    values: Values,
    sample: ClipSample,
    on_clip: Callable[[int], None],
    check: Check | None,
) -> None:
    drawn = DrawnClip(layout)
    kept = [name for name in drawn.arrays if name in writers]
    compress = {name: clip_compressor(layout.zstd_level, drawn.arrays[name].nbytes) for name in kept}
    names = dataset.generator_names
    for row, clip in enumerate(layout.clips_of(shard)):
        on_clip(clip)
        scene = dataset.sample(clip)
        try:
            fill_clip(values, row, scene, drawn.draw(scene), names)
        except (SceneError, GeneratorError) as error:
            raise dataset.failure(clip, f"the scene cannot be rendered: {error}") from error
        sample.add(clip, drawn.arrays)
        if check is not None:
            check(clip, {**drawn.arrays, **{name: column[row] for name, column in values.items()}})
        for name in kept:
            writers[name].append(compress[name](drawn.arrays[name]))


def write_values(writer: ShardWriter, spec: ArraySpec, values: npt.NDArray[Any]) -> None:
    """Write the small array ``spec`` of a whole shard; ``values`` has a row for each clip."""
    dtype = np.dtype(spec.dtype).newbyteorder("<")
    if spec.clips_per_chunk == 1:
        for item in values:
            writer.append(np.ascontiguousarray(item, dtype=dtype).tobytes())
        return
    compressor = zstandard.ZstdCompressor(level=SMALL_ZSTD_LEVEL)
    for start in range(0, len(values), spec.clips_per_chunk):
        # A chunk is always whole, as Zarr has it: after the last clip it holds the fill value.
        chunk = np.full((spec.clips_per_chunk, *spec.item_shape), spec.fill_value, dtype=dtype)
        part = values[start : start + spec.clips_per_chunk]
        chunk[: len(part)] = part
        writer.append(compressor.compress(chunk.tobytes()))


def out_of_memory(error: MemoryError, layout: Layout, what: str) -> str:
    """Return what to say where ``what``, such as ``shard 3 of clips.zarr``, does not fit into memory."""
    clip_nbytes = sum(spec.item_nbytes for spec in layout.arrays)
    reason = f" ({error})" if str(error) else ""
    return (
        f"not enough memory to render {what}{reason}; one clip takes {clip_nbytes / 1e6:.3g} MB before compression: "
        f"free some memory, use fewer --workers, or make clips smaller; completed shards are safe: run the same "
        f"command again to resume"
    )


def writing_failed(error: OSError, what: str) -> str:
    """Return the message for a file that could not be written."""
    return (
        f"{what} could not be written: {error.strerror or error}; completed shards are safe: "
        f"{repair(error)} and run the same command again to resume"
    )
