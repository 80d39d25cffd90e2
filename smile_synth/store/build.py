"""Building one shard: sample, render, compress and write clip by clip, then publish it whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from smile_synth.errors import GeneratorError, SceneError, StoreError, repair
from smile_synth.generator.dataset import Dataset
from smile_synth.render import render_into
from smile_synth.store.clip_values import Values, empty_values, fill_clip
from smile_synth.store.compression import clip_compressor
from smile_synth.store.layout import ArraySpec, Layout, shard_file
from smile_synth.store.shard import ShardWriter
from smile_synth.store.workspace import Workspace


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
        StoreError: the shard could not be written.
    """
    try:
        with workspace.drafts(shard) as folder:
            drafts, receipt = draft_shard(dataset, layout, folder, shard, on_clip)
            workspace.publish(shard, drafts, receipt)
    except OSError as error:
        raise StoreError(writing_failed(error, f"shard {shard} of {workspace.store}")) from error


def draft_shard(
    dataset: Dataset, layout: Layout, folder: Path, shard: int, on_clip: Callable[[int], None]
) -> tuple[dict[str, Path], dict[str, Any]]:
    """Render one shard of every array into ``folder``.

    Returns:
        The files by their path inside the store; and the receipt, which has each file's size and CRC-32C.
    """
    drafts: dict[str, Path] = {}
    receipt: dict[str, Any] = {}
    values = empty_values(layout.arrays, len(layout.clips_of(shard)))
    for spec in layout.arrays:
        draft = folder / spec.name.replace("/", "-")
        drafts[shard_file(spec, shard)] = draft
        with ShardWriter(draft, layout.clips_per_shard) as writer:
            if spec.name == "frames":
                _write_frames(writer, dataset, layout, shard, values, on_clip)
            else:
                _write_values(writer, spec, values)
            writer.finish()
        receipt[spec.name] = {"nbytes": writer.nbytes, "crc32c": f"{writer.crc:08x}"}
    return drafts, receipt


def _write_frames(
    writer: ShardWriter,
    dataset: Dataset,
    layout: Layout,
    shard: int,
    values: Values,
    on_clip: Callable[[int], None],
) -> None:
    frames_THWC = np.empty(layout.array("frames").item_shape, np.uint8)
    compress = clip_compressor(layout.zstd_level, layout.array("frames").item_nbytes)
    names = dataset.generator_names
    for row, clip in enumerate(layout.clips_of(shard)):
        on_clip(clip)
        scene = dataset.sample(clip)
        try:
            boxes_KT4 = render_into(scene, frames_THWC)
            fill_clip(values, row, scene, boxes_KT4, names)
        except (SceneError, GeneratorError) as error:
            raise dataset.failure(clip, f"the scene cannot be rendered: {error}") from error
        writer.append(compress(frames_THWC))


def _write_values(writer: ShardWriter, spec: ArraySpec, values: Values) -> None:
    for item in values[spec.name]:
        writer.append(np.ascontiguousarray(item, dtype=np.dtype(spec.dtype).newbyteorder("<")).tobytes())


def writing_failed(error: OSError, what: str) -> str:
    """Return the message for a file that could not be written."""
    return (
        f"{what} could not be written: {error.strerror or error}; completed shards are safe: "
        f"{repair(error)} and run the same command again to go on"
    )
