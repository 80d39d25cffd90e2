"""Rendering on a Ray cluster whose nodes are lost and come back."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tiny import TinyDataset, TinyParams, tree

from smile_synth.errors import GeneratorError, SmileSynthError
from smile_synth.store import render_store
from smile_synth.store.engines import ray_tasks
from smile_synth.store.engines.ray_tasks import on_ray
from smile_synth.store.workspace import Workspace
from smile_synth.store.writer import fill_store, finish_store

TESTS = str(Path(__file__).parents[1])


class ImaginedRay:
    """A cluster in this process: tasks run when they are waited for, oldest first, and cores come and go.

    Args:
        cores: how many there are at every look; the last number stays.
    """

    def __init__(self, cores: list[int]) -> None:
        self.cores, self.tasks, self.most_in_flight = cores, list[Callable[[], object]](), list[int]()
        self.exceptions = self
        self.RayError = RuntimeError

    def cluster_resources(self) -> dict[str, float]:
        self.most_in_flight.append(0)
        count = self.cores.pop(0) if len(self.cores) > 1 else self.cores[0]
        return {"CPU": float(count)} if count else {}

    def remote(self, **_: object) -> Any:
        return lambda function: self._Task(self, function)

    class _Task:
        def __init__(self, ray: ImaginedRay, function: Callable[..., object]) -> None:
            self.ray, self.function = ray, function

        def remote(self, *arguments: object) -> Callable[[], object]:
            def task() -> object:
                return self.function(*arguments)

            self.ray.tasks.append(task)
            self.ray.most_in_flight[-1] = max(self.ray.most_in_flight[-1], len(self.ray.tasks))
            return task

    def put(self, value: object) -> object:
        return value

    def wait(self, references: list[Any], *, num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        return references[:1], references[1:] if timeout else []

    def get(self, reference: Any) -> object:
        self.tasks.remove(reference)
        return reference()

    def cancel(self, reference: Any, *, force: bool) -> None:
        raise AssertionError("nothing is left to cancel")


def test_tasks_in_flight_follow_the_cores_of_the_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray, notes = ImaginedRay([1] * 3 + [3] * 12 + [0] * 4 + [2]), list[str]()
    monkeypatch.setattr(ray_tasks, "_connected_ray", lambda: ray)
    monkeypatch.setattr(ray_tasks, "SECONDS_BETWEEN_LOOKS", 1e-9)
    dataset = TinyDataset(clips=40, shard=2)

    fill_store(dataset, tmp_path / "cluster", recipe=dataset.recipe(), engine=partial(on_ray, note=notes.append))
    expected = render_store(dataset, tmp_path / "alone", recipe=dataset.recipe()).path
    assert tree(finish_store(tmp_path / "cluster").path) == tree(expected)
    assert max(ray.most_in_flight) == 6, "two shards a core, of three cores"
    assert notes == [
        "the cluster has 1 cores",
        "the cluster has 3 cores",
        "the cluster has 0 cores; waiting for nodes, completed shards are safe",
        "the cluster has 2 cores",
    ]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    # As on a cluster of spot nodes: the head, which stays, renders nothing.
    head = {"num_cpus": 0, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        with_node(cluster)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": TESTS}})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def with_node(cluster: Any) -> Any:
    return cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)


@pytest.mark.slow
def test_two_nodes_write_the_same_bytes_and_pass_on_errors(cluster: Any, tmp_path: Path) -> None:
    dataset = TinyDataset()
    expected = render_store(dataset, tmp_path / "alone", recipe=dataset.recipe()).path
    fill_store(dataset, tmp_path / "cluster", recipe=dataset.recipe(), engine=on_ray)
    assert tree(finish_store(tmp_path / "cluster").path) == tree(expected)
    failing = TinyDataset(params=TinyParams(fails_at=5))
    with pytest.raises(GeneratorError, match=r"^generator 'tiny' failed in clip 5 \(seed 7\): as it was told$"):
        fill_store(failing, tmp_path / "failing", recipe=failing.recipe(), engine=on_ray)


@pytest.mark.slow
def test_nodes_are_lost_and_return_while_they_render(cluster: Any, tmp_path: Path) -> None:
    path, notes, failures = tmp_path / "cluster", list[str](), list[SmileSynthError]()
    slow = TinyDataset(clips=96, params=TinyParams(seconds_a_clip=0.15))

    def render() -> None:
        try:
            fill_store(slow, path, recipe=slow.recipe(), engine=partial(on_ray, note=notes.append))
        except SmileSynthError as error:
            failures.append(error)

    def completed() -> int:
        return len(Workspace(path).completed())

    def wait_until(is_so: Callable[[], bool], event: str) -> None:
        end = time.monotonic() + 120
        while not is_so():
            assert not failures
            assert time.monotonic() < end, event
            time.sleep(0.05)

    # Nodes are started by the main thread alone, because they set handlers of signals.
    rendering = threading.Thread(target=render, daemon=True)
    rendering.start()
    wait_until(lambda: completed() >= 2, "two shards are there")
    for node in [node for node in cluster.worker_nodes if node is not cluster.head_node]:
        cluster.remove_node(node, allow_graceful=False)
    wait_until(lambda: any("has 0 cores" in note for note in notes), "no node is left")
    begun = completed()
    assert begun < 24, "shards are left to build"
    returned = [with_node(cluster) for _ in range(2)]
    wait_until(lambda: completed() >= begun + 3, "new nodes have built shards")
    cluster.remove_node(returned[0], allow_graceful=False)
    with_node(cluster)
    rendering.join(timeout=180)
    assert not rendering.is_alive()
    assert failures == []
    expected = TinyDataset(clips=96)
    alone = render_store(expected, tmp_path / "alone", recipe=expected.recipe()).path
    assert tree(finish_store(path).path) == tree(alone)
