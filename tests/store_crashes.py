"""Kills renderings, resumes them, and compares the bytes: a program of its own, because it forks."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tiny import TinyDataset, TinyParams, tree

from smile_synth.plan.sample import _MeasuringEngine
from smile_synth.store import render_store
from smile_synth.store.writer import fill_store

SLOW_CLIPS = TinyParams(seconds_a_clip=0.01)


def dataset(params: TinyParams | None = None) -> TinyDataset:
    """Three shards of tiny clips."""
    return TinyDataset(params=params)


def render(path: Path, params: TinyParams | None = None, workers: int = 0) -> None:
    """Render into ``path``, from nothing or from what is there."""
    made = dataset(params)
    render_store(made, path, recipe=made.recipe(), workers=workers)


def in_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked child and return its process id."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        work()
        os._exit(0)
    return pid


def moments(folder: Path, count: int, workers: int) -> str:
    """Kill at random moments, twice a store, then let it finish."""
    render(folder / "whole")
    expected = tree(folder / "whole")
    began = time.monotonic()
    os.waitpid(in_child(lambda: render(folder / "timed", SLOW_CLIPS, workers)), 0)
    took_s = time.monotonic() - began
    same = 0
    for number in range(count):
        path = folder / f"killed-{number}"
        for _ in range(2):
            pid = in_child(lambda path=path: render(path, SLOW_CLIPS, workers))
            time.sleep(random.uniform(0, took_s))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        render(path)
        same += tree(path) == expected
    return f"{count} stores killed, {same} the same"


def steps(folder: Path) -> str:
    """Kill before every single file that is put in its place, and before everything is cleared up."""
    render(folder / "whole")
    expected = tree(folder / "whole")
    step = 0
    while True:
        path = folder / f"step-{step}"
        _, status = os.waitpid(in_child(lambda path=path, step=step: _render_and_die(path, step)), 0)
        render(path)
        if tree(path) != expected:
            return f"step {step} DIFFERS: {sorted(set(tree(path)) ^ set(expected))}"
        shutil.rmtree(path)
        if status == 0:
            return f"killed at {step} steps, all the same"
        step += 1


def _render_and_die(path: Path, step: int) -> None:
    calls = 0
    replace, rmtree = Path.replace, shutil.rmtree

    def counted(work: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object, **options: object) -> object:
            nonlocal calls
            if calls == step:
                os.kill(os.getpid(), signal.SIGKILL)
            calls += 1
            return work(*arguments, **options)

        return run

    Path.replace = counted(replace)  # type: ignore[method-assign,assignment]
    shutil.rmtree = counted(rmtree)  # type: ignore[assignment]
    render(path)


def main() -> None:
    """Run what the command line names: moments, workers, steps, a sample for a plan, or one plain rendering."""
    what, folder = sys.argv[1], Path(sys.argv[2])
    if what == "moments":
        print(moments(folder, 20, 0))  # noqa: T201
    elif what == "workers":
        print(moments(folder, 5, 2))  # noqa: T201
    elif what == "steps":
        print(steps(folder))  # noqa: T201
    elif what == "measure":
        made = dataset(TinyParams(seconds_a_clip=1.0))
        fill_store(made, folder, recipe=made.recipe(), engine=_MeasuringEngine(2))
    else:
        # Tests that a shell runs in the background inherit an ignored Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            # Slow enough that the last shard still has seconds to go when the first is seen to be complete.
            render(folder, TinyParams(seconds_a_clip=1.0), workers=2)
        except KeyboardInterrupt:
            os.write(2, b"interrupted\n")
            sys.exit(130)


if __name__ == "__main__":
    main()
