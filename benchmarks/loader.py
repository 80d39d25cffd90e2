"""Random single clips from a store into batches: our loader against those one would write first.

All read the same clips of 16x224x224 in the same random order, from files in the page cache:

- decoding alone: zstd of chunks that are in memory already, on as many threads: the most that a loader can reach
- ours, and TensorStore with 32 reads in flight, straight into the batch
- zarr-python, one clip at a time, and in a DataLoader of 2 worker processes
- PyAV: 16 of the 64 frames of 340x256 H.264 files, which is what video datasets do

A second table has clips that no store holds: rendered by our processes straight into the batch, and, as one would do
it first, by threads of this process. Processor time is that of all processes; on a busy machine it says more than the
clock.

    python benchmarks/loader.py
    python benchmarks/loader.py --clips 4096 --threads 8
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import zarr
from numcodecs.zstd import Zstd
from published_clips import published_recipe, published_store

from smile_synth.loader.loader import Loader
from smile_synth.store import Store
from smile_synth.store.stream import Stream

BATCH = 32
IN_FLIGHT = 32
NATURAL_FRAMES, NATURAL_HEIGHT, NATURAL_WIDTH = 64, 256, 340


def clips_per_second(run: Callable[[], int], seconds: float) -> float:
    """Return the clips a second of ``run``, which returns how many it did; repeated for about ``seconds``."""
    done, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        done += run()
    return done / elapsed


def decoding_alone(store: Store, threads: int) -> Callable[[], int]:
    """Decode chunks that lie in memory, all of the store's in random order, as the others read them."""
    reader, spec = store.reader("frames"), store.layout.array("frames")
    buffer = np.empty(2 * spec.item_nbytes, np.uint8)
    payloads = []
    for clip in range(len(store)):
        shard, slot = divmod(clip, store.layout.clips_per_shard)
        payloads.append(reader.open_shard(shard).read(slot, buffer).copy())
    batches = [np.empty((BATCH, *spec.item_shape), np.uint8) for _ in range(threads)]
    codec, pool, clips = Zstd(), ThreadPoolExecutor(threads), shuffled(store)

    def decode(thread: int, chosen: Sequence[int]) -> int:
        for row, clip in enumerate(chosen):
            codec.decode(payloads[clip], batches[thread][row])
        return len(chosen)

    def run() -> int:
        chosen = [list(itertools.islice(clips, BATCH)) for _ in range(threads)]
        return sum(pool.map(decode, range(threads), chosen))

    return run


def our_loader(store: Store, threads: int) -> Callable[[], int]:
    """Read with our loader."""
    batches = iter(Loader([store], batch_size=BATCH, seed=0, threads=threads))
    return lambda: len(next(batches).frames_BTHWC)


def shuffled(store: Store) -> Iterator[int]:
    """Yield clips in random order, without end."""
    for epoch in itertools.count():
        yield from np.random.default_rng(epoch).permutation(len(store)).tolist()


def tensorstore_reads(store: Store, threads: int) -> Callable[[], int]:
    """Read with TensorStore, straight into the batch."""
    import tensorstore

    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": str(store.path / "frames")},
        "context": {"data_copy_concurrency": {"limit": threads}, "file_io_concurrency": {"limit": threads}},
    }
    frames = tensorstore.open(spec, read=True).result()
    batch_BTHWC = np.empty((BATCH, *frames.shape[1:]), np.uint8)
    target = tensorstore.array(batch_BTHWC)
    clips = shuffled(store)

    def run() -> int:
        copies = [target[row].write(frames[next(clips)]) for row in range(IN_FLIGHT)]
        for copy in copies:
            copy.result()
        return len(copies)

    return run


def zarr_python_reads(store: Store) -> Callable[[], int]:
    """Read with zarr-python, one clip after the other."""
    frames: Any = zarr.open_group(store.path, mode="r")["frames"]
    batch_BTHWC = np.empty((BATCH, *frames.shape[1:]), np.uint8)
    clips = shuffled(store)

    def run() -> int:
        for row in range(BATCH):
            batch_BTHWC[row] = frames[next(clips)]
        return BATCH

    return run


class ZarrClips(torch.utils.data.Dataset[torch.Tensor]):
    """The dataset that one would write for a DataLoader."""

    def __init__(self, path: Path, num_clips: int) -> None:
        self.path, self.num_clips = path, num_clips
        self.frames: Any = None

    def __len__(self) -> int:
        return self.num_clips

    def __getitem__(self, clip: int) -> torch.Tensor:
        if self.frames is None:
            self.frames = zarr.open_group(self.path, mode="r")["frames"]
        return torch.from_numpy(np.asarray(self.frames[clip]))


def data_loader_reads(store: Store) -> Callable[[], int]:
    """Read with a DataLoader of two worker processes over zarr-python."""
    loader = torch.utils.data.DataLoader(
        ZarrClips(store.path, len(store)),
        batch_size=BATCH,
        shuffle=True,
        num_workers=2,
        persistent_workers=True,
        multiprocessing_context="spawn",
        drop_last=True,
    )
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    next(batches)
    return lambda: len(next(batches))


