"""The clips that the store's and the loader's benchmarks work on: 16x224x224, two objects of SMILE's sizes."""

from __future__ import annotations

from pathlib import Path

from smile_synth.generator.dataset import Dataset
from smile_synth.recipe.recipe import Recipe, parse_recipe
from smile_synth.store import Store, render_store

# Photographs and cut-outs that come with the package, so that anybody gets the same store.
VALUES = {"name": "published", "seed": 0, "dataset": {"generator": "cutouts", "params": {"num_objects": [2, 2]}}}


def published_recipe(clips: int, *, zstd_level: int = -4, clips_per_shard: int = 64) -> Recipe:
    """Return the recipe of ``clips`` clips."""
    store = {"zstd_level": zstd_level, "clips_per_shard": clips_per_shard}
    dataset = {**VALUES["dataset"], "clips": clips, "store": store}  # type: ignore[dict-item]
    return parse_recipe({**VALUES, "dataset": dataset}, folder=Path(), origin="benchmark")


def published_store(path: str | Path, clips: int, *, workers: int) -> Store:
    """Render the store of ``clips`` clips, or open the one that is there."""
    recipe = published_recipe(clips)
    return render_store(Dataset.of(recipe), path, recipe=recipe.resolved(), workers=workers)
