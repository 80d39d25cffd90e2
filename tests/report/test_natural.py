"""Natural videos and images are measured like the dataset, and unreadable ones are named."""

from __future__ import annotations

import av
import numpy as np
import pytest
from PIL import Image

from smile_synth.errors import ReportError
from smile_synth.report.measure.content import Quantity
from smile_synth.report.measure.natural import find_natural, measure_natural
from smile_synth.scene import Canvas

CANVAS = Canvas(32, 32, 4)


def write_video(path, frames):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=25)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "rgb24"
        stream.options = {"crf": "0"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def measured(sample) -> dict[str, Quantity]:
    return {quantity.name: quantity for quantity in sample.content.quantities}


def test_video_that_brightens_by_two_levels_a_frame_changes_by_eight_at_stride_four(tmp_path):
    levels = np.arange(40, dtype=np.uint8) * 2 + 40
    write_video(tmp_path / "a.mp4", np.broadcast_to(levels[:, None, None, None], (40, 48, 64, 3)).copy())
    sample = measure_natural(find_natural(tmp_path, seed=0), CANVAS, None, stride=4)
    assert (sample.content.videos, sample.content.images, sample.content.clips) == (1, 0, 32)
    assert measured(sample)["change"].median == pytest.approx(8, abs=0.5)


def test_images_have_an_appearance_but_no_change(tmp_path):
    Image.new("RGB", (100, 60), (255, 255, 255)).save(tmp_path / "white.png")
    sample = measure_natural(find_natural(tmp_path, seed=0), CANVAS, None, stride=4)
    assert (sample.content.videos, sample.content.images) == (0, 1)
    assert measured(sample)["brightness"].median == pytest.approx(100, abs=0.5)
    assert measured(sample)["change"].count == 0


def test_unreadable_files_are_skipped_and_named(tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "good.png")
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    sample = measure_natural(find_natural(tmp_path, seed=0), CANVAS, None, stride=4)
    assert sample.content.images == 1
    assert sorted(text.partition(":")[0] for text in sample.content.skipped) == ["bad.jpg", "bad.mp4"]


def test_folder_with_nothing_readable_is_refused(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    with pytest.raises(ReportError, match=r"not one of 1 files can be read; bad\.jpg"):
        measure_natural(find_natural(tmp_path, seed=0), CANVAS, None, stride=4)


def test_folder_without_videos_and_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ReportError, match="but 1 other files"):
        find_natural(tmp_path, seed=0)
    with pytest.raises(ReportError, match="which is no folder"):
        find_natural(tmp_path / "nowhere", seed=0)
