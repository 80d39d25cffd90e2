"""The large arrays of a virtual store, rendered from its recipe when they are read."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from smile_synth.errors import GeneratorError, SceneError, StoreError
from smile_synth.generator.dataset import Dataset
from smile_synth.store.clip_values import DrawnClip
from smile_synth.store.layout import Layout
from smile_synth.store.manifest import Manifest, differs_beyond_code, first_difference
from smile_synth.store.origin import stored_dataset
from smile_synth.store.root import Root
from smile_synth.store.sample import ClipSample
from smile_synth.store.spec import ArraySpec
from smile_synth.store.storage import Location

# Shards whose sampled clips must come out as they were, before other code or packages are taken for harmless.
SHARDS_TO_PROVE = 8
FRAMES = "frames"
LOG = logging.getLogger(__name__)


class ClipReader(Protocol):
    """What reads single clips of one array, from any thread."""

    spec: ArraySpec

    def read_into(self, clip: int, out: npt.NDArray[Any]) -> None:
        """Read one clip's part of the array into ``out``, C-contiguous, of its type and item shape."""


class Rendering:
    """Renders the clips of a virtual store, and is held to the digests that were made with it.

    Args:
        path: of the store.
        root: what it says of itself.
        folder: where relative paths of its recipe start.
        trust_code: let the recipe run generators that no installed package registers.
    """

    def __init__(self, path: Location, root: Root, *, folder: Path, trust_code: bool) -> None:
        self._path, self._root, self._folder = path, root, folder
        self._trusts_code = trust_code
        self._sampling = threading.Lock()
        self._kept = threading.local()

    @cached_property
    def dataset(self) -> Dataset:
        """Where the clips come from.

        Raises:
            StoreError: they cannot be rendered as they were; says what is another now.
            UntrustedCodeError: the recipe names code that may not be run.
        """
        with self._sampling:
            dataset = stored_dataset(self._path, self._root, self._folder, trust_code=self._trusts_code)
        now = Manifest.of(dataset, self._root.recipe)
        difference = first_difference(self._root, now)
        if difference and differs_beyond_code(self._root, now):
            raise StoreError(
                f"{self._path} is virtual, and its clips cannot be rendered as they were: {difference}; "
                f"change that back, or render the store again"
            )
        if difference:
            self._prove(dataset, difference)
        return dataset

    def reader(self, spec: ArraySpec) -> RenderedReader:
        """Return what renders single clips of an array; everything that can be checked before is checked here.

        Raises:
            StoreError: they cannot be rendered as they were.
            UntrustedCodeError: the recipe names code that may not be run.
        """
        assert len(self.dataset) == self._root.num_clips
        return RenderedReader(self, spec)

    def differing(self, shard: int) -> list[tuple[str, int]]:
        """Return array and clip of every sampled clip of a shard that is rendered with other values than it was."""
        return self._differing(self.dataset, shard)

    def draw(self, clip: int, name: str) -> npt.NDArray[Any]:
        """Return one clip's part of an array, in memory that this thread's next call may overwrite.

        Raises:
            GeneratorError: the clip cannot be rendered; names clip, seed and how to repeat it.
        """
        # Frames and motion come from one drawing, since who reads one mostly reads the other; truth costs far more.
        names = (FRAMES, name) if name.startswith("truth/") else (FRAMES, "motion")
        kept = self._kept.__dict__.setdefault("drawings", {})
        drawing = kept.setdefault(names, _Drawing(self._root.layout, names))
        if drawing.clip != clip:
            drawing.clip = None
            self._draw(self.dataset, clip, drawing.drawn)
            drawing.clip = clip
        values: npt.NDArray[Any] = drawing.drawn.arrays[name]
        return values

    def _draw(self, dataset: Dataset, clip: int, drawn: DrawnClip) -> None:
        # Generators and their images are made for one thread; drawing is not, and is most of the work.
        with self._sampling:
            scene = dataset.sample(clip)
        try:
            drawn.draw(scene)
        except (SceneError, GeneratorError) as error:
            raise dataset.failure(clip, f"the scene cannot be rendered: {error}") from error

    def _prove(self, dataset: Dataset, difference: str) -> None:
        num_shards = self._root.layout.num_shards
        chosen = sorted({int(place) for place in np.linspace(0, num_shards - 1, min(SHARDS_TO_PROVE, num_shards))})
        for shard in chosen:
            for array, clip in self._differing(dataset, shard):
                raise StoreError(
                    f"{self._path} is virtual, and its clips are no longer rendered as they were (array {array}, clip "
                    f"{clip}): {difference}; install what it was made with, or render the store again"
                )
        LOG.warning("%s: %s; a sample of its clips still has the same bytes", self._path, difference)

    def _differing(self, dataset: Dataset, shard: int) -> list[tuple[str, int]]:
        layout = self._root.layout
        sample, drawn = ClipSample(layout, shard), DrawnClip(layout)
        for clip in sample.clips:
            self._draw(dataset, clip, drawn)
            sample.add(clip, drawn.arrays)
        return sample.differing({name: seals[shard] for name, seals in self._root.shard_seals.items()})


class _Drawing:
    """Memory for some large arrays of a clip, and which clip is in it."""

    def __init__(self, layout: Layout, names: Iterable[str]) -> None:
        arrays = tuple(spec for spec in layout.arrays if spec.name in names)
        self.drawn = DrawnClip(replace(layout, arrays=arrays))
        self.clip: int | None = None


class RenderedReader:
    """Renders single clips of one array of a virtual store, from any thread.

    Args:
        rendering: of the store.
        spec: which array.
    """

    def __init__(self, rendering: Rendering, spec: ArraySpec) -> None:
        self.spec = spec
        self._rendering = rendering

    def read_into(self, clip: int, out: npt.NDArray[Any]) -> None:
        """Render one clip's part of the array into ``out``.

        Args:
            clip: 0 to number of clips - 1.
            out: C-contiguous, of the array's type and item shape.

        Raises:
            GeneratorError: the clip cannot be rendered; names clip, seed and how to repeat it.
            StoreError: the store's clips cannot be rendered as they were.
        """
        out[...] = self._rendering.draw(clip, self.spec.name)
