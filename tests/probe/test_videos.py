"""The user's own labelled videos: lists, folders, views, and files that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_videos import brightening

from smile_synth.errors import ProbeError, VideoError
from smile_synth.probe.features import ClipFeatures, compute_features
from smile_synth.probe.videos import VideoClips, list_videos, video_question
from smile_synth.recipe.dataset import CanvasParams
from smile_synth.recipe.probe import QuestionParams, VideosParams
from smile_synth.videos.views import Spacing, read_views

CANVAS = CanvasParams(height=32, width=32, frames=4)


def videos(**values: object) -> VideosParams:
    return VideosParams.model_validate({"train": "train", "test": "test", **values})


def test_class_folders_and_lists_name_the_same_videos(tmp_path: Path) -> None:
    for name in ("run/a b.mp4", "jump/c.mp4"):
        brightening(tmp_path / "data" / name, num_frames=2)
    (tmp_path / "data" / "run" / "notes.txt").write_text("no video")
    (tmp_path / "list.txt").write_text("data/run/a b.mp4 run\n\ndata/jump/c.mp4 jump\n")
    (tmp_path / "tabs.csv").write_text("run/a b.mp4\trun\njump/c.mp4\tjump\n")
    folders = {(video.path.name, video.label) for video in list_videos(tmp_path / "data")}
    assert folders == {("a b.mp4", "run"), ("c.mp4", "jump")}
    assert {(v.path.name, v.label) for v in list_videos(tmp_path / "list.txt")} == folders
    assert {(v.path.name, v.label) for v in list_videos(tmp_path / "tabs.csv", tmp_path / "data")} == folders


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("missing.mp4 3\n", r"line 1: there is no video .*missing\.mp4"),
        ("justonepath.mp4\n", "line 1: a line must be 'path label'"),
        ("\n", "lists no video"),
    ],
)
def test_a_list_that_does_not_fit_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(ProbeError, match=message):
        list_videos(tmp_path / "list.txt")


def test_nothing_there_says_what_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place, message in ((tmp_path / "no", "there are no videos at"), (tmp_path / "empty", "no class folders")):
        with pytest.raises(ProbeError, match=message):
            list_videos(place)


def test_views_are_read_in_order_from_any_place(tmp_path: Path) -> None:
    paths = [brightening(tmp_path / "c" / f"{n}.mp4", num_frames=4 + n) for n in range(5)]
    clips = VideoClips(list_videos(tmp_path), "x", videos(segments=2), CANVAS, workers=2)
    whole = np.concatenate(list(clips.batches(0, 4)))
    assert clips.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    np.testing.assert_array_equal(whole[2:4], read_views(paths[1], Spacing(segments=2), CANVAS.canvas))
    np.testing.assert_array_equal(np.concatenate(list(clips.batches(3, 4))), whole[3:])


def test_a_changed_file_changes_the_digest(tmp_path: Path) -> None:
    path = brightening(tmp_path / "c" / "a.mp4", num_frames=3)
    clips = VideoClips(list_videos(tmp_path), "x", videos(), CANVAS, workers=1)
    before = clips.digest
    path.write_bytes(path.read_bytes() + b"more")
    assert clips.digest != before


@pytest.mark.parametrize("content", [b"", b"this is no video at all", b"\x00" * 5000])
def test_an_unreadable_video_is_named(tmp_path: Path, content: bytes) -> None:
    brightening(tmp_path / "c" / "a.mp4", num_frames=3)
    (tmp_path / "c" / "broken.mp4").write_bytes(content)
    clips = VideoClips(list_videos(tmp_path), "x", videos(), CANVAS, workers=2)
    with pytest.raises(VideoError, match=r"video .*broken\.mp4 cannot be read"):
        list(clips.batches(0, 4))


def test_videos_in_both_parts_are_refused(tmp_path: Path) -> None:
    for label in ("run", "jump"):
        brightening(tmp_path / label / "a.mp4", num_frames=3)
    question = QuestionParams(name="mine", videos=VideosParams(train=".", test="."))
    with pytest.raises(ProbeError, match="2 videos are in training and test"):
        video_question(question, CANVAS, tmp_path, workers=1, min_clips_per_class=1)


def test_numbered_classes_are_in_order_of_their_numbers(tmp_path: Path) -> None:
    for label in ("10", "9", "1"):
        for part in ("train", "test"):
            brightening(tmp_path / part / label / "a.mp4", num_frames=3)
    question = QuestionParams(name="mine", videos=videos())
    train, _, train_answers, _ = video_question(question, CANVAS, tmp_path, workers=1, min_clips_per_class=1)
    assert train_answers.classes == ("1", "9", "10")
    assert [train_answers.classes[label] for label in train_answers.labels] == [v.label for v in train.videos]


class Mean:
    """The mean of a clip."""

    name = title = digest = "mean"
    has_tokens = False

    def __call__(self, frames_BTHWC: np.ndarray) -> ClipFeatures:
        return ClipFeatures(torch.from_numpy(frames_BTHWC.mean((1, 2, 3), dtype=np.float32)), None)


def test_an_unreadable_first_video_is_what_the_error_is_about(tmp_path: Path) -> None:
    (tmp_path / "data" / "run").mkdir(parents=True)
    (tmp_path / "data" / "run" / "first.mp4").write_bytes(b"")
    brightening(tmp_path / "data" / "run" / "second.mp4", num_frames=4)
    clips = VideoClips(list_videos(tmp_path / "data"), "x", videos(), CANVAS, workers=1)
    with pytest.raises(VideoError, match=r"first\.mp4 cannot be read: it is empty"):
        compute_features([Mean()], clips, tmp_path / "features", batch_size=1, with_tokens=False)
    assert not (tmp_path / "features").exists()
