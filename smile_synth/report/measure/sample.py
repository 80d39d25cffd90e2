"""Which clips a report looks at, and how they are read: in batches, ahead of use, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from smile_synth.randomness import stream
from smile_synth.store import Store

BATCH_NBYTES = 64 * 2**20
MAX_BATCH_CLIPS = 64


@dataclass(frozen=True, eq=False)
class ClipBatch:
    """Some clips of a store.

    Args:
        clips_B: numbers of the clips in the store.
        frames_BTHWC: uint8.
        boxes_BKT4, poses_BKT6, opacity_BKT: float32, as in the store.
        object_BK, background_B, generator_B: int32 rows of the asset and generator tables.
        camera_BT33: float32, identity where the camera stands still.
        labels: by name, (B,) or (B, K).
    """

    clips_B: npt.NDArray[np.int64]
    frames_BTHWC: npt.NDArray[np.uint8]
    boxes_BKT4: npt.NDArray[np.float32]
    poses_BKT6: npt.NDArray[np.float32]
    opacity_BKT: npt.NDArray[np.float32]
    object_BK: npt.NDArray[np.int32]
    background_B: npt.NDArray[np.int32]
    generator_B: npt.NDArray[np.int32]
    camera_BT33: npt.NDArray[np.float32]
    labels: dict[str, npt.NDArray[Any]]


def choose_clips(
    num_clips: int, most: int | None, *, seed: int, purpose: str = "report clips"
) -> npt.NDArray[np.int64]:
    """Return the clips to look at, in rising order and without repetition.

    Args:
        num_clips: clips there are.
        most: how many to look at; None for all.
        seed: of the choice.
        purpose: different purposes choose independently.
    """
    if most is None or most >= num_clips:
        return np.arange(num_clips)
    return np.sort(stream(seed, purpose).choice(num_clips, most, replace=False))


def read_batch(store: Store, clips_B: npt.NDArray[np.int64]) -> ClipBatch:
    """Read some clips with everything the store says of them.

    Args:
        store: finished.
        clips_B: numbers of clips.

    Raises:
        DamagedStoreError: a chunk is damaged; names array, shard and clip.
    """
    return ClipBatch(
        clips_B=clips_B,
        frames_BTHWC=store.read_frames(clips_B),
        boxes_BKT4=_read(store, "boxes", clips_B),
        poses_BKT6=_read(store, "poses", clips_B),
        opacity_BKT=_read(store, "opacity", clips_B),
        object_BK=_read(store, "object", clips_B),
        background_B=_read(store, "background", clips_B),
        generator_B=_read(store, "generator", clips_B),
        camera_BT33=_read(store, "camera", clips_B),
        labels={name: _read(store, f"labels/{name}", clips_B) for name in store.label_specs},
    )


def read_batches(store: Store, clips: npt.NDArray[np.int64]) -> Iterator[ClipBatch]:
    """Yield clips in batches of about 64 MiB of frames, reading one batch ahead.

    Args:
        store: finished.
        clips: numbers of clips.

    Raises:
        DamagedStoreError: a chunk is damaged; names array, shard and clip.
    """
    clip_nbytes = store.layout.array("frames").item_nbytes
    size = max(1, min(MAX_BATCH_CLIPS, BATCH_NBYTES // clip_nbytes))
    parts = [clips[start : start + size] for start in range(0, len(clips), size)]
    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(read_batch, store, parts[0]) if parts else None
        for part in [*parts[1:], None]:
            assert ahead is not None
            batch = ahead.result()
            ahead = None if part is None else reader.submit(read_batch, store, part)
            yield batch


def _read(store: Store, name: str, clips_B: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Read single clips of a small array: the whole column may be larger than memory."""
    return store.rows(name, clips_B.tolist())
