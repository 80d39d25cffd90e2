"""Clips of virtual stores and of streams, rendered by processes: the same batches, in order, and every fault named."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from smile_synth.errors import GeneratorError, LoaderError, StoreError
from smile_synth.generator.dataset import Dataset
from smile_synth.loader.batch import Batch
from smile_synth.loader.loader import Loader
from smile_synth.loader.memory import BatchShape, SharedMemory
from smile_synth.recipe.recipe import Recipe, load_recipe
from smile_synth.store import Store, render_store
from smile_synth.store.stream import MOST_CLIPS, Stream

RECIPE = """
name: small
seed: 5
dataset:
  clips: 40
  generator: GENERATOR
  canvas: {height: 16, width: 16, frames: 3}
"""
FAULTY = """
import os, time
import numpy as np
from smile_synth.generator import Generator
from smile_synth.params import StrictParams
from smile_synth.scene import Scene

class Params(StrictParams):
    pass

class Faulty(Generator[Params]):
    "Noise that fails in every eighth clip, as the environment says."
    Params = Params
    max_objects = 0
    label_specs = {}

    def sample(self, *, rng):
        canvas = self.context.canvas
        background = rng.integers(0, 256, (canvas.height, canvas.width, 3), dtype=np.uint8)
        if background[0, 0, 0] % 8 == 0:
            if os.environ["FAULT"] == "raise":
                raise ValueError("as it was told")
            if os.environ["FAULT"] == "wait":
                time.sleep(0.4)
                return Scene(canvas, background)
            os._exit(3)
        return Scene(canvas, background)
"""


EXHAUSTING = """
import multiprocessing
import smile_synth.loader.pool

def exhausted(*_):
    raise MemoryError

if multiprocessing.parent_process() is not None:
    smile_synth.loader.pool.render_into = exhausted
