"""Worker processes that die, run out of memory, or lose their parent."""

from __future__ import annotations

import multiprocessing
import multiprocessing.util
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from tiny import TinyDataset, TinyParams

from smile_synth.errors import StoreError
from smile_synth.store import render_store
from smile_synth.store.workspace import Workspace

CRASHES = Path(__file__).parents[1] / "store_crashes.py"
DEATH = (
    "a worker process was killed by signal 9 .*fewer --workers; completed shards are safe: run the same command again"
)
FoundT = TypeVar("FoundT")
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@pytest.mark.parametrize("kilobytes", [1, 4096])
def test_a_worker_killed_before_it_reads_its_job_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kilobytes: int
) -> None:
    # More than a pipe holds, too: handing that to a dead process must neither hang nor be a traceback.
    spawn = multiprocessing.util.spawnv_passfds

    def spawn_and_kill(path: bytes, command: list[str], passed: list[int]) -> int:
        pid: int = spawn(path, command, passed)
        if "--multiprocessing-fork" in command:
            os.kill(pid, signal.SIGKILL)
        return pid

    monkeypatch.setattr("multiprocessing.util.spawnv_passfds", spawn_and_kill)
    dataset = TinyDataset()
    dataset._rebuilt_from = (*dataset._rebuilt_from, "x" * 1024 * kilobytes)
    with pytest.raises(StoreError, match="killed by signal 9 while it started; if memory ran out"):
        render_store(dataset, tmp_path / "clips", recipe=dataset.recipe(), workers=2)
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_a_worker_killed_at_20_random_moments_of_its_start_is_named(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    dataset = TinyDataset(params=TinyParams(seconds_a_clip=0.5))
    began = time.monotonic()
    render_store(TinyDataset(), tmp_path / "timed", recipe=TinyDataset().recipe(), workers=1)
    took_s = time.monotonic() - began
    for number in range(20):
        killer = threading.Thread(target=_kill_a_child, args=(chance.uniform(0, took_s),))
        killer.start()
        with pytest.raises(StoreError, match=DEATH):
            render_store(dataset, tmp_path / f"killed-{number}", recipe=dataset.recipe(), workers=2)
        killer.join()


def _kill_a_child(delay_s: float) -> None:
    while not (children := multiprocessing.active_children()):
        time.sleep(0.001)
    time.sleep(delay_s)
    children[0].kill()


@pytest.mark.parametrize("workers", [0, 1])
def test_too_little_memory_for_a_clip_is_one_error_and_completed_shards_stay(tmp_path: Path, workers: int) -> None:
    dataset = TinyDataset(params=TinyParams(exhausts_at=5))
    with pytest.raises(
        StoreError, match=r"not enough memory to render shard 1 of .*clips \(Unable to allocate 8 GiB\)"
    ):
        render_store(dataset, tmp_path / "clips", recipe=dataset.recipe(), workers=workers)
    assert list(Workspace(tmp_path / "clips").completed()) == [0]
    assert len(render_store(TinyDataset(), tmp_path / "other", recipe=TinyDataset().recipe())) == 10


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_clips_larger_than_the_memory_there_is_end_the_command_in_one_line(tmp_path: Path, workers: int) -> None:
    limit = 8 * 2**30
    sizes = ("height=2048", "width=2048", "frames=1024")
    done = subprocess.run(
        [sys.executable, "-m", "smile_synth", "render", "demo", "--out", "clips", "--workers", str(workers)]
        + [part for size in sizes for part in ("--set", f"dataset.canvas.{size}")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.returncode == 2, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("smile-synth:"))
    assert "not enough memory to render a clip" in line
    assert "Traceback" not in done.stderr


@needs_proc
@pytest.mark.parametrize("state", ["starting", "rendering", "stopped", "measuring"])
def test_workers_end_with_their_parent_however_that_ends(tmp_path: Path, state: str) -> None:
    what = "measure" if state == "measuring" else "render"
    process = subprocess.Popen([sys.executable, str(CRASHES), what, str(tmp_path / "clips")])
    try:
        workers = _wait_for(lambda: _workers_of(process.pid), process)
        if state != "starting":
            _wait_for(lambda: len(list(tmp_path.glob("clips/.render/drafts/*"))) == len(workers), process)
        for worker in workers if state == "stopped" else []:
            os.kill(worker, signal.SIGSTOP)
    finally:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 30
    while any(map(_is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [worker for worker in workers if _is_running(worker)]


def _wait_for(look: Callable[[], FoundT], process: subprocess.Popen[bytes]) -> FoundT:
    deadline = time.monotonic() + 60
    while not (found := look()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found, "the rendering did not come so far"
    return found


def _workers_of(pid: int) -> list[int]:
    """Return both workers of a rendering, or nothing while they are not both there."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    workers = [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    return workers if len(workers) == 2 else []


def _is_running(pid: int) -> bool:
    try:
        # A process that has ended stays a zombie until somebody waits for it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_a_script_that_guards_nothing_is_told_what_to_do(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(f"import smile_synth as ss\nss.render('demo', {str(tmp_path / 'clips')!r}, workers=2)\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "while it started; in a script, call this below: if __name__ == '__main__'" in done.stderr
