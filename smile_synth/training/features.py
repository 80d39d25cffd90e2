"""Which cached features of a teacher a training reads instead of running it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from smile_synth.errors import TrainingError
from smile_synth.masking.grid import TokenGrid
from smile_synth.recipe.recipe import Recipe
from smile_synth.store import Store
from smile_synth.store.stream import Stream
from smile_synth.teachers.cache import CacheSource, FeatureCache


def find_features(
    recipe: Recipe, stores: Sequence[Store], grid: TokenGrid, device: torch.device
) -> tuple[tuple[FeatureCache, ...], str]:
    """Return the cached features of all stores, or none where the teacher is to be run.

    Args:
        recipe: with a section ``pretrain``.
        stores: what is trained on.
        grid: the token grid.
        device: where the teacher would work.

    Returns:
        One cache a store, or none; and where the features come from, for people.

    Raises:
        TrainingError: the recipe requires a cache that is missing or cannot be used.
        DamagedStoreError: a cache is damaged.
    """
    params = recipe.section("pretrain")
    teacher = params.teacher_or_default
    if teacher is None:
        return (), "none"
    name = f"{teacher.model_name} ({teacher.library})"
    if teacher.cache == "never":
        return (), f"{name}, run on every clip (teacher.cache is never)"
    if params.loading.augment.changes_anything:
        if teacher.cache == "require":
            raise TrainingError(
                "pretrain.teacher.cache is 'require', but loading.augment changes frames, whose features no cache "
                "holds: leave augment out, or set teacher.cache to 'auto'"
            )
        return (), f"{name}, run on every clip, since loading.augment changes frames"
    if any(isinstance(store, Stream) for store in stores):
        if teacher.cache == "require":
            raise TrainingError(
                "pretrain.teacher.cache is 'require', but a stream shows no clip twice, so nothing of it is cached: "
                "set teacher.cache to 'auto', or render the recipe into a store"
            )
        return (), f"{name}, run on every clip of the stream"
    sources = [CacheSource.of(store, teacher, grid, folder=recipe.folder, device=device) for store in stores]
    # Looked for one after the other: the first missing one decides.
    found: list[FeatureCache] = []
    for source in sources:
        cache = FeatureCache.find(source)
        if cache is None:
            command = f"smile-synth cache {source.store.path} --recipe {recipe.typed}"
            if teacher.cache == "require":
                raise TrainingError(
                    f"pretrain.teacher.cache is 'require', but {source.store.path} has no cached features of this "
                    f"teacher; write them with: {command}"
                )
            return (), f"{name}, run on every clip; to compute its features once: {command}"
        found.append(cache)
    return tuple(found), "cached features of " + "; ".join(sorted({cache.title for cache in found}))
