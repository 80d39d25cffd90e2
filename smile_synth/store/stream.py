"""Clips without a store: rendered from a recipe when they are read, without end and never the same twice."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

from smile_synth.errors import StoreError
from smile_synth.generator.dataset import Dataset
from smile_synth.recipe.dataset import DatasetParams
from smile_synth.recipe.recipe import Recipe, load_recipe
from smile_synth.store import document
from smile_synth.store.manifest import Manifest
from smile_synth.store.reader import Store
from smile_synth.store.rendering import Renderer

if TYPE_CHECKING:
    from smile_synth.store.root import Root

PREFIX = "stream:"
# As many as a recipe's ``dataset.clips`` can name.
MOST_CLIPS = 1_000_000_000
# What says how clips are kept, or how many, but not what they are.
NOT_OF_CLIPS = ("num_clips", "clips_per_shard", "zstd_level", "truth", "versions")


class Stream(Store):
    """The clips of a recipe, read as those of a store that has ``MOST_CLIPS`` of them and keeps none.

    Args:
        recipe: with a section ``dataset``; trusted, as one that is rendered.

    Attributes:
        epoch_clips: clips that count as an epoch: the recipe's ``dataset.clips``; None where it names none.
    """

    def __init__(self, recipe: Recipe) -> None:
        params: DatasetParams = recipe.section("dataset")
        self.epoch_clips = params.clips if "clips" in params.model_fields_set else None
        endless = params.model_copy(update={"clips": MOST_CLIPS})
        self._dataset = StreamDataset(endless, seed=recipe.seed, folder=recipe.folder, typed=recipe.typed)
        # It has no seals, and nobody asks for them: no file is read.
        manifest = cast("Root", Manifest.of(self._dataset, recipe.resolved(), is_virtual=True))
        super().__init__(Path(f"{PREFIX}{recipe.name}"), manifest, folder=recipe.folder, trust_code=True)

    def __repr__(self) -> str:
        return f"Stream({str(self.path)!r})"

    @cached_property
    def renderer(self) -> Renderer:
        """What renders the clips."""
        return Renderer(self._dataset, self.layout)

    @cached_property
    def digest(self) -> str:
        """SHA-256 that stands for recipe, seed, images and code: for every clip."""
        values = {name: value for name, value in self.manifest.what_makes_clips().items() if name not in NOT_OF_CLIPS}
        values["dataset"] = {k: v for k, v in values["dataset"].items() if k not in ("clips", "store")}
        return document.digest(document.encode({"stream": values}))

    def column(self, name: str) -> NoReturn:
        """Raise StoreError: no array of a stream is whole."""
        raise StoreError(f"{self.path} is a stream, which keeps no {name!r}; render its recipe into a store for that")


def open_stream(text: str) -> Stream:
    """Return the stream that is written ``stream:RECIPE``, with a bundled name or the path of a YAML file.

    Raises:
        SmileSynthError: there is no such recipe, or its dataset cannot be built.
    """
    return Stream(load_recipe(text.removeprefix(PREFIX)))


def epoch_clips(stores: Sequence[Store]) -> int | None:
    """Return the clips of an epoch: of all stores together, or as a stream counts them; None where it does not."""
    return sum(store.num_clips for store in stores) if not isinstance(stores[0], Stream) else stores[0].epoch_clips


class StreamDataset(Dataset):
    """A dataset without end; the command that repeats a clip says that the recipe has as many."""

    def repeat_command(self, clip: int) -> str:
        """Return the command that samples and renders one clip alone."""
        more = ["--set", f"dataset.clips={clip + 1}"]
        words = ["--seed", str(self.seed), "--clip", str(clip), *more, "--debug"]
        return f"smile-synth preview {self.typed} {shlex.join(words)}"
