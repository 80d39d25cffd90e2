"""Clips a second and core of every bundled family, sampled and rendered, beside decoding natural video.

Run: ``python benchmarks/generators.py [--clips N] [--side 224] [--only NAME ...]``

Every family is drawn with its default parameters over the built-in images. The time is CPU time of one process, so
that other work on the machine disturbs it little. The last column compares with the obvious alternative: decoding
16 of 64 frames of a 340 x 256 H.264 file with PyAV, written and measured in the same run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from smile_synth.generator.dataset import Dataset
from smile_synth.generator.registry import BUNDLED, list_generators
from smile_synth.randomness import stream
from smile_synth.recipe.dataset import CanvasParams, DatasetParams
from smile_synth.render import render

WANTED_PER_S = {"fractals": 25, "noise": 25}
WANTED_OTHERWISE = 100
NATURAL_FRAMES, NATURAL_HEIGHT, NATURAL_WIDTH = 64, 256, 340


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds that ``work`` takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure_family(name: str, num_clips: int, side: int) -> tuple[float, float]:
    """Return CPU milliseconds per clip of sampling and of rendering, the first clips left out."""
    params = DatasetParams(clips=num_clips + 8, canvas=CanvasParams(height=side, width=side), generator=name)
    dataset = Dataset(params, seed=0, folder=Path())
    for clip in range(8):
        render(dataset.sample(num_clips + clip))
    sampling = rendering = 0.0
    for clip in range(num_clips):
        start = time.process_time()
        scene = dataset.sample(clip)
        middle = time.process_time()
        render(scene)
        sampling, rendering = sampling + middle - start, rendering + time.process_time() - middle
    return 1000 * sampling / num_clips, 1000 * rendering / num_clips


def measure_natural_video(folder: Path) -> float:
    """Return clips a second of decoding every fourth of 64 frames of an H.264 file, on one thread."""
    import av

    path = folder / "natural.mp4"
    size = (NATURAL_FRAMES, NATURAL_HEIGHT // 8, NATURAL_WIDTH // 8, 3)
    noise = stream(0, "benchmark").normal(0, 40, size).cumsum(axis=0) / 3 + 128
    frames = np.clip(noise, 0, 255).astype(np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    with av.open(str(path), "w") as container:
        track = container.add_stream("libx264", rate=25)
        track.height, track.width = frames.shape[1:3]
        track.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(track.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(track.encode())

    def decode() -> None:
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "NONE"
            for index, frame in enumerate(container.decode(video=0)):
                if index % 4 == 0:
                    frame.to_ndarray(format="rgb24")

    decode()
    return 10 / cpu_seconds(lambda: [decode() for _ in range(10)])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--only", nargs="*", default=None)
    options = parser.parse_args()
    bundled = [entry.name for entry in list_generators() if entry.target.startswith(BUNDLED)]
    names = options.only or bundled
    with tempfile.TemporaryDirectory() as folder:
        natural = measure_natural_video(Path(folder))
    print(f"16 frames, {options.side} px, {options.clips} clips a family; natural video: {natural:.0f} clips/s/core")
    print(f"{'family':14} {'sample ms':>9} {'render ms':>9} {'clips/s/core':>12} {'wanted':>6} {'x natural':>9}")
    for name in names:
        sampling, rendering = measure_family(name, options.clips, options.side)
        rate = 1000 / (sampling + rendering)
        wanted = WANTED_PER_S.get(name, WANTED_OTHERWISE)
        verdict = "" if rate >= wanted else "  below"
        print(f"{name:14} {sampling:9.2f} {rendering:9.2f} {rate:12.0f} {wanted:6} {rate / natural:9.1f}{verdict}")


if __name__ == "__main__":
    main()
