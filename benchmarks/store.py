"""Rendering into a store: compression, where the time goes, two processes against one, and memory.

Clips are 16x224x224 with two objects of the sizes that SMILE published, over photographs.

    python benchmarks/store.py                 # all four
    python benchmarks/store.py compression     # or one: compression, path, scaling, memory
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zstandard
from numcodecs.zstd import Zstd
from published_clips import published_recipe

from smile_synth.generator.dataset import Dataset
from smile_synth.render import render, render_into
from smile_synth.store.build import build_shard
from smile_synth.store.compression import Compress, clip_compressor
from smile_synth.store.layout import Layout, build_layout
from smile_synth.store.workspace import Workspace
from smile_synth.store.writer import fill_store, in_processes

# The published SMILE code, rendering alone, on one core of the machine that the figures here are from.
PUBLISHED_CLIPS_PER_S = 32
LEVELS = (-4, 1, 2, 3, 6)
OUR_LEVELS = (-20, -8, -4, -2, 1, 3)
CLIP_NBYTES = 16 * 224 * 224 * 3
SHARD = 32


def published_dataset(clips: int) -> Dataset:
    """Return the dataset of ``clips`` clips, in small shards."""
    return Dataset.of(published_recipe(clips, clips_per_shard=SHARD))


def codecs() -> Iterator[tuple[str, Compress]]:
    """Yield name and encoder of every setting."""
    for level in LEVELS:
        yield f"zstd {level}", Zstd(level=level).encode
    for level in (-4, 1):
        params = zstandard.ZstdCompressionParameters.from_level(level, enable_ldm=True, window_log=22)
        yield f"zstd {level}, long distance", zstandard.ZstdCompressor(compression_params=params).compress
    for level in OUR_LEVELS:
        yield f"ours at {level}", clip_compressor(level, CLIP_NBYTES)


def measure_compression(num_clips: int) -> None:
    """Print ratio, writing and reading speed of every setting on real clips."""
    dataset = published_dataset(num_clips)
    clips = [render(dataset.sample(clip)).frames_THWC for clip in range(num_clips)]
    out = np.empty_like(clips[0])
    print(f"\n{num_clips} clips, one core; ratio, clips/s compressed, clips/s decompressed")
    decode = Zstd().decode
    for name, encode in codecs():
        encoded = [encode(clip) for clip in clips]
        encode_s = best_seconds(lambda encode=encode: [encode(clip) for clip in clips])
        decode_s = best_seconds(lambda encoded=encoded: [decode(data, out) for data in encoded])
        ratio = sum(clip.nbytes for clip in clips) / sum(map(len, encoded))
        print(f"{name:<24} {ratio:5.2f}  {num_clips / encode_s:7.0f}  {num_clips / decode_s:7.0f}")


def best_seconds(run: Callable[[], object], rounds: int = 5) -> float:
    """Return the least processor time of ``run``, which other programs on the machine disturb less than the clock."""
    times = []
    for _ in range(rounds):
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    return min(times)


def measure_path(num_clips: int) -> None:
    """Print what each part of the way from recipe to file costs, and the whole against the published code."""
    dataset = published_dataset(num_clips)
    layout = layout_of(dataset)
    scenes = [dataset.sample(clip) for clip in range(num_clips)]
    frames_THWC = np.empty(layout.array("frames").item_shape, np.uint8)
    clips = [render(scene).frames_THWC for scene in scenes]
    compress = clip_compressor(layout.zstd_level, CLIP_NBYTES)
    parts = {
        "sample": best_seconds(lambda: [dataset.sample(clip) for clip in range(num_clips)]),
        "render": best_seconds(lambda: [render_into(scene, frames_THWC) for scene in scenes]),
        "compress": best_seconds(lambda: [compress(clip) for clip in clips]),
    }
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "clips")
        workspace.create()
        shards = range(layout.num_shards)
        whole = best_seconds(lambda: [build_shard(dataset, layout, workspace, n, lambda clip: None) for n in shards])
    print(f"\n{num_clips} clips, one core, in one process; ms a clip")
    for name, seconds in parts.items():
        print(f"{name:<24} {1e3 * seconds / num_clips:6.2f}")
    print(f"{'write and the rest':<24} {1e3 * (whole - sum(parts.values())) / num_clips:6.2f}")
    rate = num_clips / whole
    print(f"{'all of it':<24} {1e3 * whole / num_clips:6.2f}   {rate:.0f} clips/s")
    print(f"{rate / PUBLISHED_CLIPS_PER_S:.1f} times the published code's {PUBLISHED_CLIPS_PER_S}, which renders only")


def layout_of(dataset: Dataset) -> Layout:
    """Return the layout of a dataset's store."""
    store = dataset.params.store
    return build_layout(
        dataset.canvas,
        dataset.max_objects,
        dataset.label_specs,
        num_clips=len(dataset),
        clips_per_shard=store.clips_per_shard,
        zstd_level=store.zstd_level,
        motion_cell_px=dataset.params.motion_cell_px,
    )


@dataclass
class Ticks:
    """When how many clips had been begun."""

    times_s: list[float]
    clips: list[int]

    def advance(self, count: int) -> None:
        """Count ``count`` more clips."""
        if count:
            self.times_s.append(time.perf_counter())
            self.clips.append(count)

    def rate(self) -> float:
        """Clips a second between the moments when a quarter and all of them had been begun."""
        begun = np.cumsum(self.clips)
        first = int(np.searchsorted(begun, begun[-1] / 4))
        return float((begun[-1] - begun[first]) / (self.times_s[-1] - self.times_s[first]))


def steady_rate(num_workers: int, num_clips: int) -> float:
    """Return the clips a second of ``num_workers`` processes once they are all at work."""
    recipe = published_recipe(num_clips, clips_per_shard=SHARD)
    dataset, ticks = Dataset.of(recipe), Ticks([], [])
    engine = in_processes(num_workers)

    def timed(*arguments: object, advance: object) -> None:
        engine(*arguments, advance=ticks.advance)  # type: ignore[arg-type]

    with tempfile.TemporaryDirectory() as folder:
        fill_store(dataset, Path(folder) / "clips", recipe=recipe.resolved(), engine=timed)
    return ticks.rate()


def measure_scaling(num_clips: int) -> None:
    """Print the rate of two processes over that of one, in turns."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(3):
        for workers in rates:
            rates[workers].append(steady_rate(workers, workers * num_clips))
    one, two = max(rates[1]), max(rates[2])
    print(f"\nrender, compress and write: 1 process {one:.0f} clips/s, 2 processes {two:.0f}: {two / one:.2f} times")


def measure_memory(num_clips: int) -> None:
    """Print the largest memory that a worker process ever held."""
    steady_rate(1, num_clips)
    peak_kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"\nlargest memory of a worker process over {num_clips} clips: {peak_kb / 1024:.0f} MiB")


MEASUREMENTS = {
    # First: a new process begins with the peak of the one that it was forked from.
    "memory": (measure_memory, 512),
    "compression": (measure_compression, 48),
    "path": (measure_path, 96),
    "scaling": (measure_scaling, 512),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=[[], *MEASUREMENTS], default=[])
    parser.add_argument("--clips", type=int, help="how many clips")
    options = parser.parse_args(arguments)
    for name in options.what or MEASUREMENTS:
        measure, num_clips = MEASUREMENTS[name]
        measure(options.clips or num_clips)


if __name__ == "__main__":
    main()