def natural_file(store: Store, folder: Path) -> Path:
    """Write one video of the usual size: clips of the store one after the other, enlarged."""
    import av

    path = folder / "natural.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = NATURAL_WIDTH, NATURAL_HEIGHT, "yuv420p"
        for picture in store.read_frames(range(4)).reshape(-1, *store.layout.array("frames").item_shape[1:]):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(NATURAL_WIDTH, NATURAL_HEIGHT, "yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def pyav_reads(path: Path) -> Callable[[], int]:
    """Decode a file and keep every fourth frame, 16 of them."""
    import av

    def run() -> int:
        kept: list[npt.NDArray[np.uint8]] = []
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "SLICE"
            container.streams.video[0].codec_context.thread_count = 1
            for number, frame in enumerate(container.decode(video=0)):
                if number % 4 == 0:
                    kept.append(frame.to_ndarray(format="rgb24"))
        np.stack(kept)
        return 1

    return run


def rendered_by_processes(workers: int) -> tuple[Callable[[], int], Callable[[], float]]:
    """Render with our loader; returns a reader, and the processor time so far of the processes that render."""
    loader = Loader([Stream(published_recipe(10**6))], batch_size=BATCH, seed=0, render_workers=workers)
    batches = iter(loader)
    next(batches)
    assert loader._pool is not None
    ids = loader._pool.process_ids
    return lambda: len(next(batches).frames_BTHWC), lambda: sum(map(processor_seconds, ids))


def rendered_by_threads(threads: int) -> tuple[Callable[[], int], Callable[[], float]]:
    """Render in threads: sampling one after the other, since generators are made for one thread; drawing together."""
    reader = Stream(published_recipe(10**6)).reader("frames")
    batch_BTHWC = np.empty((BATCH, *reader.spec.item_shape), np.uint8)
    pool, clips = ThreadPoolExecutor(threads), itertools.count()

    def run() -> int:
        list(pool.map(lambda row: reader.read_into(next(clips), batch_BTHWC[row]), range(BATCH)))
        return BATCH

    return run, lambda: 0.0


def processor_seconds(process: int) -> float:
    """Return the processor time that a process has taken so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_rendered(workers: int, seconds: float, rounds: int) -> list[tuple[str, float, float]]:
    """Return name, clips a second and clips a second of processor time; the best of each in rounds through all."""
    cases = [(f"rendered, processes: {n}", *rendered_by_processes(n)) for n in sorted({1, workers})]
    cases += [(f"rendered, threads: {n}", *rendered_by_threads(n)) for n in sorted({1, workers})]
    best: dict[str, tuple[float, float]] = {}
    for _ in range(rounds):
        for name, run, others in cases:
            run()
            before, began, done = time.process_time() + others(), time.perf_counter(), 0
            while time.perf_counter() - began < seconds:
                done += run()
            wall, busy = time.perf_counter() - began, time.process_time() + others() - before
            rates = best.get(name, (0.0, 0.0))
            best[name] = max(rates[0], done / wall), max(rates[1], done / busy)
    return [(name, *rates) for name, rates in best.items()]


def measure(readers: Sequence[tuple[str, Callable[[], int]]], seconds: float, rounds: int) -> dict[str, float]:
    """Return the best rate of each reader; rounds go through all in turn, so that noise hits them alike."""
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name, run in readers:
            best[name] = max(best.get(name, 0.0), clips_per_second(run, seconds))
    return best


def main() -> None:
    """Measure every reader, and print rates and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=512)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--store", type=Path, help="keep the store here for the next time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = published_store(options.store or Path(folder) / "clips", options.clips, workers=options.threads)
        readers = [
            ("decoding alone", decoding_alone(store, options.threads)),
            ("our loader", our_loader(store, options.threads)),
            ("TensorStore", tensorstore_reads(store, options.threads)),
            ("zarr-python", zarr_python_reads(store)),
            ("DataLoader, 2 processes", data_loader_reads(store)),
            ("PyAV, H.264, one core", pyav_reads(natural_file(store, Path(folder)))),
        ]
        rates = measure(readers, options.seconds, options.rounds)
    print(
        f"{options.clips} clips of 16x224x224, batches of {BATCH}, {options.threads} threads; best of {options.rounds}"
    )
    for name, rate in rates.items():
        print(f"{name:<24} {rate:8.1f} clips/s   ours is {rates['our loader'] / rate:6.2f} times as fast")
    for name, wall, busy in measure_rendered(options.threads, options.seconds, options.rounds):
        share = rates["our loader"] / wall
        print(
            f"{name:<24} {wall:8.1f} clips/s   {busy:6.1f} a second of processor time; stored {share:.2f} times as fast"
        )


if __name__ == "__main__":
    main()
