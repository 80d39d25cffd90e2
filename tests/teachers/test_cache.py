"""Cached features of a teacher: what they cost in exactness, when they are used, and what becomes of damaged ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from tiny import TinyDataset
from tiny_training import run_tiny, timeless_rows, tiny_recipe, tiny_store
from typer.testing import CliRunner

from smile_synth.cli import app
from smile_synth.errors import DamagedStoreError, SmileSynthError, StoreError, TrainingError
from smile_synth.loader.loader import Loader
from smile_synth.masking.grid import TokenGrid
from smile_synth.recipe.recipe import Recipe
from smile_synth.store import Store, render_store
from smile_synth.teachers.cache import CacheSource, FeatureCache, Precision
from smile_synth.teachers.cache_writer import StoredFeatures, write_cache
from smile_synth.teachers.standardise import standardise
from smile_synth.teachers.teacher import Teacher, build_teacher
from smile_synth.training import preflight

CPU = torch.device("cpu")
TEACHER = {"library": "efficientnet_lite0", "pretrained": "random", "layer": "blocks.0", "image_size": 32}


def feature_recipe(**changes: Any) -> Recipe:
    return tiny_recipe(target={"kind": "features"}, teacher=TEACHER | changes.pop("teacher", {}), **changes)


def source_of(store: Store, recipe: Recipe) -> CacheSource:
    params = recipe.section("pretrain")
    student = params.student
    grid = TokenGrid.of(store.canvas, tubelet_size=student.tubelet_size, patch_size=student.patch_size)
    return CacheSource.of(store, params.teacher_or_default, grid, folder=Path.cwd(), device=CPU)


def teacher_of(store: Store, recipe: Recipe) -> Teacher:
    return build_teacher(recipe.section("pretrain").teacher_or_default, source_of(store, recipe).grid)


def cached(store: Store, recipe: Recipe, dtype: Precision = "float16") -> FeatureCache:
    return write_cache(source_of(store, recipe), lambda: teacher_of(store, recipe), dtype=dtype, clips_at_once=3)[0]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tiny_store(tmp_path)


@pytest.fixture
def no_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to build a teacher for training fails."""

    def refuse(*_: object, **__: object) -> Teacher:
        raise AssertionError("the teacher was built")

    monkeypatch.setattr(preflight, "build_teacher", refuse)


def losses(out: Path) -> list[float]:
    return [row["loss"] for row in timeless_rows(out)]


@pytest.mark.parametrize(("dtype", "largest_error"), [("float16", 1e-3), ("int8", 0.05)])
def test_stored_features_are_the_teachers_within_the_stated_error(
    store: Store, dtype: Precision, largest_error: float
) -> None:
    recipe = feature_recipe()
    cache, teacher = cached(store, recipe, dtype), teacher_of(store, recipe)
    wanted = standardise(teacher(torch.from_numpy(store.read_frames(range(12)))))
    read = np.empty((12, *cache.shape), cache.dtype)
    for clip in range(12):
        cache.read_into(clip, read[clip])
    found = standardise(torch.from_numpy(read))
    error = float((found - wanted).square().sum().sqrt() / wanted.square().sum().sqrt())
    assert error == pytest.approx(cache.root.relative_error, rel=0.02)
    assert 0 < error < largest_error


@pytest.mark.parametrize(
    ("dtype", "atol", "changes"),
    [("float16", 2e-3, {"mask": {"masks_per_clip": 2}, "runtime": {"micro_batch": 1}}), ("int8", 0.05, {})],
)
@pytest.mark.usefixtures("no_teacher")
def test_losses_are_those_of_the_teacher_within_the_error(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dtype: Precision,
    atol: float,
    changes: dict[str, Any],
) -> None:
    recipe = feature_recipe(**changes)
    with monkeypatch.context() as allowing:
        allowing.setattr(preflight, "build_teacher", build_teacher)
        run_tiny(store, tmp_path / "run", recipe)
    cached(store, recipe, dtype)
    run_tiny(store, tmp_path / "cached", recipe)
    assert losses(tmp_path / "cached") == pytest.approx(losses(tmp_path / "run"), abs=atol)
    assert "teacher: cached features of tf_efficientnet_lite0" in (tmp_path / "cached" / "log.txt").read_text()


