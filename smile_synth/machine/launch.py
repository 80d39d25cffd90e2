"""Several processes on this host that work together, without a launcher such as torchrun."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from types import FrameType

from smile_synth.machine.cores import num_cores

PASSED_ON = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
POLL_S = 0.1
# How long the others have to end once one has failed.
LONGEST_END_S = 15.0


def launch(command: Sequence[str], processes: int) -> int:
    """Run a command in several processes, with the variables that torchrun would set, and wait for them.

    SIGTERM, SIGUSR1 and Ctrl-C are passed on to all of them.

    Args:
        command: program and arguments.
        processes: how many; they share the cores unless ``OMP_NUM_THREADS`` is set.

    Returns:
        The exit code: 0, or that of a process that failed.
    """
    shared = {
        "OMP_NUM_THREADS": str(max(1, num_cores() // processes)),
        **os.environ,
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
    }
    # In sessions of their own, so that Ctrl-C in a terminal reaches them once, through us.
    running = [
        subprocess.Popen(command, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, start_new_session=True)
        for rank in range(processes)
    ]

    def pass_on(number: int, _frame: FrameType | None) -> None:
        for process in running:
            process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    try:
        return _wait(running)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for process in running:
            process.kill()


def _wait(running: Sequence[subprocess.Popen[bytes]]) -> int:
    until: float | None = None
    while True:
        codes = [process.poll() for process in running]
        failed = [code for code in codes if code]
        if failed and until is None:
            until = time.monotonic() + LONGEST_END_S
        if None not in codes or (until is not None and time.monotonic() >= until):
            return abs(failed[0]) if failed else 0
        time.sleep(POLL_S)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
