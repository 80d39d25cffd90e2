"""Building shards on a Ray cluster that is already running: each task owns one shard, lost ones run again."""

from __future__ import annotations

import pickle
import time
from collections import deque
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
SECONDS_BETWEEN_LOOKS = 5.0


def on_ray(
    dataset: Dataset,
    layout: Layout,
    workspace: Workspace,
    shards: Sequence[int],
    *,
    advance: Callable[[int], None],
    note: Callable[[str], None] = lambda text: None,
) -> None:
    """Build shards on the Ray cluster of ``RAY_ADDRESS``, or the one that runs on this machine.

    Nodes may come and go: a shard whose node is lost is built by another, up to ``MAX_RETRIES`` times, new nodes get
    shards, and while there is no node everything waits. The store must lie where every node sees it under the same
    path.

    Args:
        dataset, layout, workspace, shards, advance: as for every engine.
        note: called with a line whenever the number of the cluster's cores has changed.

    Raises:
        GeneratorError: a generator failed.
        StoreError: there is no Ray or no cluster, a shard could not be written, or a node died too often.
    """
    ray = _connected_ray()
    task = ray.remote(num_cpus=1, max_retries=MAX_RETRIES)(_build)
    shared = (ray.put(pickle.dumps(dataset)), layout, workspace.store.resolve(), workspace.part)
    waiting, running = deque(shards), dict[Any, int]()
    cores = _Cores(ray, note)
    try:
        while waiting or running:
            while waiting and len(running) < max(1, SHARDS_IN_FLIGHT_A_CORE * cores.look()):
                shard = waiting.popleft()
                running[task.remote(*shared, shard)] = shard
            for reference in _finished(ray, list(running)):
                shard = running.pop(reference)
                _raise_failure(ray, reference, shard)
                advance(len(layout.clips_of(shard)))
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


class _Cores:
    """The cores of a cluster, looked at now and then.

    Args:
        ray: the connected module.
        note: called when their number has changed.
    """

    def __init__(self, ray: Any, note: Callable[[str], None]) -> None:
        self._ray, self._note = ray, note
        self._count: int | None = None
        self._next_look_s = 0.0

    def look(self) -> int:
        """Return how many there are."""
        now = time.monotonic()
        if self._count is None or now >= self._next_look_s:
            self._next_look_s = now + SECONDS_BETWEEN_LOOKS
            count = int(self._ray.cluster_resources().get("CPU", 0))
            if count != self._count:
                waits = "; waiting for nodes, completed shards are safe" if count == 0 else ""
                self._note(f"the cluster has {count} cores{waits}")
            self._count = count
        return self._count


def _finished(ray: Any, references: list[Any]) -> list[Any]:
    """Return what has finished: all of it, as soon as there is anything; nothing once it is time to look around."""
    done, rest = ray.wait(references, num_returns=1, timeout=SECONDS_BETWEEN_LOOKS)
    if done and rest:
        done += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
    return list(done)


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
