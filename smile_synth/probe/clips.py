"""Clips to ask about: rendered from held-out photographs and objects, cached as stores, read in batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from smile_synth.errors import ProbeError
from smile_synth.generator.dataset import Dataset
from smile_synth.randomness import stream
from smile_synth.recipe.dataset import CanvasParams, DatasetParams, StoreParams
from smile_synth.recipe.probe import ProbeParams
from smile_synth.store import Store, render_store
from smile_synth.store.manifest import Manifest

Part = Literal["train", "test"]
PARTS: tuple[Part, Part] = ("train", "test")
NO_ASSET = -1
CLIPS_WORTH_PROCESSES = 2048


class ClipSource(Protocol):
    """Examples that features are computed of, in a fixed order; views of one clip are adjacent."""

    @property
    def name(self) -> str:
        """What to call them in the progress and in file names."""

    @property
    def digest(self) -> str:
        """Changes whenever a pixel could."""

    @property
    def groups(self) -> npt.NDArray[np.int64]:
        """int64 (examples,): the number of the clip or video that each example is a view of."""

    @property
    def scenes(self) -> npt.NDArray[np.int64] | None:
        """int64 (examples,): the photograph behind each example; None where that is not known."""

    def batches(self, first: int, batch_size: int) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield uint8 (B, T, H, W, 3) from example ``first`` to the end, ``batch_size`` at a time."""


class StoreClips:
    """Clips of a store, one view each, some of them played backwards if asked.

    Args:
        store: a finished store.
        name: what to call them.
        is_reversed: bool (clips,), or None where every clip runs forward.
    """

    def __init__(self, store: Store, name: str, is_reversed: npt.NDArray[np.bool_] | None = None) -> None:
        self.store, self._name, self._is_reversed = store, name, is_reversed

    @property
    def name(self) -> str:
        """What to call them in the progress and in file names."""
        return self._name

    @property
    def digest(self) -> str:
        """Digest of the store's bytes, and of what is played backwards."""
        reversed_clips = [] if self._is_reversed is None else np.flatnonzero(self._is_reversed).tolist()
        return digest_of({"store": self.store.digest, "reversed": reversed_clips})

    @property
    def groups(self) -> npt.NDArray[np.int64]:
        """Every clip is a group of its own."""
        return np.arange(self.store.num_clips)

    @property
    def scenes(self) -> npt.NDArray[np.int64]:
        """The asset row of each clip's background."""
        return self.store.column("background").astype(np.int64)

    def batches(self, first: int, batch_size: int) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield uint8 (B, T, H, W, 3) from clip ``first`` to the end, ``batch_size`` at a time."""
        for start in range(first, self.store.num_clips, batch_size):
            clips = np.arange(start, min(start + batch_size, self.store.num_clips))
            frames_BTHWC = self.store.read_frames(clips)
            if self._is_reversed is not None:
                backwards = self._is_reversed[clips]
                frames_BTHWC[backwards] = frames_BTHWC[backwards, ::-1]
            yield frames_BTHWC


def digest_of(content: object) -> str:
    """Return the first 16 hexadecimal digits of the BLAKE2b digest of plain values, whatever the order of keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def part_seed(seed: int, part: Part) -> int:
    """Return the seed of the clips of one part, another one for each part."""
    return int(stream(seed, f"probe-{part}").integers(2**62))


def probe_dataset(params: ProbeParams, source: str, part: Part, canvas: CanvasParams, recipe_folder: Path) -> Dataset:
    """Return the dataset of one part of a source.

    Args:
        params: names sources, seed and numbers of clips.
        source: which source.
        part: ``train`` or ``test``.
        canvas: size of the clips.
        recipe_folder: what relative paths start from.
    """
    chosen = params.sources[source]
    dataset = DatasetParams(
        clips=params.train_clips if part == "train" else params.test_clips,
        canvas=canvas,
        generator=chosen.generator,
        params=chosen.params,
        assets=chosen.assets.model_copy(update={"split": f"probe-{part}"}),
        store=StoreParams(),
    )
    return Dataset(dataset, seed=part_seed(params.seed, part), folder=recipe_folder)


def cached_store(dataset: Dataset, name: str, folder: Path, *, workers: int) -> Store:
    """Return the store of a dataset, rendered on first use; an unfinished one is resumed.

    Args:
        dataset: what to render.
        name: how its folder begins; the digest of the dataset follows.
        folder: where such stores lie.
        workers: processes that render.
    """
    recipe = {"name": name, "seed": dataset.seed, "dataset": dataset.params.model_dump(mode="json")}
    # By all that decides over a byte: one cache serves a recipe wherever it is called from, and never old clips.
    path = folder / f"{name}-{Manifest.of(dataset, recipe).store_id}.zarr"
    folder.mkdir(parents=True, exist_ok=True)
    # A few clips are rendered before new processes have started.
    workers = workers if len(dataset) >= CLIPS_WORTH_PROCESSES else 0
    return render_store(dataset, path, recipe=recipe, workers=workers, label=f"render {name}")


def assets_drawn(store: Store) -> dict[str, str]:
    """Return digest -> name of every photograph and object that a clip of the store shows."""
    rows = np.unique(np.concatenate([store.column("object").ravel(), store.column("background").ravel()]))
    drawn = [store.assets[row] for row in rows if row != NO_ASSET]
    return {row.digest: row.name for row in drawn}


def check_nothing_shared(source: str, train: Store, test: Store) -> None:
    """Refuse a source whose training and test clips share a seed, a photograph or an object.

    Raises:
        ProbeError: something is shared; the message names it.
    """
    if train.seed == test.seed:
        raise ProbeError(f"source {source!r}: training and test clips share the seed {train.seed}")
    in_train, in_test = assets_drawn(train), assets_drawn(test)
    shared = sorted(in_test[digest] for digest in set(in_train) & set(in_test))
    if shared:
        raise ProbeError(
            f"source {source!r}: training and test clips share {len(shared)} images, such as {shared[0]!r}; "
            "remove the duplicates from the asset folders"
        )
