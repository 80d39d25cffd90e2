"""Building one shard: sample, render, compress and write clip by clip, then publish it whole."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from smile_synth.errors import GeneratorError, SceneError, StoreError, repair
from smile_synth.generator.dataset import Dataset
from smile_synth.store.clip_values import DrawnClip, Values, empty_values, fill_clip
from smile_synth.store.compression import clip_compressor
from smile_synth.store.layout import Layout, shard_file
from smile_synth.store.shard import ShardWriter
from smile_synth.store.spec import ArraySpec
from smile_synth.store.workspace import Receipt, Workspace


def build_shard(
    dataset: Dataset, layout: Layout, workspace: Workspace, shard: int, on_clip: Callable[[int], None]
) -> None:
    """Render one shard of every array and publish it; nothing is left of a shard that fails.

    Memory: one clip, and the small arrays of one shard.

    Args:
        dataset: where scenes come from.
        layout: of the store.
        workspace: of the store.
        shard: which.
        on_clip: called with a clip's number before it is made.

    Raises:
        GeneratorError: a scene could not be made.
        StoreError: the shard could not be written, or there is not enough memory for it.
    """
    try:
        with workspace.drafts(shard) as folder:
            drafts, receipt = draft_shard(dataset, layout, folder, shard, on_clip)
            workspace.publish(shard, drafts, receipt)
    except OSError as error:
        raise StoreError(writing_failed(error, f"shard {shard} of {workspace.store}")) from error
    except MemoryError as error:
        raise StoreError(_out_of_memory(error, layout, f"shard {shard} of {workspace.store}")) from error


def draft_shard(
    dataset: Dataset, layout: Layout, folder: Path, shard: int, on_clip: Callable[[int], None]
) -> tuple[dict[str, Path], Receipt]:
    """Render one shard of every array into ``folder``.

    Returns:
        The files by their path inside the store; and the receipt, which has each file's size and seal.
    """
    drafts: dict[str, Path] = {}
    receipt: Receipt = {}
    values = empty_values(layout.arrays, len(layout.clips_of(shard)))
    with contextlib.ExitStack() as stack:
        writers = {}
        for spec in layout.arrays:
            draft = drafts[shard_file(spec, shard)] = folder / spec.name.replace("/", "-")
            writers[spec.name] = stack.enter_context(ShardWriter(draft, layout.place(spec, shard)))
        _write_clips(writers, dataset, layout, shard, values, on_clip)
        for spec in layout.arrays:
            if not spec.compressed:
                _write_values(writers[spec.name], spec, values)
            writers[spec.name].finish()
            receipt[spec.name] = {"nbytes": writers[spec.name].nbytes, "seal": writers[spec.name].seal}
    return drafts, receipt


def _write_clips(
    writers: Mapping[str, ShardWriter],
    dataset: Dataset,
    layout: Layout,
    shard: int,
    values: Values,
    on_clip: Callable[[int], None],
) -> None:
    drawn = DrawnClip(layout)
    compress = {name: clip_compressor(layout.zstd_level, array.nbytes) for name, array in drawn.arrays.items()}
    names = dataset.generator_names
    for row, clip in enumerate(layout.clips_of(shard)):
        on_clip(clip)
        scene = dataset.sample(clip)
        try:
            fill_clip(values, row, scene, drawn.draw(scene), names)
        except (SceneError, GeneratorError) as error:
            raise dataset.failure(clip, f"the scene cannot be rendered: {error}") from error
        for name, array in drawn.arrays.items():
            writers[name].append(compress[name](array))


def _write_values(writer: ShardWriter, spec: ArraySpec, values: Values) -> None:
    for item in values[spec.name]:
        writer.append(np.ascontiguousarray(item, dtype=np.dtype(spec.dtype).newbyteorder("<")).tobytes())


def _out_of_memory(error: MemoryError, layout: Layout, what: str) -> str:
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
