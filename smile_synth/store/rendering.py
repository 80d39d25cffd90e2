"""Clips rendered when they are read: one array of one clip at a time, from any thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from dataclasses import replace
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


class Renderer:
    """Renders the large arrays of clips.

    Args:
        dataset: where the clips come from.
        layout: which arrays there are.
    """

    def __init__(self, dataset: Dataset, layout: Layout) -> None:
        self.dataset, self._layout = dataset, layout
        self._sampling = threading.Lock()
        self._kept = threading.local()

    def reader(self, spec: ArraySpec) -> RenderedReader:
        """Return what renders single clips of an array."""
        return RenderedReader(self, spec)

    def draw(self, clip: int, name: str) -> npt.NDArray[Any]:
        """Return one clip's part of an array, in memory that this thread's next call may overwrite.

        Raises:
            GeneratorError: the clip cannot be rendered; names clip, seed and how to repeat it.
        """
        # Frames and motion come from one drawing, since who reads one mostly reads the other; truth costs far more.
        names = (FRAMES, name) if name.startswith("truth/") else (FRAMES, "motion")
        kept = self._kept.__dict__.setdefault("drawings", {})
        if names not in kept:
            kept[names] = _Drawing(self._layout, names)
        drawing: _Drawing = kept[names]
        if drawing.clip != clip:
            drawing.clip = None
            self.draw_all(clip, drawing.drawn)
            drawing.clip = clip
        return drawing.drawn.arrays[name]

    def draw_all(self, clip: int, drawn: DrawnClip) -> None:
        """Draw every array that ``drawn`` has.

        Raises:
            GeneratorError: the clip cannot be rendered; names clip, seed and how to repeat it.
        """
        # Generators and their images are made for one thread; drawing is not, and is most of the work.
        with self._sampling:
            scene = self.dataset.sample(clip)
        try:
            drawn.draw(scene)
        except (SceneError, GeneratorError) as error:
            raise self.dataset.failure(clip, f"the scene cannot be rendered: {error}") from error


class _Drawing:
    """Memory for some large arrays of a clip, and which clip is in it."""

    def __init__(self, layout: Layout, names: Iterable[str]) -> None:
        arrays = tuple(spec for spec in layout.arrays if spec.name in names)
        self.drawn = DrawnClip(replace(layout, arrays=arrays))
        self.clip: int | None = None


class RenderedReader:
    """Renders single clips of one array, from any thread.

    Args:
        renderer: of the clips.
        spec: which array.
    """

    def __init__(self, renderer: Renderer, spec: ArraySpec) -> None:
        self.spec = spec
        self._renderer = renderer

    def read_into(self, clip: int, out: npt.NDArray[Any]) -> None:
        """Render one clip's part of the array into ``out``.

        Args:
            clip: 0 to number of clips - 1.
            out: C-contiguous, of the array's type and item shape.

        Raises:
            GeneratorError: the clip cannot be rendered; names clip, seed and how to repeat it.
        """
        out[...] = self._renderer.draw(clip, self.spec.name)


def renderer_of(path: Location, root: Root, folder: Path, *, trust_code: bool) -> Renderer:
    """Return what renders the clips of a virtual store, held to the digests that were made with it.

    Args:
        path: of the store.
        root: what it says of itself.
        folder: where relative paths of its recipe start.
        trust_code: let the recipe run generators that no installed package registers.

    Raises:
        StoreError: the clips cannot be rendered as they were; says what is another now.
        UntrustedCodeError: the recipe names code that may not be run.
    """
    dataset = stored_dataset(path, root, folder, trust_code=trust_code)
    renderer, now = Renderer(dataset, root.layout), Manifest.of(dataset, root.recipe)
    difference = first_difference(root, now)
    if difference and differs_beyond_code(root, now):
        raise StoreError(
            f"{path} is virtual, and its clips cannot be rendered as they were: {difference}; change that back, or "
            f"render the store again"
        )
    if difference:
        _prove(path, root, renderer, difference)
    return renderer


def _prove(path: Location, root: Root, renderer: Renderer, difference: str) -> None:
    num_shards = root.layout.num_shards
    chosen = sorted({int(place) for place in np.linspace(0, num_shards - 1, min(SHARDS_TO_PROVE, num_shards))})
    for shard in chosen:
        for array, clip in differing_clips(renderer, root, shard):
            raise StoreError(
                f"{path} is virtual, and its clips are no longer rendered as they were (array {array}, clip {clip}): "
                f"{difference}; install what it was made with, or render the store again"
            )
    LOG.warning("%s: %s; a sample of its clips still has the same bytes", path, difference)


def differing_clips(renderer: Renderer, root: Root, shard: int) -> list[tuple[str, int]]:
    """Return array and clip of every sampled clip of a shard that is not rendered with the values that it had."""
    sample, drawn = ClipSample(root.layout, shard), DrawnClip(root.layout)
    for clip in sample.clips:
        renderer.draw_all(clip, drawn)
        sample.add(clip, drawn.arrays)
    return sample.differing({name: seals[shard] for name, seals in root.shard_seals.items()})
