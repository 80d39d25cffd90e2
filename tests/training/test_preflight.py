from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import run_tiny, timeless_rows, tiny_recipe, tiny_store

from smile_synth.errors import CheckpointError, ModelError, RecipeError, SmileSynthError, StoreError, TrainingError
from smile_synth.recipe.recipe import parse_recipe
from smile_synth.store import Store
from smile_synth.training.distributed import RankInfo, World
from smile_synth.training.estimate import estimate
from smile_synth.training.preflight import check, check_disk
from smile_synth.training.run_folder import RunFolder
from smile_synth.training.trainer import pretrain

DiskUsage = namedtuple("DiskUsage", "total used free")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tiny_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def run_folder(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the tiny recipe, to be copied before it is changed."""
    out = tmp_path_factory.mktemp("runs") / "run"
    run_tiny(store, out, tiny_recipe(max_steps=3))
    return out


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"batch_size": 16}, TrainingError, "a batch takes 16 clips .* the store holds 12"),
        (
            {"runtime": {"micro_batch": 3}},
            TrainingError,
            "4 clips of a batch must be divisible by .*micro_batch, got 3",
        ),
        ({"student": {"patch_size": 5}}, ModelError, "patch_size 5 must divide the clip's height 32"),
        ({"student": {"tubelet_size": 3}}, ModelError, "tubelet_size 3 must divide the clip's 4 frames"),
        ({"mask": {"ratio": 0.01}}, ModelError, "at least one must be hidden"),
        ({"optimizer": {"warmup_steps": 6}}, TrainingError, "warm-up must be shorter than the stage's 6 steps"),
        (
            {"target": {"kind": "features"}, "teacher": {"library": "efficientnet_lite0", "grid": "exact"}},
            ModelError,
            "the teacher sees .* set teacher.grid to 'resize'",
        ),
        (
            {"target": {"kind": "features"}, "teacher": {"weights_file": "absent.pt"}},
            SmileSynthError,
            "absent.pt",
        ),
    ],
)
def test_what_does_not_fit_is_one_line_before_any_work(
    store: Store, tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        run_tiny(store, tmp_path / "run", tiny_recipe(**changes))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": {"masks_per_clip": 3}}, "divisible by masks_per_clip, got 4 and 3"),
        ({"max_steps": None}, "give epochs, max_steps or stages"),
        ({"stages": [{"name": "a", "epochs": 1}]}, "max_steps has no effect together with stages"),
        ({"teacher": {}}, "teacher has no effect where the target's kind is 'pixels'"),
        ({"optimizer": {"warmup_epochs": 1}}, "warmup_epochs and warmup_steps exclude each other"),
        ({"batchsize": 4}, "Did you mean 'batch_size'"),
    ],
)
def test_recipe_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        tiny_recipe(**changes)


def test_store_of_another_size_than_the_recipe_is_refused(store: Store, tmp_path: Path) -> None:
    values = tiny_recipe().resolved() | {"dataset": {"canvas": {"height": 64, "width": 64, "frames": 4}}}
    recipe = parse_recipe(values, folder=tmp_path, origin="other")
    with pytest.raises(StoreError, match=r"the recipe's clips are 4x64x64, those of .* are 4x32x32"):
        run_tiny(store, tmp_path / "run", recipe)


def test_stores_of_different_sizes_are_refused(store: Store, tmp_path: Path) -> None:
    other = tiny_store(tmp_path, size=40)
    with pytest.raises(StoreError, match="stores must hold clips of one size"):
        pretrain(tiny_recipe(), [store, other], tmp_path / "run", device="cpu", view=None)


def test_trajectory_masks_without_objects_are_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "max_objects", property(lambda self: 0))
    with pytest.raises(TrainingError, match=r"hides trajectories .* holds no objects; use masks of kind tube"):
        run_tiny(store, tmp_path / "run", tiny_recipe())


def test_batch_that_processes_cannot_share_is_refused(store: Store, tmp_path: Path) -> None:
    world = World(RankInfo(0, 3), torch.device("cpu"))
    with pytest.raises(TrainingError, match="4 clips must be divisible by the 3 processes"):
        check(tiny_recipe(), [store], tmp_path / "run", resume=False, world=world)


def test_run_is_never_overwritten(store: Store, run_folder: Path) -> None:
    with pytest.raises(TrainingError, match="holds a run already; add --resume, or choose another --out"):
        run_tiny(store, run_folder, tiny_recipe(max_steps=3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 2}, "pretrain.batch_size was 4 when the run began and is 2 now"),
        ({"student": {"width": 48}}, "pretrain.student.width was 24 when the run began and is 48 now"),
        ({"max_steps": 4}, "pretrain.max_steps was 3"),
    ],
)
def test_resume_with_another_recipe_is_refused(
    store: Store, run_folder: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        run_tiny(store, run_folder, tiny_recipe(**{"max_steps": 3, **changes}), resume=True)


def test_what_only_watches_may_change_on_resume(store: Store, run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    recipe = tiny_recipe(max_steps=3, watch={"every_steps": 2}, runtime={"micro_batch": 2})
    assert run_tiny(store, tmp_path / "run", recipe, resume=True).finished


def test_a_lost_checkpoint_is_missed_where_another_tells_of_it(store: Store, run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    checkpoints = tmp_path / "run" / "checkpoints"
    kept = next(checkpoints.glob("stage-*.pt"))
    (checkpoints / "latest.pt").unlink()
    shutil.copyfile(kept, checkpoints / "step-00000001.pt")
    os.utime(checkpoints / "step-00000001.pt", ns=(0, 0))
    with pytest.raises(CheckpointError, match=rf"latest\.pt is missing, but {kept.name} is there: copy it to latest"):
        run_tiny(store, tmp_path / "run", tiny_recipe(max_steps=3), resume=True)
    (tmp_path / "run" / "recipe.yaml").unlink()
    with pytest.raises(TrainingError, match="holds a run already"):
        run_tiny(store, tmp_path / "run", tiny_recipe(max_steps=3))
    shutil.copyfile(kept, checkpoints / "latest.pt")
    assert run_tiny(store, tmp_path / "run", tiny_recipe(max_steps=3), resume=True).finished


def test_stages_in_another_order_are_refused(store: Store, tmp_path: Path) -> None:
    stages = [{"name": name, "max_steps": 1} for name in ("a", "b")]
    changes: dict[str, Any] = {"max_steps": None, "optimizer": {"warmup_steps": 0}}
    run_tiny(store, tmp_path / "run", tiny_recipe(**changes, stages=stages))
    with pytest.raises(CheckpointError, match="the run's stages are a, b, the recipe's are b, a"):
        run_tiny(store, tmp_path / "run", tiny_recipe(**changes, stages=stages[::-1]), resume=True)


@pytest.mark.parametrize("stopped", [True, False])
def test_resume_with_another_store_is_refused(store: Store, tmp_path: Path, stopped: bool) -> None:
    stages = [{"name": name, "max_steps": 2} for name in ("a", "b")]
    changes: dict[str, Any] = {"max_steps": None, "optimizer": {"warmup_steps": 0}, "stages": stages}
    run_tiny(store, tmp_path / "run", tiny_recipe(**changes), max_hours=0 if stopped else None)
    (tmp_path / "other").mkdir()
    other = tiny_store(tmp_path / "other", seed=8)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match="began with other stores, or with these in another order"):
        run_tiny(other, tmp_path / "run", tiny_recipe(**changes, watch={"every_steps": 2}), resume=True)
    after = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert after == before, "nothing is written by a refused resume"


def test_a_run_begun_before_a_parameter_was_known_goes_on(store: Store, run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    latest = tmp_path / "run" / "checkpoints" / "latest.pt"
    state = torch.load(latest, weights_only=True)
    del state["recipe"]["pretrain"]["student"]["positions"], state["stores"]
    torch.save(state, latest)
    assert run_tiny(store, tmp_path / "run", tiny_recipe(max_steps=3), resume=True).finished


def test_full_disk_is_seen_before_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: DiskUsage(10, 10, 1 << 20))
    with pytest.raises(TrainingError, match=r"has 0\.0 GiB left, the checkpoints need .* GiB; free some space"):
        check_disk(tmp_path / "not" / "there", 100_000_000, ema=False)


def test_second_writer_of_a_run_is_refused_by_name(store: Store, tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run").locked():
        with pytest.raises(
            TrainingError, match=rf"in use by process {os.getpid()} on .* since 20\d\d-.*; wait"
        ) as caught:
            run_tiny(store, tmp_path / "run", tiny_recipe(max_steps=3))
        assert "\n" not in str(caught.value)
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    assert run_tiny(store, tmp_path / "run", tiny_recipe(max_steps=3)).finished


def test_resume_from_a_damaged_latest_says_where_from(store: Store, tmp_path: Path) -> None:
    recipe = tiny_recipe(checkpoint={"milestone_every_steps": 2})
    run_tiny(store, tmp_path / "whole", recipe)
    shutil.copytree(tmp_path / "whole", tmp_path / "run")
    checkpoints = tmp_path / "run" / "checkpoints"
    (checkpoints / "stage-train.pt").unlink()
    (checkpoints / "step-00000006.pt").unlink(missing_ok=True)
    (checkpoints / "latest.pt").write_bytes(b"torn")
    run_tiny(store, tmp_path / "run", recipe, resume=True)
    assert "resuming from step-00000004.pt, update 4" in (tmp_path / "run" / "log.txt").read_text()
    assert timeless_rows(tmp_path / "run") == timeless_rows(tmp_path / "whole")


def test_resume_leaves_an_unchanged_recipe_alone(store: Store, run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    recipe = tmp_path / "run" / "recipe.yaml"
    before = recipe.stat()
    run_tiny(store, tmp_path / "run", tiny_recipe(max_steps=3), resume=True)
    assert (recipe.stat().st_ino, recipe.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    os.link(recipe, tmp_path / "old.yaml")
    run_tiny(store, tmp_path / "run", tiny_recipe(max_steps=3, watch={"every_steps": 2}), resume=True)
    assert (tmp_path / "old.yaml").read_text() != recipe.read_text(), "replaced, not written in place"


def test_learning_rate_says_how_it_follows_from_the_recipe(store: Store, tmp_path: Path) -> None:
    recipe = tiny_recipe(max_steps=3, optimizer={"learning_rate": 1e-3, "scale_with_batch": True})
    run_tiny(store, tmp_path / "run", recipe)
    assert "learning rate 0.001 x 4/256 = 1.6e-05" in (tmp_path / "run" / "log.txt").read_text()
    rows = dict(estimate(recipe, [store], tmp_path / "dry", resume=False, device="cpu"))
    assert "learning rate 0.001 x 4/256 = 1.6e-05" in rows["stage train"]
