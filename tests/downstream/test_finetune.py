from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_finetuning import tiny_dataset, tiny_recipe, tune_tiny
from tiny_student import tiny_student
from tiny_training import assert_same_bits, timeless_rows, wait_for_rows, weights

from smile_synth.downstream import finetune
from smile_synth.downstream.learner import ClassifierLearner
from smile_synth.downstream.preflight import check
from smile_synth.errors import CheckpointError, TrainingError, VideoError, VideoListError
from smile_synth.interop.formats import export
from smile_synth.interop.stored_student import StoredStudent
from smile_synth.training.checkpoint import read_checkpoint
from smile_synth.training.distributed import RankInfo, World
from smile_synth.training.trainable import Trainable


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("videos"))


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a run stop as if it got SIGTERM after this many updates."""

    def arrange(updates: int) -> None:
        original, done = Trainable.update, 0

        def update(*arguments: Any) -> Any:
            nonlocal done
            done += 1
            if done == updates:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(*arguments)

        monkeypatch.setattr(Trainable, "update", update)

    return arrange


def test_run_leaves_every_file_that_it_promises(videos: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(watch={"evaluate_every_epochs": 1})
    summary = tune_tiny(videos, tmp_path / "run", recipe)
    assert (summary.steps, summary.finished) == (6, True)
    for name in ("recipe.yaml", "metrics.jsonl", "log.txt", "loss.png", "summary.json", "checkpoints/latest.pt"):
        assert (tmp_path / "run" / name).exists(), name
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "latest.pt")["classes"] == ["left", "right"]
    tested = [row for row in timeless_rows(tmp_path / "run") if "validation/top1" in row]
    assert [row["step"] for row in tested] == [3, 6]
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "12 videos of 2 classes, batch 4 videos x 2 clips" in log
    assert "starting from random weights (scratch)" in log


def test_it_learns_to_tell_left_from_right(videos: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(
        max_steps=60,
        label_smoothing=0.0,
        drop_path=0.0,
        optimizer={"learning_rate": 3e-3},
        vary={"rand_augment": None, "erase_probability": 0, "mixup": 0, "cutmix": 0, "crop_area": [0.8, 1.0]},
        watch={"every_steps": 20},
    )
    tune_tiny(videos, tmp_path / "run", recipe)
    losses = [row["loss"] for row in timeless_rows(tmp_path / "run")]
    assert losses[0] > 0.5
    assert losses[-1] < 0.1


@pytest.mark.parametrize("updates", [1, 4])
def test_resumed_run_equals_an_undisturbed_one_bit_for_bit(
    videos: Path, tmp_path: Path, stop_after: Any, updates: int
) -> None:
    recipe = tiny_recipe(ema_decay=0.9, head={"dropout": 0.3}, watch={"every_steps": 2})
    tune_tiny(videos, tmp_path / "whole", recipe)
    stop_after(updates)
    first = tune_tiny(videos, tmp_path / "parts", recipe)
    assert (first.steps, first.reason) == (updates, "got SIGTERM")
    assert tune_tiny(videos, tmp_path / "parts", recipe, model="no longer there", resume=True).finished
    assert timeless_rows(tmp_path / "parts") == timeless_rows(tmp_path / "whole")
    assert_same_bits(weights(tmp_path / "parts"), weights(tmp_path / "whole"))
    states = [read_checkpoint(tmp_path / name / "checkpoints" / "latest.pt") for name in ("whole", "parts")]
    assert_same_bits(states[0]["ema"], states[1]["ema"])
    for name, moments in states[0]["optimizer"].items():
        assert_same_bits(moments, states[1]["optimizer"][name])


def test_micro_batches_equal_one_large_batch(videos: Path, tmp_path: Path) -> None:
    for name, micro in (("large", None), ("micro", 2)):
        recipe = tiny_recipe(max_steps=3, drop_path=0.0, runtime={"micro_batch": micro})
        tune_tiny(videos, tmp_path / name, recipe)
    one, two = weights(tmp_path / "large"), weights(tmp_path / "micro")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5)


def _pretrained(folder: Path) -> Path:
    student = tiny_student()
    return export(StoredStudent.of(student), folder / "student.pth", "videomae")[0]


def test_weights_of_a_pretrained_model_are_where_training_starts(videos: Path, tmp_path: Path) -> None:
    model = _pretrained(tmp_path)
    still = {"learning_rate": 1e-12, "floor": 0.0, "weight_decay": 0.0}
    tune_tiny(videos, tmp_path / "run", tiny_recipe(max_steps=2, optimizer=still), model=str(model))
    found, student = weights(tmp_path / "run"), tiny_student().state_dict()
    for name in ("patch_embed.proj.weight", "blocks.1.mlp.fc2.bias", "blocks.0.attn.q_bias"):
        torch.testing.assert_close(found[name], student[f"encoder.{name}"], rtol=0, atol=1e-9)
    assert torch.equal(found["fc_norm.weight"], torch.ones_like(found["fc_norm.weight"])), "a fresh norm, as published"
    assert found["head.weight"].abs().max() <= 0.02 * 1e-3 * 100 + 1e-9


@pytest.mark.parametrize(
    ("changes", "moved"),
    [
        ({"freeze": True}, {"head"}),
        ({"layers": 1}, {"head", "fc_norm", "blocks.1"}),
        ({}, {"head", "fc_norm", "blocks.1", "blocks.0", "patch_embed"}),
    ],
    ids=["freeze", "layers", "all"],
)
def test_only_what_is_asked_for_is_trained(
    videos: Path, tmp_path: Path, changes: dict[str, Any], moved: set[str]
) -> None:
    tune_tiny(videos, tmp_path / "run", tiny_recipe(max_steps=2, **changes), model=str(_pretrained(tmp_path)))
    found, student = weights(tmp_path / "run"), tiny_student().state_dict()
    fresh = {"fc_norm.weight": torch.ones(192), "fc_norm.bias": torch.zeros(192)}
    begun = {name.removeprefix("encoder."): value for name, value in student.items()} | fresh
    changed = {name for name, value in found.items() if name not in begun or not torch.equal(value, begun[name])}
    assert {".".join(name.split(".")[: 2 if name.startswith("blocks") else 1]) for name in changed} == moved


def test_linear_probe_with_batch_norm_keeps_running_averages(videos: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(max_steps=4, freeze=True, head={"batch_norm": True, "init_scale": 1.0})
    tune_tiny(videos, tmp_path / "run", recipe, model=str(_pretrained(tmp_path)))
    found = weights(tmp_path / "run")
    assert 0.3 < found["head_norm.var"].mean() < 0.99, "on the way from 1 to the variance of normalised features"
    assert found["head_norm.mean"].abs().max() > 0.01


def test_broken_video_stops_the_run_or_is_skipped_and_counted(videos: Path, tmp_path: Path) -> None:
    folder = tiny_dataset(tmp_path / "broken")
    broken = folder / "train" / "left" / "3.mp4"
    broken.write_bytes(b"no video")
    with pytest.raises(VideoError, match=r"left/3\.mp4"):
        tune_tiny(folder, tmp_path / "stopped", tiny_recipe())
    assert tune_tiny(folder, tmp_path / "skipped", tiny_recipe(videos={"on_error": "skip"})).finished
    log = (tmp_path / "skipped" / "log.txt").read_text()
    assert "missing" not in log
    assert f"2 times one of 1 broken videos was skipped, for the next one of the epoch; the first was {broken}" in log


def test_failing_validation_loses_no_update(videos: Path, tmp_path: Path) -> None:
    folder = tiny_dataset(tmp_path / "broken")
    broken = folder / "val" / "right" / "1.mp4"
    whole = broken.read_bytes()
    broken.write_bytes(b"no video")
    recipe = tiny_recipe(watch={"evaluate_every_epochs": 1})
    with pytest.raises(VideoError, match=r"right/1\.mp4"):
        tune_tiny(folder, tmp_path / "run", recipe)
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "latest.pt")["step"] == 3
    with pytest.raises(VideoError, match=r"right/1\.mp4"):
        tune_tiny(folder, tmp_path / "run", recipe, resume=True)
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "latest.pt")["step"] == 6, "the end is kept, too"
    broken.write_bytes(whole)
    tune_tiny(videos, tmp_path / "whole", recipe)
    assert_same_bits(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def test_broken_video_of_the_validation_is_asked_about_and_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rank that asked less often than the others would leave them waiting for its part of a sharded model."""
    folder = tiny_dataset(tmp_path / "videos", test=3)
    (folder / "val" / "left" / "1.mp4").write_bytes(b"no video")
    asked: list[int] = []

    def scores(learner: Any, frames_BTHWC: torch.Tensor) -> torch.Tensor:
        asked.append(len(frames_BTHWC))
        return torch.tensor([[1.0, 0.0]]).expand(len(frames_BTHWC), 2)

    monkeypatch.setattr(ClassifierLearner, "scores", scores)
    recipe = tiny_recipe(
        videos={"on_error": "skip"}, watch={"evaluate_every_epochs": 1}, test={"batch_size": 2}, max_steps=3
    )
    tune_tiny(folder, tmp_path / "run", recipe)
    assert asked == [2, 2, 2]
    tested = [row["validation/top1"] for row in timeless_rows(tmp_path / "run") if "validation/top1" in row]
    assert tested == [pytest.approx(2 / 5)], "2 of 3 left ones were read, and right"


