"""Rendering on a Ray cluster of two nodes, one of which dies."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny import TinyDataset, TinyParams, tree

from smile_synth.errors import GeneratorError
from smile_synth.store import render_store
from smile_synth.store.engines.ray_tasks import on_ray
from smile_synth.store.workspace import Workspace
from smile_synth.store.writer import fill_store, finish_store

pytestmark = pytest.mark.slow
TESTS = str(Path(__file__).parents[1])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=small)
    cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": TESTS}})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_two_nodes_write_the_same_bytes_and_pass_on_errors(cluster: Any, tmp_path: Path) -> None:
    dataset = TinyDataset()
    expected = render_store(dataset, tmp_path / "alone", recipe=dataset.recipe()).path
    fill_store(dataset, tmp_path / "cluster", recipe=dataset.recipe(), engine=on_ray)
    assert tree(finish_store(tmp_path / "cluster").path) == tree(expected)
    failing = TinyDataset(params=TinyParams(fails_at=5))
    with pytest.raises(GeneratorError, match=r"^generator 'tiny' failed in clip 5 \(seed 7\): as it was told$"):
        fill_store(failing, tmp_path / "failing", recipe=failing.recipe(), engine=on_ray)


def test_shards_of_a_dead_node_are_built_by_another(cluster: Any, tmp_path: Path) -> None:
    path = tmp_path / "cluster"
    slow = TinyDataset(clips=32, params=TinyParams(seconds_a_clip=0.15))
    expected = TinyDataset(clips=32)
    doomed = cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)

    def kill_when_two_shards_are_there() -> None:
        while len(Workspace(path).completed()) < 2:
            time.sleep(0.05)
        cluster.remove_node(doomed, allow_graceful=False)

    killer = threading.Thread(target=kill_when_two_shards_are_there)
    killer.start()
    fill_store(slow, path, recipe=slow.recipe(), engine=on_ray)
    killer.join()
    alone = render_store(expected, tmp_path / "alone", recipe=expected.recipe()).path
    assert tree(finish_store(path).path) == tree(alone)
