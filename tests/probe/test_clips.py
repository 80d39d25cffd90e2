"""Clips to ask about: nothing is shared between pretraining, training and test, and clips are rendered once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smile_synth.errors import ProbeError
from smile_synth.generator.dataset import Dataset
from smile_synth.probe.clips import (
    StoreClips,
    assets_drawn,
    cached_store,
    check_nothing_shared,
    part_seed,
    probe_dataset,
)
from smile_synth.recipe.dataset import CanvasParams
from smile_synth.recipe.probe import ProbeParams
from smile_synth.recipe.recipe import load_recipe
from smile_synth.store import Store, render_store

CANVAS = CanvasParams(height=16, width=16, frames=2)


def params_of(recipe: str, clips: int = 48) -> ProbeParams:
    overrides = [f"probe.train_clips={clips}", f"probe.test_clips={clips}"]
    params: ProbeParams = load_recipe(recipe, overrides).section("probe")
    return params


def photographs_behind(store: Store) -> set[str]:
    """Names of the photographs that a store shows, as background or cut out as an object."""
    names = [name.split("/") for name in assets_drawn(store).values()]
    return {"/".join(parts[:2]) for parts in names if parts[1] != "drawn"}


@pytest.fixture(scope="module")
def pretraining(tmp_path_factory: pytest.TempPathFactory) -> Store:
    recipe = load_recipe("demo", ["dataset.clips=48", "dataset.canvas={height: 16, width: 16, frames: 2}"])
    path = tmp_path_factory.mktemp("pretraining") / "clips.zarr"
    return render_store(Dataset.of(recipe), path, recipe=recipe.resolved(), workers=0)


@pytest.mark.parametrize(("recipe", "source"), [("probe-motion", "straight"), ("probe-full", "accelerating")])
def test_nothing_leaks_between_pretraining_training_and_test(
    tmp_path: Path, pretraining: Store, recipe: str, source: str
) -> None:
    params = params_of(recipe)
    parts = [
        cached_store(probe_dataset(params, source, part, CANVAS, tmp_path), part, tmp_path, workers=1)
        for part in ("train", "test")
    ]
    stores = [pretraining, *parts]
    assert len({store.seed for store in stores}) == 3
    for drawn in (assets_drawn, photographs_behind):
        images = [set(drawn(store)) for store in stores]
        assert all(images)
        assert len(set.union(*images)) == sum(map(len, images))
    check_nothing_shared(source, *parts)


@pytest.mark.parametrize("recipe", ["probe-motion", "probe-full"])
def test_every_source_deals_its_images_out_anew(tmp_path: Path, recipe: str) -> None:
    params = params_of(recipe)
    for source in params.sources:
        train, test = (probe_dataset(params, source, part, CANVAS, tmp_path) for part in ("train", "test"))
        assert {row.digest for row in train.assets.rows}.isdisjoint(row.digest for row in test.assets.rows)


def test_seeds_differ_by_part_and_by_seed_of_the_probe() -> None:
    seeds = {part_seed(seed, part) for seed in range(50) for part in ("train", "test")}
    assert len(seeds) == 100


def test_shared_images_are_refused_and_named(tmp_path: Path) -> None:
    params = params_of("probe-motion")
    stores = []
    for seed in (1, 2):
        dataset = probe_dataset(params, "straight", "train", CANVAS, tmp_path)
        dataset = Dataset(dataset.params, seed=seed, folder=tmp_path)
        stores.append(cached_store(dataset, f"s{seed}", tmp_path, workers=1))
    with pytest.raises(ProbeError, match=r"'straight': training and test clips share \d+ images, such as 'builtin/"):
        check_nothing_shared("straight", *stores)
    with pytest.raises(ProbeError, match="share the seed 1"):
        check_nothing_shared("straight", stores[0], stores[0])


def test_clips_are_rendered_once_and_other_parameters_get_clips_of_their_own(tmp_path: Path) -> None:
    params = params_of("probe-motion", clips=16)
    dataset = probe_dataset(params, "straight", "train", CANVAS, tmp_path)
    first = cached_store(dataset, "straight-train", tmp_path, workers=1)
    times = {path: path.stat().st_mtime_ns for path in first.path.rglob("*") if path.is_file()}
    again = cached_store(dataset, "straight-train", tmp_path, workers=1)
    assert again.path == first.path
    assert {path: path.stat().st_mtime_ns for path in first.path.rglob("*") if path.is_file()} == times
    other = probe_dataset(params.model_copy(update={"seed": 5}), "straight", "train", CANVAS, tmp_path)
    assert cached_store(other, "straight-train", tmp_path, workers=1).path != first.path


def test_reversed_clips_run_backwards_and_the_others_do_not(tmp_path: Path) -> None:
    params = params_of("probe-motion", clips=16)
    store = cached_store(probe_dataset(params, "straight", "train", CANVAS, tmp_path), "x", tmp_path, workers=1)
    is_reversed = np.arange(16) % 2 == 0
    forward, mixed = StoreClips(store, "x"), StoreClips(store, "x", is_reversed)
    plain, turned = (np.concatenate(list(clips.batches(3, 5))) for clips in (forward, mixed))
    assert forward.digest != mixed.digest
    np.testing.assert_array_equal(turned[is_reversed[3:]], plain[is_reversed[3:], ::-1])
    np.testing.assert_array_equal(turned[~is_reversed[3:]], plain[~is_reversed[3:]])
