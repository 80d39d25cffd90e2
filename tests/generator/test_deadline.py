"""Code that hangs is stopped; alarms of others keep running."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from smile_synth.generator.deadline import DeadlineError, deadline


def spin() -> None:
    while True:
        pass


@pytest.mark.parametrize("hang", [spin, lambda: time.sleep(60)], ids=["busy", "asleep"])
def test_a_hang_is_ended(hang: object) -> None:
    with pytest.raises(DeadlineError, match=r"longer than 0.05 s"), deadline(0.05):
        hang()  # type: ignore[operator]


def test_quick_code_is_left_alone_and_no_alarm_stays() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with deadline(30):
        pass
    assert signal.getsignal(signal.SIGALRM) is before


def test_an_outer_deadline_goes_on_after_an_inner_one() -> None:
    def run() -> None:
        with deadline(10):
            time.sleep(0.01)
        spin()

    with pytest.raises(DeadlineError, match=r"longer than 0.2 s"), deadline(0.2):
        run()


def test_other_threads_go_without() -> None:
    done = []

    def run() -> None:
        with deadline(0.01):
            time.sleep(0.05)
            done.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert done
