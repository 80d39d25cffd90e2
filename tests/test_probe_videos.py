"""The user's own labelled videos: lists, folders, views, and files that cannot be read."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from smile_synth.dataset import CanvasParams
from smile_synth.errors import ProbeError
from smile_synth.probe.params import QuestionParams, VideosParams
from smile_synth.probe.videos import VideoClips, list_videos, read_views, sampled_frames, video_question

CANVAS = CanvasParams(height=32, width=32, frames=4)


def write_video(path: Path, frames_THWC: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = *frames_THWC.shape[1:3], "yuv420p"
        stream.bit_rate = 4_000_000
        for frame in frames_THWC:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def brightening(path: Path, num_frames: int = 20, height: int = 48, width: int = 64) -> Path:
    """Frame t is grey of 10 t; the left third is black, the right third is white."""
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    frames[:] = (np.arange(num_frames, dtype=np.uint8) * 10)[:, None, None, None]
    frames[:, :, : width // 3], frames[:, :, -(width // 3) :] = 0, 255
    return write_video(path, frames)


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


@pytest.mark.parametrize(
    ("num_frames", "values", "expected"),
    [
        (16, {"segments": 1}, [[2, 6, 10, 14]]),
        (16, {"segments": 2}, [[1, 3, 5, 7], [9, 11, 13, 15]]),
        (16, {"segments": 1, "frame_stride": 2}, [[5, 7, 9, 11]]),
        (16, {"segments": 2, "frame_stride": 4}, [[0, 4, 8, 12], [3, 7, 11, 15]]),
        (2, {"segments": 1}, [[0, 0, 1, 1]]),
        (3, {"segments": 1, "frame_stride": 2}, [[0, 0, 0, 2]]),
    ],
)
def test_frames_are_spread_over_segments(num_frames: int, values: dict[str, int], expected: list[list[int]]) -> None:
    assert sampled_frames(num_frames, 4, videos(**values)).tolist() == expected


def test_views_show_the_right_frames_and_crops(tmp_path: Path) -> None:
    views = read_views(brightening(tmp_path / "a.mp4"), videos(segments=2, crops=3), CANVAS)
    assert views.shape == (6, 4, 32, 32, 3)
    middle = views[:, :, 16, 16].mean(axis=-1)
    wanted = 10 * sampled_frames(20, 4, videos(segments=2))
    np.testing.assert_allclose(middle[1], wanted[0], atol=6)
    np.testing.assert_allclose(middle[4], wanted[1], atol=6)
    assert views[0, :, :, 0].mean() < 10
    assert views[2, :, :, -1].mean() > 245


def test_views_are_read_in_order_from_any_place(tmp_path: Path) -> None:
    paths = [brightening(tmp_path / "c" / f"{n}.mp4", num_frames=4 + n) for n in range(5)]
    clips = VideoClips(list_videos(tmp_path), "x", videos(segments=2), CANVAS, workers=2)
    whole = np.concatenate(list(clips.batches(0, 4)))
    assert clips.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    np.testing.assert_array_equal(whole[2:4], read_views(paths[1], videos(segments=2), CANVAS))
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
    with pytest.raises(ProbeError, match=r"video .*broken\.mp4 cannot be read"):
        list(clips.batches(0, 4))


def test_a_truncated_video_is_spread_over_what_is_left_or_named(tmp_path: Path) -> None:
    path = brightening(tmp_path / "a.mp4", num_frames=40)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ProbeError, match=r"video .*a\.mp4 cannot be read"):
        read_views(path, videos(), CANVAS)


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