"""


def recipe(folder: Path, generator: str = "shapes", text: str = RECIPE) -> Recipe:
    (folder / "small.yaml").write_text(text.replace("GENERATOR", generator))
    return load_recipe(folder / "small.yaml")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return recipe(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def stores(small: Recipe) -> tuple[Store, Store]:
    dataset, resolved = Dataset.of(small), small.resolved()
    return (
        render_store(dataset, small.folder / "full", recipe=resolved),
        render_store(dataset, small.folder / "virtual", recipe=resolved, is_virtual=True),
    )


def take(loader: Loader, count: int) -> list[Batch]:
    return list(itertools.islice(loader, count))


def same(ours: Batch, theirs: Batch) -> None:
    for name in ("frames_BTHWC", "boxes_BKT4", "motion_BTHW2", "clips_B"):
        one, other = getattr(ours, name).numpy(), getattr(theirs, name).numpy()
        np.testing.assert_array_equal(one, other)


def test_batches_of_virtual_stores_are_those_of_full_ones_beside_which_they_are_read(
    stores: tuple[Store, Store],
) -> None:
    full, virtual = stores
    with (
        Loader([full, full], batch_size=16, seed=1, motion=True) as one,
        Loader([full, virtual], batch_size=16, seed=1, motion=True, render_workers=2) as other,
    ):
        for ours, theirs in zip(take(one, 7), take(other, 7), strict=True):
            same(ours, theirs)
            assert set(theirs.store_B.tolist()) == {0, 1}


def test_memory_is_used_again_once_nobody_holds_the_batch(stores: tuple[Store, Store]) -> None:
    with Loader([stores[1]], batch_size=8, seed=1, prefetch=1, render_workers=1) as loader:
        held = take(loader, 1)[0]
        kept = held.frames_BTHWC.clone()
        places = {next(iter(loader)).frames_BTHWC.data_ptr() for _ in range(12)}
        assert len(places) <= 3
        assert held.frames_BTHWC.data_ptr() not in places
        assert torch.equal(held.frames_BTHWC, kept)
        boxes = held.boxes_BKT4
        del held
        assert next(iter(loader)).boxes_BKT4.data_ptr() != boxes.data_ptr()


def test_a_stream_never_repeats_a_clip_and_is_a_function_of_its_position(small: Recipe) -> None:
    stream = Stream(small)
    assert stream.epoch_clips == 40
    with Loader([stream], batch_size=12, seed=1, render_workers=1, motion=True) as loader:
        batches = take(loader, 7)
        assert loader.steps_per_epoch == 3
    assert [clip for batch in batches for clip in batch.clips_B.tolist()] == list(range(84))
    assert [(batch.epoch, batch.step) for batch in batches[2:5]] == [(0, 2), (1, 0), (1, 1)]
    with (
        Loader([stream], batch_size=12, seed=1, rank=0, world_size=2, render_workers=1, motion=True) as first,
        Loader([stream], batch_size=12, seed=1, rank=1, world_size=2, render_workers=1, motion=True) as second,
    ):
        for loader in (first, second):
            loader.load_position(batches[3].position)
        halves = [next(iter(loader)) for loader in (first, second)]
    for name in ("frames_BTHWC", "boxes_BKT4", "motion_BTHW2", "clips_B"):
        assert torch.equal(
            torch.cat([getattr(half, name) for half in halves]).nan_to_num(-1), getattr(batches[4], name).nan_to_num(-1)
        )


def test_a_stream_shows_the_clips_of_its_recipe(small: Recipe, stores: tuple[Store, Store]) -> None:
    stream = Stream(small)
    np.testing.assert_array_equal(stream.read_frames([3, 39]), stores[0].read_frames([3, 39]))
    with Loader([stream], batch_size=4, seed=1, render_workers=1, first_clip=36) as loader:
        np.testing.assert_array_equal(next(iter(loader)).frames_BTHWC[3].numpy(), stores[0].read_frames([39])[0])
    with pytest.raises(StoreError, match="is a stream, which keeps no 'boxes'"):
        stream.column("boxes")


def test_an_epoch_without_clips_never_ends(tmp_path: Path) -> None:
    stream = Stream(recipe(tmp_path, text=RECIPE.replace("  clips: 40\n", "")))
    assert stream.epoch_clips is None
    with Loader([stream], batch_size=300, seed=1, render_workers=1) as loader:
        assert loader.steps_per_epoch > 10**6


@pytest.mark.parametrize("changes", [{"seed": 6}, {"name": "other"}])
def test_what_makes_clips_decides_over_the_digest(small: Recipe, changes: dict[str, object]) -> None:
    other = small.model_copy(update=changes)
    other._folder = small.folder
    assert (Stream(other).digest == Stream(small).digest) == ("name" in changes)


def test_streams_are_not_mixed(small: Recipe, stores: tuple[Store, Store]) -> None:
    stream = Stream(small)
    with pytest.raises(LoaderError, match="is a stream, which cannot be mixed"):
        Loader([stream, stores[0]], batch_size=2, seed=0)
    with pytest.raises(LoaderError, match="is one stream"):
        Loader([stream], batch_size=2, seed=0, weights=[1.0])
    with pytest.raises(LoaderError, match="first_clip"):
        Loader([stores[0]], batch_size=2, seed=0, first_clip=4)
    for first_clip in (-1, MOST_CLIPS):
        with pytest.raises(LoaderError, match="first_clip must be 0 to 999999999"):
            Loader([stream], batch_size=2, seed=0, first_clip=first_clip)


def test_a_stream_ends_where_its_numbers_do(small: Recipe) -> None:
    with Loader([Stream(small)], batch_size=8, seed=1, render_workers=1, first_clip=MOST_CLIPS - 20) as loader:
        assert [int(batch.clips_B[-1]) for batch in take(loader, 2)] == [MOST_CLIPS - 13, MOST_CLIPS - 5]
        with pytest.raises(LoaderError, match="clips of stream:small are used up: their numbers end at 999999999"):
            next(iter(loader))


def slow_stream(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Stream, int]:
    """Return clips of which every eighth takes long, and the number of the clip before the first of these."""
    (folder / "faulty.py").write_text(FAULTY)
    monkeypatch.setenv("FAULT", "wait")
    stream = Stream(recipe(folder, "faulty.py:Faulty"))
    is_slow = stream.read_frames(range(1, 40))[:, 0, 0, 0, 0] % 8 == 0
    return stream, int(np.flatnonzero(is_slow)[0])


def test_memory_is_not_used_again_while_a_process_writes_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, first = slow_stream(tmp_path, monkeypatch)
    with Loader([stream], batch_size=1, seed=1, render_workers=2, prefetch=3, first_clip=first) as loader:
        beginning = loader.position
        next(iter(loader))
        # A process is at the slow clip.
        loader.load_position({**beginning, "offset": 20})
        batches = take(loader, 8)
        time.sleep(0.5)
        for batch in batches:
            np.testing.assert_array_equal(batch.frames_BTHWC.numpy(), stream.read_frames(batch.clips_B.numpy()))


def test_ctrl_c_while_a_batch_is_awaited_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, first = slow_stream(tmp_path, monkeypatch)
    main = threading.main_thread().ident
    assert main is not None
    with Loader([stream], batch_size=1, seed=1, render_workers=1, prefetch=0, first_clip=first) as loader:
        next(iter(loader))
        threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            next(iter(loader))
        assert [batch.clips_B.tolist() for batch in take(loader, 2)] == [[first + 1], [first + 2]]


def test_processes_outlive_the_thread_that_first_asked_for_a_batch(stores: tuple[Store, Store]) -> None:
    with Loader([stores[1]], batch_size=8, seed=1, render_workers=1) as loader:
        asking = threading.Thread(target=next, args=(iter(loader),))
        asking.start()
        asking.join()
        time.sleep(0.5)
        assert len(take(loader, 8)) == 8


def test_too_little_memory_is_named_with_clip_seed_and_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "faulty.py").write_text(EXHAUSTING + FAULTY)
    monkeypatch.setenv("FAULT", "wait")
    with (
        Loader([Stream(recipe(tmp_path, "faulty.py:Faulty"))], batch_size=8, seed=1, render_workers=1) as loader,
        pytest.raises(LoaderError, match=r"failed \(not enough memory; .*\) in clip \d+ \(seed 5\). Repeat .* preview"),
    ):
        take(loader, 4)


def test_a_generator_that_raises_is_named_with_clip_seed_and_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    monkeypatch.setenv("FAULT", "raise")
    stream = Stream(recipe(tmp_path, "faulty.py:Faulty"))
    with (
        Loader([stream], batch_size=8, seed=1, render_workers=1) as loader,
        pytest.raises(
            GeneratorError, match=r"failed in clip \d+ \(seed 5\): ValueError: as it was told.*preview"
        ) as told,
    ):
        take(loader, 20)
    clip = int(str(told.value).split("failed in clip ")[1].split()[0])
    assert f"--seed 5 --clip {clip} --set dataset.clips={clip + 1} --debug" in str(told.value)


def test_a_process_that_dies_is_named_with_clip_seed_and_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    monkeypatch.setenv("FAULT", "die")
    stream = Stream(recipe(tmp_path, "faulty.py:Faulty"))
    with Loader([stream], batch_size=8, seed=1, render_workers=1) as loader:
        with pytest.raises(LoaderError, match=r"ended with exit code 3 in clip \d+ \(seed 5\). Repeat .* preview"):
            take(loader, 20)
        with pytest.raises(LoaderError, match="ended with exit code 3"):
            next(iter(loader))


@pytest.mark.slow
def test_a_killed_process_is_named(small: Recipe) -> None:
    with Loader([Stream(small)], batch_size=8, seed=1, render_workers=1) as loader:
        take(loader, 1)
        assert loader._pool is not None
        os.kill(loader._pool.process_ids[0], signal.SIGKILL)
        with pytest.raises(LoaderError, match=r"was killed by signal 9 \(if memory .* in clip \d+ \(seed 5\)"):
            take(loader, 50)


SCRIPT = """
import sys
from smile_synth.loader.loader import Loader
from smile_synth.recipe.recipe import load_recipe
from smile_synth.store.stream import Stream

