"""Building shards on a Ray cluster that is already running: each task owns one shard, lost ones run again."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from smile_synth.errors import SmileSynthError, StoreError
from smile_synth.generator.dataset import Dataset
from smile_synth.store.build import build_shard
from smile_synth.store.layout import Layout
from smile_synth.store.workspace import Workspace

# A shard that takes its node down with it every time must not run for ever.
MAX_RETRIES = 5
SHARDS_IN_FLIGHT_A_CORE = 2


def on_ray(
    dataset: Dataset,
    layout: Layout,
    workspace: Workspace,
    shards: Sequence[int],
    *,
    advance: Callable[[int], None],
) -> None:
    """Build shards on the Ray cluster of ``RAY_ADDRESS``, or the one that runs on this machine.

    The store must lie where every node sees it under the same path.

    Raises:
        GeneratorError: a generator failed.
        StoreError: there is no Ray or no cluster, a shard could not be written, or a node died too often.
    """
    ray = _connected_ray()
    task = ray.remote(num_cpus=1, max_retries=MAX_RETRIES)(_build)
    shared = (ray.put(pickle.dumps(dataset)), layout, workspace.store.resolve(), workspace.part)
    waiting, running = list(reversed(shards)), dict[Any, int]()
    width = max(1, int(SHARDS_IN_FLIGHT_A_CORE * ray.cluster_resources().get("CPU", 1)))
    try:
        while waiting or running:
            while waiting and len(running) < width:
                shard = waiting.pop()
                running[task.remote(*shared, shard)] = shard
            (done,), _ = ray.wait(list(running), num_returns=1)
            shard = running.pop(done)
            _raise_failure(ray, done, shard)
            advance(len(layout.clips_of(shard)))
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def _connected_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise StoreError("--engine ray needs Ray: pip install 'smile-synth[ray]'") from None
    if not ray.is_initialized():
        try:
            ray.init(address="auto", log_to_driver=False)
        except ConnectionError:
            raise StoreError(
                "there is no Ray cluster here; start one with 'ray start --head', or set RAY_ADDRESS"
            ) from None
    return ray


def _raise_failure(ray: Any, reference: Any, shard: int) -> None:
    try:
        failure = ray.get(reference)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[0]
        raise StoreError(
            f"shard {shard} could not be built on the cluster: {reason}; "
            f"completed shards are safe: run the same command again to resume"
        ) from error
    if failure is not None:
        raise failure


def _build(packed: bytes, layout: Layout, store: Path, part: str, shard: int) -> SmileSynthError | None:
    # An error of ours is returned, not raised: Ray would wrap it into a traceback of its own.
    try:
        build_shard(_unpacked(packed), layout, Workspace(store, part), shard, lambda clip: None)
    except SmileSynthError as error:
        return error
    return None


@lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Dataset:
    dataset: Dataset = pickle.loads(packed)
    return dataset
