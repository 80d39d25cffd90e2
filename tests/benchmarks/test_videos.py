"""The comparison of decoders: all are asked for the same frames, and give them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tiny_videos import counting, write_video

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def decoders() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module("videos")
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_every_decoder_is_measured_on_the_same_frames(
    decoders: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_video(tmp_path / "a.mp4", counting(80), codec="libx264")
    readers = {name: read for name, read in decoders.READERS.items() if name != "TorchCodec"}
    rates = decoders.measure(path, readers, clips=2, short_side=48)
    assert list(rates) == ["PyAV", "PyAV from the start", "OpenCV"]
    assert min(rates.values()) > 0
    assert capsys.readouterr().out == "", "no decoder gave other frames"
    wrong = {"PyAV": readers["PyAV"], "late": lambda path, choose, side: readers["PyAV"](path, choose, side)[::-1]}
    decoders.measure(path, wrong, clips=1, short_side=48)
    assert capsys.readouterr().out == "note: late gives other frames of a.mp4 than PyAV\n"


def test_videos_are_kept_as_those_of_kinetics(
    decoders: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "KEPT_FRAMES", 30)
    source = write_video(tmp_path / "a.mp4", counting(20), codec="libx264")
    kept = decoders.as_kinetics_is_kept(source, tmp_path / "b.mp4")
    shown = []

    def choose(info):
        shown.append((info.num_frames, info.height, info.width))
        return decoders.np.array([0])

    decoders.READERS["PyAV"](kept, choose, 256)
    assert shown == [(30, 256, 340)]
