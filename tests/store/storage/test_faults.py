"""A real server, SeaweedFS, with writers killed at random moments, two at a time, and a server that dies."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from object_server import BUCKET, Seaweed, environment, seaweed
from tiny import TinyDataset, tree

from smile_synth.loader.loader import Loader
from smile_synth.store import Store, render_store
from smile_synth.store.storage import storage_of
from smile_synth.store.storage.choice import forget_clients
from smile_synth.store.verify import verify_store
from smile_synth.store.workspace import Workspace

pytestmark = pytest.mark.slow
TESTS, ROOT = Path(__file__).parents[2], Path(__file__).parents[3]
CLIPS = 40
RENDER = """
import sys
from tiny import TinyDataset, TinyParams
from smile_synth.store import render_store

dataset = TinyDataset(clips=int(sys.argv[2]), params=TinyParams(seconds_a_clip=0.05))
if __name__ == "__main__":
    render_store(dataset, sys.argv[1], recipe=dataset.recipe(), workers=int(sys.argv[3]))
"""


ON_RAY = """
import sys
import ray
from tiny import TinyDataset
from smile_synth.store.engines.ray_tasks import on_ray
from smile_synth.store.writer import fill_store, finish_store

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
dataset = TinyDataset(clips=int(sys.argv[2]))
fill_store(dataset, sys.argv[1], recipe=dataset.recipe(), engine=on_ray)
finish_store(sys.argv[1])
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    with seaweed(tmp_path_factory.mktemp("seaweed")) as running, pytest.MonkeyPatch.context() as patch:
        for name, value in environment(running.endpoint).items():
            patch.setenv(name, value)
        forget_clients()
        yield running
    forget_clients()


def writer(url: str, folder: Path, workers: int = 0) -> subprocess.Popen[bytes]:
    script = folder / "render.py"
    script.write_text(RENDER)
    command = [sys.executable, str(script), url, str(CLIPS), str(workers)]
    paths = os.pathsep.join([str(TESTS), str(ROOT)])
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, stderr=subprocess.PIPE)


def objects(url: str) -> dict[str, bytes]:
    storage = storage_of(url)
    return {name: storage.read(name) for name in storage.list()}


def whole(folder: Path) -> dict[str, bytes]:
    dataset = TinyDataset(clips=CLIPS)
    return tree(Path(str(render_store(dataset, folder / "whole", recipe=dataset.recipe()).path)))


@pytest.mark.parametrize("workers", [0, 2])
def test_writers_killed_at_random_moments(server: Seaweed, tmp_path: Path, workers: int) -> None:
    url = f"s3://{BUCKET}/killed-{workers}"
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    completed = 0
    for _ in range(4):
        process = writer(url, tmp_path, workers)
        while len(Workspace(storage_of(url).location).completed()) <= completed and process.poll() is None:
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 0.4))
        process.kill()
        process.communicate()
        completed = len(Workspace(storage_of(url).location).completed())
    assert completed >= 1, f"seed {seed}"
    dataset = TinyDataset(clips=CLIPS)
    store = render_store(dataset, url, recipe=dataset.recipe())
    assert verify_store(store, threads=4) == [], f"seed {seed}"
    assert objects(url) == whole(tmp_path), f"seed {seed}"


def test_tasks_on_ray(server: Seaweed, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    url = f"s3://{BUCKET}/ray"
    (tmp_path / "on_ray.py").write_text(ON_RAY)
    command = [sys.executable, str(tmp_path / "on_ray.py"), url, str(CLIPS)]
    paths = {"PYTHONPATH": os.pathsep.join([str(TESTS), str(ROOT)]), "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(command, env={**os.environ, **paths}, capture_output=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert objects(url) == whole(tmp_path)


def test_two_writers_one_of_them_killed(server: Seaweed, tmp_path: Path) -> None:
    url = f"s3://{BUCKET}/two"
    one, other = writer(url, tmp_path), writer(url, tmp_path)
    while not Workspace(storage_of(url).location).completed():
        time.sleep(0.05)
    one.kill()
    one.communicate()
    _, said = other.communicate(timeout=200)
    assert other.returncode == 0, said.decode()
    assert objects(url) == whole(tmp_path)


def test_a_server_that_dies_and_comes_back_while_clips_are_read(server: Seaweed, tmp_path: Path) -> None:
    dataset = TinyDataset(clips=CLIPS)
    url = f"s3://{BUCKET}/read"
    local = render_store(dataset, tmp_path / "local", recipe=dataset.recipe())
    render_store(dataset, url, recipe=dataset.recipe())

    def restart() -> None:
        time.sleep(0.5)
        server.kill()
        server.start()

    restarting = threading.Thread(target=restart)
    with Loader([Store.open(url)], batch_size=8, seed=5) as ours, Loader([local], batch_size=8, seed=5) as theirs:
        restarting.start()
        batches = 0
        for one, other in zip(ours, theirs, strict=False):
            np.testing.assert_array_equal(one.frames_BTHWC.numpy(), other.frames_BTHWC.numpy())
            batches += 1
            if not restarting.is_alive():
                break
    restarting.join()
    assert batches > 2


def test_reading_on_and_on_takes_no_more_memory(server: Seaweed) -> None:
    import psutil

    dataset = TinyDataset(clips=64, shard=16, size=64, frames=8)
    store = render_store(dataset, f"s3://{BUCKET}/memory", recipe=dataset.recipe())
    with Loader([store], batch_size=16, seed=5, motion=True) as loader:
        sizes = []
        for step, _ in zip(range(400), loader, strict=False):
            if step % 100 == 99:
                sizes.append(psutil.Process().memory_info().rss / 2**20)
    assert sizes[-1] - sizes[0] < 24, sizes


def test_the_benchmark_prints_rates_and_ratios() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "objectstore.py")]
    options = ["--clips", "64", "--seconds", "0.2", "--rounds", "1"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=280, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()[-4:]
    arrays = ("frames and boxes", "frames only")
    assert [line.split("  ")[0] for line in lines] == [
        f"{who}, {what}" for what in arrays for who in ("TensorStore", "ours")
    ]
    assert all(line.endswith("x TensorStore") for line in lines)
