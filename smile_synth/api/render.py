"""Rendering a recipe into a store."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from smile_synth.api.inputs import RecipeLike, as_recipe
from smile_synth.errors import RecipeError
from smile_synth.generator.dataset import Dataset
from smile_synth.machine.cores import num_cores
from smile_synth.recipe.recipe import Recipe
from smile_synth.scene import Scene
from smile_synth.store import Store
from smile_synth.store.space import check_space, clips_per_object
from smile_synth.store.storage import Location, locate
from smile_synth.store.writer import Engine, fill_store, finish_store, in_processes, in_this_process
from smile_synth.training.agreement import disagreements

LOG = logging.getLogger(__name__)


def render(
    recipe: RecipeLike,
    out: str | Location,
    *,
    overrides: Sequence[str] = (),
    workers: int | None = None,
    engine: Engine | None = None,
    virtual: bool = False,
) -> Store:
    """Render a recipe's clips into a store; called again after a kill, it resumes.

    Args:
        recipe: with a section ``dataset``; a bundled name, the path of a YAML file, or what ``load_recipe`` returned.
        out: folder or URL of the store: new, empty, unfinished or finished.
        overrides: ``key.sub=value`` each, over a recipe that is given by name or path.
        workers: processes; 0 renders in this process, None takes one per core.
        engine: what builds the shards instead, such as a cluster.
        virtual: keep no frames: they are rendered when they are read.

    Returns:
        The finished store.

    Raises:
        RecipeError: the recipe is not valid, or its own training could not use these clips.
        GeneratorError: a generator failed.
        StoreError: the path holds something else, cannot be written, or lacks room.

    Examples:
        >>> store = ss.render("demo", "eight.zarr", overrides=["dataset.clips=8"], workers=0)
        >>> len(store), store.seed
        (8, 0)
    """
    loaded = with_suiting_shards(as_recipe(recipe, overrides), locate(out))
    dataset = prepare(loaded, locate(out), is_virtual=virtual)
    chosen = engine or (in_this_process if workers == 0 else in_processes(workers or num_cores()))
    fill_store(dataset, out, recipe=loaded.resolved(), engine=chosen, is_virtual=virtual)
    return finish_store(out)


def with_suiting_shards(recipe: Recipe, out: Location) -> Recipe:
    """Return the recipe with larger shards for an object store, where it leaves their size open."""
    params = recipe.section("dataset")
    if isinstance(out, Path) or "clips_per_shard" in params.store.model_fields_set:
        return recipe
    store = params.store.model_copy(update={"clips_per_shard": clips_per_object(params)})
    return recipe.model_copy(update={"dataset": params.model_copy(update={"store": store})})


def prepare(recipe: Recipe, out: Location, *, is_virtual: bool = False) -> Dataset:
    """Return a recipe's dataset, with everything checked that can be checked before hours of rendering.

    Raises:
        SmileSynthError: generator, images, sections or disk space do not fit.
    """
    for found in disagreements(recipe):
        if found.needs_other_clips:
            raise RecipeError(f"recipe {recipe.name}: {found.text}; or take the section 'pretrain' out")
        LOG.warning("recipe %s: %s", recipe.name, found.text)
    dataset = Dataset.of(recipe)
    # A bucket has no end.
    if isinstance(out, Path) and not is_virtual:
        check_space(dataset, out)
    return dataset


def sample_scene(recipe: RecipeLike | Dataset, clip: int = 0, *, overrides: Sequence[str] = ()) -> Scene:
    """Return what a clip of a recipe shows, as data: background, camera, layers and labels.

    Args:
        recipe: with a section ``dataset``, as for ``render``; or a dataset, which is quicker for many clips: that of a
            recipe is built anew by each call.
        clip: number of the clip, from 0.
        overrides: ``key.sub=value`` each, over a recipe that is given by name or path.

    Raises:
        RecipeError: the recipe is not valid, or has no such clip.
        GeneratorError: the generator failed.

    Examples:
        >>> scene = ss.sample_scene("demo", clip=7)
        >>> str(scene.canvas), 1 <= len(scene.layers) <= 2
        ('8x32x32', True)
    """
    dataset = recipe if isinstance(recipe, Dataset) else Dataset.of(as_recipe(recipe, overrides))
    return dataset.sample(clip)
