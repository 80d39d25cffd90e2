from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_finetuning import tiny_dataset, tiny_recipe, tune_tiny
from tiny_student import tiny_student
from typer.testing import CliRunner

from smile_synth.cli import app
from smile_synth.downstream import evaluation
from smile_synth.downstream.answers import Answerer
from smile_synth.downstream.evaluation import Evaluation, class_table, columns_of, evaluate
from smile_synth.downstream.reading import ViewReader
from smile_synth.errors import TrainingError, VideoError
from smile_synth.interop.formats import export, read_student
from smile_synth.interop.stored_student import StoredStudent
from smile_synth.videos.lists import LabelledVideos, read_videos

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("videos"), a_class=3)


@pytest.fixture(scope="module")
def run(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    tune_tiny(videos, out, tiny_recipe(max_steps=2))
    return out


def some_videos(labels: list[int], classes: int = 3) -> LabelledVideos:
    files = tuple(Path(f"{number}.mp4") for number in range(len(labels)))
    return LabelledVideos(files, np.array(labels, np.int64), tuple("abcdefgh"[:classes]))


def test_metrics_are_those_that_one_counts_by_hand() -> None:
    probabilities = np.array(
        [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [np.nan] * 3, [0.1, 0.2, 0.7]], np.float32
    )
    found = Evaluation(some_videos([0, 1, 2, 0, 2]), probabilities, views=1, resamples=200)
    # Right, second, second, broken, right.
    assert found.top(1).value == 0.5
    assert found.top(2).value == 1.0
    assert found.top(1).low <= 0.5 <= found.top(1).high
    assert [file.name for file in found.broken] == ["3.mp4"]
    assert found.confusion.tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 1]]
    rows = list(csv.DictReader(io.StringIO(class_table(found))))
    assert [(row["class"], row["right"], row["videos"], row["taken for"]) for row in rows] == [
        ("b", "0", "1", "a"),
        ("c", "1", "2", "b"),
        ("a", "1", "1", ""),
    ]


def test_views_of_a_video_are_averaged_after_softmax(videos: Path) -> None:
    recipe = tiny_recipe()
    listed = read_videos(recipe.section("videos"), "test", videos)
    read = ViewReader(recipe.section("videos"), 32)
    assert read.num_views == 6

    def score(frames_BTHWC: torch.Tensor) -> torch.Tensor:
        assert len(frames_BTHWC) <= 4
        assert frames_BTHWC.shape[1:] == (4, 32, 32, 3)
        return frames_BTHWC.float().mean(dim=(1, 2, 3))[:, :2] / 10

    answerer = Answerer(score, read, device=CPU, batch_size=4, threads=2, skips=False)
    answers = list(answerer.answers(listed, [2, 0]))
    assert [answer.number for answer in answers] == [2, 0]
    for answer in answers:
        views = torch.from_numpy(read(listed.files[answer.number]))
        wanted = torch.cat([score(view[None]).softmax(dim=1) for view in views]).mean(dim=0)
        np.testing.assert_allclose(answer.probabilities, wanted, rtol=1e-5)


def test_views_are_segments_of_time_and_squares_along_the_long_side(videos: Path) -> None:
    params = tiny_recipe().section("videos")
    file = next((videos / "val" / "right").iterdir())
    views = ViewReader(params, 32)(file)
    whole = ViewReader(params.model_copy(update={"segments": 1, "crops": 1}), 32)(file)
    assert views.shape == (6, 4, 32, 32, 3)
    assert whole.shape == (1, 4, 32, 32, 3)
    # 40 x 56 becomes 32 x 45: squares begin at columns 0, 6 and 13, so that neighbours overlap in 26 and 25 columns.
    assert np.array_equal(views[0][:, :, 6:], views[1][:, :, :26])
    assert np.array_equal(views[1][:, :, 7:], views[2][:, :, :25])
    assert not np.array_equal(views[0], views[3]), "another segment"


def test_interrupted_evaluation_asks_no_video_twice(run: Path, videos: Path, tmp_path: Path, monkeypatch: Any) -> None:
    recipe, model = tiny_recipe(), read_student(run)
    params, test = recipe.section("videos"), recipe.section("finetune").test
    listed = read_videos(params, "test", videos)
    whole = evaluate(model, listed, params, test, tmp_path / "whole", device=CPU)
    asked: list[int] = []

    def stop_at_two(count: int) -> None:
        asked.append(count)
        if sum(asked) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(model, listed, params, test, tmp_path / "parts", device=CPU, advance=stop_at_two)
    counts: list[int] = []
    parts = evaluate(model, listed, params, test, tmp_path / "parts", device=CPU, advance=counts.append)
    assert counts == [2, 1, 1]
    np.testing.assert_array_equal(parts.probabilities, whole.probabilities)
    assert not (tmp_path / "parts" / evaluation.PARTIAL).exists()


def test_broken_video_stops_or_is_left_out(run: Path, tmp_path: Path) -> None:
    folder = tiny_dataset(tmp_path / "videos", a_class=1)
    (folder / "val" / "left" / "0.mp4").write_bytes(b"no video")
    recipe, model = tiny_recipe(), read_student(run)
    params, test = recipe.section("videos"), recipe.section("finetune").test
    listed = read_videos(params, "test", folder)
    with pytest.raises(VideoError, match=r"left/0\.mp4"):
        evaluate(model, listed, params, test, tmp_path / "stops", device=CPU)
    skipping = params.model_copy(update={"on_error": "skip"})
    found = evaluate(model, listed, skipping, test, tmp_path / "skips", device=CPU)
    assert [file.name for file in found.broken] == ["0.mp4"]
    assert len(found.answers) == 3


def test_columns_follow_the_names_of_the_classes(run: Path) -> None:
    model = read_student(run)
    turned = LabelledVideos((Path("a"),), np.zeros(1, np.int64), ("right", "left"))
    assert columns_of(model, turned).tolist() == [1, 0]
    other = LabelledVideos((Path("a"),), np.zeros(1, np.int64), ("right", "up"))
    with pytest.raises(TrainingError, match="was not trained on class 'up'"):
        columns_of(model, other)


def test_command_line_writes_and_names_every_file(run: Path, videos: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["evaluate", str(run), "--videos", str(videos), "--out", str(tmp_path), "--device", "cpu"]
    )
    assert done.exit_code == 0, done.output
    assert "on 4 videos, 6 views each" in done.stdout
    for name in ("evaluation.json", "classes.csv", "confusion.png", "predictions.npz"):
        assert str(tmp_path / name) in done.stdout
        assert (tmp_path / name).stat().st_size > 50
    known = json.loads((tmp_path / "evaluation.json").read_text())
    with np.load(tmp_path / "predictions.npz") as kept:
        share = (kept["probabilities"].argmax(axis=1) == kept["labels"]).mean()
        assert kept["classes"].tolist() == ["left", "right"]
        np.testing.assert_allclose(kept["probabilities"].sum(axis=1), 1, rtol=1e-5)
    assert known["top1"]["value"] == share
    assert f"export {run} --format huggingface" in done.stdout


def test_pretrained_student_is_no_classifier(videos: Path, tmp_path: Path) -> None:
    export(StoredStudent.of(tiny_student()), tmp_path / "student.pth", "videomae")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(tiny_recipe().to_yaml())
    done = CliRunner().invoke(
        app, ["evaluate", str(tmp_path / "student.pth"), "--videos", str(videos), "--recipe", str(recipe)]
    )
    assert done.exit_code == 2
    assert "holds no classifier: fine-tune it first" in done.stderr
