"""Checking a dataset of videos: nothing missing or broken goes unsaid, and nothing is read twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_videos import counting, write_video
from typer.testing import CliRunner

from smile_synth.cli import app
from smile_synth.errors import VideoError
from smile_synth.recipe.videos import VideosParams
from smile_synth.videos import check
from smile_synth.videos.check import check_videos

PARAMS = VideosParams(frames=4, stride=2, short_side=24, segments=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "films"
    for number in range(5):
        write_video(place / f"good{number}.mp4", counting(20 + number), codec="libx264")
    (place / "text.mp4").write_text("I am no video")
    (place / "train.csv").write_text("".join(f"good{n}.mp4 {n % 2}\n" for n in range(4)) + "gone.mp4 0\n")
    (place / "val.csv").write_text("good4.mp4 1\ntext.mp4 0\n")
    return place


def watch(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by the name of every file that is decoded."""
    read: list[str] = []
    real = check.decode

    def decode(file: Path, *rest: Any, **options: Any) -> Any:
        read.append(file.name)
        return real(file, *rest, **options)

    monkeypatch.setattr(check, "decode", decode)
    return read


def test_missing_and_broken_videos_are_named_and_the_cost_is_measured(folder: Path, tmp_path: Path) -> None:
    report = check_videos(PARAMS, folder, tmp_path / "log.jsonl", threads=2)
    assert report.parts == {"train": 5, "validation": 2}
    assert [Path(video.file).name for video in report.missing] == ["gone.mp4"]
    assert [(Path(video.file).name, video.problem) for video in report.broken] == [
        ("text.mp4", "invalid data found when processing input")
    ]
    frames = {Path(video.file).name: video.num_frames for video in report.checked}
    assert [frames[f"good{n}.mp4"] for n in range(5)] == [20, 21, 22, 23, 24]
    timed = [video for video in report.checked if not video.problem]
    assert report.clips_per_s_core == pytest.approx(5 / sum(video.clip_cpu_s for video in timed))
    assert report.tests_per_s_core == pytest.approx(5 / sum(video.views_cpu_s for video in timed))


def test_a_check_that_was_killed_goes_on_where_it_was(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log.jsonl"
    whole = check_videos(PARAMS, folder, log, threads=1)
    lines = log.read_text().splitlines(keepends=True)
    # Killed in the middle of the fourth line: the settings and two videos are whole.
    log.write_text("".join(lines[:3]) + lines[3][:20])
    read = watch(monkeypatch)
    again = check_videos(PARAMS, folder, log, threads=1)
    kept = {Path(json.loads(line)["file"]).name for line in lines[1:3]}
    assert len(kept) == 2
    assert not kept & set(read)
    assert {video.file: video.problem for video in again.checked} == {v.file: v.problem for v in whole.checked}
    assert len(log.read_text().splitlines()) == len(lines)


def test_a_check_that_was_killed_before_its_first_video_goes_on_again_and_again(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    check_videos(PARAMS, folder, log, threads=1)
    lines = log.read_text().splitlines(keepends=True)
    log.write_text(lines[0])
    for _ in range(2):
        assert len(check_videos(PARAMS, folder, log, threads=1).checked) == 7
        assert [json.loads(line).keys() for line in log.read_text().splitlines()].count({"settings"}) == 1


def test_only_what_changed_is_read_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_videos(PARAMS, folder, tmp_path / "log.jsonl", threads=1)
    write_video(folder / "text.mp4", counting(9))
    write_video(folder / "gone.mp4", counting(8))
    read = watch(monkeypatch)
    report = check_videos(PARAMS, folder, tmp_path / "log.jsonl", threads=1)
    assert set(read) == {"text.mp4", "gone.mp4"}
    assert not report.missing
    assert not report.broken


def test_a_log_of_other_settings_is_refused(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    check_videos(PARAMS, folder, log, threads=1)
    with pytest.raises(VideoError, match=r"log\.jsonl is of a check with another segments, short_side; remove it"):
        check_videos(PARAMS.model_copy(update={"segments": 3, "short_side": 30}), folder, log, threads=1)
    log.write_text("my notes\n")
    with pytest.raises(VideoError, match=r"log\.jsonl is no log of a check"):
        check_videos(PARAMS, folder, log, threads=1)


def test_the_command_says_all_and_exits_with_1(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["--set", "videos={frames: 4, stride: 2, short_side: 24}"]
    done = CliRunner().invoke(app, ["videos", "check", "films", *small])
    assert done.exit_code == 1, done.stderr
    assert "7 videos of 2 classes (5 train, 2 validation): 1 missing, 1 broken." in done.stdout
    assert "films/gone.mp4: missing" in done.stdout
    assert "films/text.mp4: invalid data found when processing input" in done.stdout
    assert "clips/s a core" in done.stdout
    assert "An epoch over 5 videos: " in done.stdout
    assert "A test of 2 videos x 5 segments: " in done.stdout
    assert "core seconds" in done.stdout
    assert "videos.on_error=skip" in done.stderr
    assert (tmp_path / "films-check.jsonl").is_file()
    done = CliRunner().invoke(app, ["videos", "check", "films", *small, "--set", "videos.on_error=skip"])
    assert (done.exit_code, "2 videos will be skipped" in done.stdout) == (0, True)
    done = CliRunner().invoke(app, ["videos", "check", "nothing"])
    assert (done.exit_code, done.stderr) == (
        2,
        "smile-synth: there is no folder nothing; name the folder that holds the videos and their lists\n",
    )


def test_a_folder_without_the_lists_of_the_layout_is_refused_in_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (folder / "train.csv").unlink()
    (folder / "val.csv").unlink()
    done = CliRunner().invoke(app, ["videos", "check", "films", "--recipe", "finetune-k400"])
    assert done.exit_code == 2
    assert done.stderr.startswith("smile-synth: films has no list of Kinetics' train part; wanted train.csv")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "films-check.jsonl").exists()


def test_the_command_says_how_many_videos_are_shorter_than_a_clip(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # Videos of 20 to 24 frames; clips span 22.
    small = ["--set", "videos={frames: 8, stride: 3, short_side: 24}"]
    done = CliRunner().invoke(app, ["videos", "check", "films", *small])
    assert (
        "2 of 5 videos that were read show fewer than the 22 frames that a clip spans (videos.frames=8, "
        "videos.stride=3), so their clips repeat their last frame; "
        "lower videos.stride or videos.frames, such as --set videos.stride=2 for the shortest "
        "(20 frames).\n"
    ) in done.stdout
    fitting = ["--set", "videos={frames: 8, stride: 2, short_side: 24}", "--log", "other.jsonl"]
    assert "fewer than" not in CliRunner().invoke(app, ["videos", "check", "films", *fitting]).stdout