def test_validation_is_of_the_moving_average_and_changes_nothing(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def look(job: Any, learner: ClassifierLearner, videos: Any) -> float:
        seen.append({name: value.clone() for name, value in learner.weights()["model"].items()})
        return 0.5

    monkeypatch.setattr(finetune, "share_right", look)
    changes: dict[str, Any] = {"ema_decay": 0.5, "checkpoint": {"every_steps": 3}}
    tune_tiny(videos, tmp_path / "tested", tiny_recipe(**changes, watch={"evaluate_every_epochs": 1}))
    tune_tiny(videos, tmp_path / "plain", tiny_recipe(**changes))
    state = read_checkpoint(tmp_path / "tested" / "checkpoints" / "latest.pt")
    assert_same_bits(seen[-1], state["ema"])
    assert_same_bits(state["model"], weights(tmp_path / "plain"))


def test_missing_package_of_a_tracker_is_named_before_any_work(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TrainingError, match="'wandb', which is not installed"):
        check(
            tiny_recipe(watch={"trackers": ["wandb"]}),
            "scratch",
            videos,
            tmp_path / "run",
            resume=False,
            world=World(RankInfo(), torch.device("cpu")),
        )


def test_listed_video_that_is_missing_stops_the_run_or_is_counted(videos: Path, tmp_path: Path) -> None:
    for part in ("train", "val"):
        lines = [f"{file.relative_to(videos)} {int(file.parent.name == 'right')}" for file in videos.rglob("*.mp4")]
        (tmp_path / f"{part}.csv").write_text("\n".join([*lines, "train/left/gone.mp4 0"]) + "\n")
    (tmp_path / "train").symlink_to(videos / "train")
    (tmp_path / "val").symlink_to(videos / "val")
    listed = {"layout": "list"}
    with pytest.raises(VideoListError, match=r"1 of 17 listed videos are missing, such as .*gone\.mp4"):
        tune_tiny(tmp_path, tmp_path / "stopped", tiny_recipe(videos=listed))
    tune_tiny(tmp_path, tmp_path / "run", tiny_recipe(videos={**listed, "on_error": "skip"}, max_steps=1))
    assert "1 listed videos are missing and left out" in (tmp_path / "run" / "log.txt").read_text()


def test_other_videos_or_another_recipe_cannot_resume_a_run(videos: Path, tmp_path: Path) -> None:
    tune_tiny(videos, tmp_path / "run", tiny_recipe(), max_hours=0)
    with pytest.raises(CheckpointError, match=r"finetune\.label_smoothing was 0\.1"):
        tune_tiny(videos, tmp_path / "run", tiny_recipe(label_smoothing=0.2), resume=True)
    with pytest.raises(CheckpointError, match=r"videos\.decoder was 'pyav'"):
        tune_tiny(videos, tmp_path / "run", tiny_recipe(videos={"decoder": "opencv"}), resume=True)
    other = tiny_dataset(tmp_path / "other", a_class=7)
    with pytest.raises(CheckpointError, match="began with other videos"):
        tune_tiny(other, tmp_path / "run", tiny_recipe(), resume=True)
    with pytest.raises(TrainingError, match="holds a run already"):
        tune_tiny(videos, tmp_path / "run", tiny_recipe())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 20}, "a batch takes 20 videos, there are 12"),
        ({"batch_size": 3, "vary": {"repeats": 1}}, "must be even, got 3"),
        ({"batch_size": 3}, "a process's videos of a batch must be even, got 3"),
        ({"layers": 3}, "finetune.layers is 3, the model has 2 blocks"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    videos: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        tune_tiny(videos, tmp_path / "run", tiny_recipe(**changes))
    assert not (tmp_path / "run").exists()


def _start(videos: Path, out: Path, recipe: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "smile_synth", "finetune", "scratch", "--recipe", str(recipe)]
    return subprocess.Popen(
        [*command, "--videos", str(videos), "--out", str(out), "--device", "cpu", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_run_killed_at_random_moments_ends_as_if_it_never_was(videos: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "long.yaml", tmp_path / "killed"
    recipe.write_text(tiny_recipe(max_steps=60, checkpoint={"every_steps": 7}).to_yaml())
    rng = np.random.default_rng(0)
    for wanted in (5, 20, 40):
        process = _start(videos, out, recipe, "--resume")
        wait_for_rows(out, wanted)
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        process.communicate()
    # All in processes of one thread: sums are taken in another order by two.
    for folder in (out, tmp_path / "whole"):
        process = _start(videos, folder, recipe, "--resume")
        said = process.communicate(timeout=240)[0]
        assert process.returncode == 0, said
    assert timeless_rows(out) == timeless_rows(tmp_path / "whole")
    assert_same_bits(weights(out), weights(tmp_path / "whole"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"freeze": True, "head": {"batch_norm": True}},
        {"freeze": True, "runtime": {"sharding": "shard"}},
        {"runtime": {"sharding": "shard"}, "ema_decay": 0.9},
    ],
    ids=["replicate", "probe", "sharded probe", "shard"],
)
def test_two_processes_give_the_curve_of_one(videos: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    # Drop path draws by process; everything else depends on a clip's place in the batch alone.
    still = {} if changes.get("freeze") else {"drop_path": 0.0}
    recipe = tiny_recipe(max_steps=5, watch={"evaluate_every_epochs": 1}, **still, **changes)
    tune_tiny(videos, tmp_path / "one", recipe)
    path = tmp_path / "two.yaml"
    path.write_text(recipe.to_yaml())
    process = _start(videos, tmp_path / "two", path, "--processes", "2")
    said = process.communicate(timeout=240)[0]
    assert process.returncode == 0, said
    assert said.count("5 of 5 updates") == 1, "one process talks"
    losses, tested = [], []
    for run in ("one", "two"):
        rows = timeless_rows(tmp_path / run)
        losses.append([row["loss"] for row in rows])
        tested.append([row["validation/top1"] for row in rows if "validation/top1" in row])
    np.testing.assert_allclose(losses[1], losses[0], atol=1e-5)
    assert tested[0] == tested[1]
    assert len(tested[0]) == 1
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4)
    if "ema_decay" in changes:
        one, two = (read_checkpoint(tmp_path / run / "checkpoints" / "latest.pt")["ema"] for run in ("one", "two"))
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("on_error", ["skip", "stop"])
def test_broken_video_of_one_rank_s_validation_leaves_no_rank_waiting(tmp_path: Path, on_error: str) -> None:
    folder = tiny_dataset(tmp_path / "videos")
    (folder / "val" / "left" / "1.mp4").write_bytes(b"no video")
    recipe = tiny_recipe(
        videos={"on_error": on_error}, watch={"evaluate_every_epochs": 1}, runtime={"sharding": "shard"}, max_steps=3
    )
    path, out = tmp_path / "two.yaml", tmp_path / "run"
    path.write_text(recipe.to_yaml())
    process = _start(folder, out, path, "--processes", "2")
    said = process.communicate(timeout=120)[0]
    assert process.returncode == (0 if on_error == "skip" else 2), said
    assert said.count("cannot be read") == (0 if on_error == "skip" else 1), said
    assert read_checkpoint(out / "checkpoints" / "latest.pt")["step"] == 3