def test_features_of_a_store_in_a_bucket_lie_beside_it(store: Store, tmp_path: Path) -> None:
    dataset = TinyDataset(clips=12, shard=4, size=32, frames=4)
    remote = render_store(dataset, f"memory://{tmp_path.name}/clips.zarr", recipe={})
    recipe = feature_recipe()
    ours, theirs = cached(store, recipe, "int8"), cached(remote, recipe, "int8")
    assert str(theirs.path) == f"memory://{tmp_path.name}/clips.features-{theirs.source.digest[:12]}.zarr"
    assert theirs.is_sound()
    found = FeatureCache.find(source_of(remote, recipe))
    assert found is not None
    for clip in range(12):
        values_ND = np.empty((2, *ours.shape), np.float32)
        ours.read_into(clip, values_ND[0])
        found.read_into(clip, values_ND[1])
        np.testing.assert_array_equal(values_ND[0], values_ND[1])


def test_loader_reads_every_clips_own_features(store: Store) -> None:
    cache = cached(store, feature_recipe())
    expected_ND = np.empty(cache.shape, np.float16)
    with Loader([store], batch_size=3, seed=0, rank=1, world_size=3, features=[cache]) as loader:
        for batch, _ in zip(loader, range(4), strict=False):
            assert batch.features_BND is not None
            cache.read_into(int(batch.clips_B[0]), expected_ND)
            np.testing.assert_array_equal(batch.features_BND[0].numpy(), expected_ND)


def test_any_zarr_library_reads_the_cache(store: Store) -> None:
    cache = cached(store, feature_recipe(), "int8")
    group = zarr.open_group(str(cache.path), mode="r")
    features, scale = group["features"], group["scale"]
    assert isinstance(features, zarr.Array)
    assert isinstance(scale, zarr.Array)
    assert features.chunks[0] == 1
    assert features.shards is not None
    assert features.shards[0] == 4
    cache.read_into(7, read_ND := np.empty(cache.shape, np.float32))
    np.testing.assert_array_equal(np.asarray(features[7]) * np.asarray(scale[7]), read_ND)


@pytest.mark.parametrize("change", [{"layer": "blocks.1"}, {"frames": "average"}, {"normalisation": "clip"}])
def test_the_cache_of_another_teacher_is_not_used(store: Store, change: dict[str, Any]) -> None:
    cached(store, feature_recipe())
    assert FeatureCache.find(source_of(store, feature_recipe())) is not None
    assert FeatureCache.find(source_of(store, feature_recipe(teacher=change))) is None


def test_the_cache_of_another_store_is_not_used(store: Store, tmp_path: Path) -> None:
    recipe = feature_recipe()
    cache = cached(store, recipe)
    store.path.rename(tmp_path / "old.zarr")
    other = tiny_store(tmp_path, seed=8)
    assert FeatureCache.find(source_of(other, recipe)) is None
    # Nor where somebody gives it the other's name.
    cache.path.rename(source_of(other, recipe).path)
    with pytest.raises(DamagedStoreError, match=r"another store or teacher.* smile-synth cache"):
        FeatureCache.find(source_of(other, recipe))


