"""Recipes and stores as people give them: by name, by path, or ready."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from smile_synth.errors import RecipeError
from smile_synth.recipe.recipe import Recipe, load_recipe
from smile_synth.store import Store
from smile_synth.store.reader import StoreLike
from smile_synth.store.storage import Location, StoreUrl
from smile_synth.store.stream import PREFIX, open_stream

RecipeLike = Recipe | str | Path


def as_recipe(recipe: RecipeLike, overrides: Sequence[str] = ()) -> Recipe:
    """Return a recipe that is named or given.

    Raises:
        RecipeError: it is not valid, or overrides are given for a recipe that is loaded already.
    """
    if not isinstance(recipe, Recipe):
        return load_recipe(recipe, overrides)
    if overrides:
        raise RecipeError("overrides go into load_recipe, got them with a recipe that is loaded already")
    return recipe


def as_stores(data: StoreLike | Iterable[StoreLike]) -> list[Store]:
    """Return one or several stores, opened; ``stream:RECIPE`` is the stream of a recipe, without a store.

    Raises:
        StoreError: there is none, or it is unfinished.
        RecipeError: there is no such recipe.
    """
    several = [data] if isinstance(data, Store | str | Path | StoreUrl) else list(data)
    return [store if isinstance(store, Store) else _opened(store) for store in several]


def _opened(data: str | Location) -> Store:
    return open_stream(data) if isinstance(data, str) and data.startswith(PREFIX) else Store.open(data)