if __name__ == "__main__":
    with Loader([Stream(load_recipe("small.yaml"))], batch_size=8, seed=1, render_workers=2) as loader:
        batches = iter(loader)
        next(batches)
        print(*loader._pool.process_ids, flush=True)
        while True:
            next(batches)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_no_process_is_left_behind(tmp_path: Path, number: signal.Signals) -> None:
    recipe(tmp_path)
    (tmp_path / "script.py").write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        workers = [int(word) for word in process.stdout.readline().split()]
        assert len(workers) == 2
        # As a terminal does it: to all processes of the group.
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        assert process.wait(60) != 0
    deadline = time.monotonic() + 20
    while any(is_running(worker) for worker in workers):
        assert time.monotonic() < deadline, "a process that renders is left"
        time.sleep(0.05)


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_arrays_lie_in_one_memory_without_touching() -> None:
    shape = BatchShape((2, 3, 4, 5, 3), (2, 1, 3, 4), (2, 3, 1, 1, 2))
    memory = SharedMemory(shape.nbytes)
    other = SharedMemory(shape.nbytes, os.dup(memory.handle))
    for value, array in enumerate(shape.arrays(memory.bytes), 1):
        array[...] = value
    for value, array in enumerate(shape.arrays(other.bytes), 1):
        assert (array == value).all()
    memory.close_handle()
    other.close_handle()