def test_augmented_frames_are_seen_by_the_teacher(store: Store, tmp_path: Path) -> None:
    recipe = feature_recipe(loading={"augment": {"flip_probability": 0.5}})
    cached(store, recipe)
    run_tiny(store, tmp_path / "run", recipe)
    assert "run on every clip, since loading.augment changes frames" in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, r"has no cached features of this teacher; write them with: smile-synth cache"),
        ({"loading": {"augment": {"flip_probability": 0.5}}}, "loading.augment changes frames"),
    ],
)
def test_a_required_cache_that_is_not_there_is_one_line(
    store: Store, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(TrainingError, match=message) as caught:
        run_tiny(store, tmp_path / "run", feature_recipe(teacher={"cache": "require"}, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["zarr.json", "features/c.1.0.0"])
def test_a_damaged_cache_names_the_command_that_writes_it_anew(store: Store, tmp_path: Path, place: str) -> None:
    recipe = feature_recipe()
    cache = cached(store, recipe)
    file = cache.path / place
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(DamagedStoreError, match=f"smile-synth cache {store.path} --recipe") as caught:
        run_tiny(store, tmp_path / "run", recipe)
    assert "\n" not in str(caught.value)
    assert cached(store, recipe).is_sound()
    run_tiny(store, tmp_path / "again", recipe)


def test_killed_caching_resumes_with_what_is_complete(store: Store) -> None:
    recipe = feature_recipe()
    source, teacher = source_of(store, recipe), teacher_of(store, recipe)
    seen = 0
    forward = teacher.backbone.forward

    def killed(images: torch.Tensor) -> torch.Tensor:
        nonlocal seen
        seen += len(images)
        if seen > 2 * 6:
            raise KeyboardInterrupt
        return forward(images)

    teacher.backbone.forward = killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        write_cache(source, lambda: teacher, clips_at_once=2)
    assert FeatureCache.find(source) is None
    cache, clips = write_cache(source, lambda: teacher_of(store, recipe))
    assert clips == 8
    assert cache.is_sound()
    assert not (cache.path / ".render").exists()


def test_features_that_no_type_can_hold_are_refused() -> None:
    with pytest.raises(SmileSynthError, match="not finite"):
        StoredFeatures.of(torch.full((1, 2, 3), torch.nan), "int8")
    with pytest.raises(SmileSynthError, match="too large for float16: use --dtype int8"):
        StoredFeatures.of(torch.full((1, 2, 3), 1e5), "float16")
    assert StoredFeatures.of(torch.zeros(1, 2, 3), "int8").restored_BND.abs().sum() == 0


def test_command_names_the_file_the_error_and_the_next_command(store: Store, tmp_path: Path) -> None:
    recipe = feature_recipe()
    file = tmp_path / "mine.yaml"
    file.write_text(recipe.to_yaml())
    first = CliRunner().invoke(app, ["cache", str(store.path), "--recipe", str(file), "--device", "cpu"])
    assert first.exit_code == 0, first.output
    path = source_of(store, recipe).path
    assert str(path) in first.output
    assert "relative error" in first.output
    assert f"smile-synth pretrain {file} --data {store.path}" in first.output
    again = CliRunner().invoke(app, ["cache", str(store.path), "--recipe", str(file), "--device", "cpu"])
    assert "was complete already" in again.output
    other = CliRunner().invoke(app, ["cache", str(store.path), "-r", str(file), "--dtype", "int8", "--device", "cpu"])
    assert other.exit_code == 2
    assert "remove the folder to write them as int8" in other.output


def test_a_recipe_without_teacher_has_nothing_to_cache(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "pixels.yaml"
    file.write_text(tiny_recipe().to_yaml())
    result = CliRunner().invoke(app, ["cache", str(store.path), "--recipe", str(file)])
    assert result.exit_code == 2
    assert "there is nothing to cache" in result.output


def test_another_type_is_refused_before_the_teacher_is_built(store: Store) -> None:
    recipe = feature_recipe()
    cached(store, recipe)
    with pytest.raises(StoreError, match="holds the features as float16"):
        write_cache(source_of(store, recipe), pytest.fail, dtype="int8")


def test_a_resumed_run_may_read_a_cache_that_was_not_there_before(store: Store, tmp_path: Path) -> None:
    recipe = feature_recipe(teacher={"cache": "never"})
    run_tiny(store, tmp_path / "run", recipe, max_hours=0)
    cached(store, recipe)
    summary = run_tiny(store, tmp_path / "run", feature_recipe(teacher={"cache": "require"}), resume=True)
    assert summary.finished
