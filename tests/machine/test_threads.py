"""Work ahead in threads: in order or not, a few items at a time, and no more than is asked for."""

from __future__ import annotations

import threading
import time

import pytest

from smile_synth.machine.threads import AHEAD, map_ahead


def test_results_come_in_the_order_of_the_items_or_as_they_are_done() -> None:
    is_free = threading.Event()

    def wait_at_0(number: int) -> int:
        if number == 0:
            is_free.wait(10)
        return number

    unordered = map_ahead(wait_at_0, range(3), threads=2, name="t", in_order=False)
    found = [next(unordered), next(unordered)]
    is_free.set()
    assert sorted(found) == [1, 2]
    assert list(unordered) == [0]
    assert list(map_ahead(lambda n: time.sleep(0.01 * (3 - n)) or n, range(4), threads=4, name="t")) == [0, 1, 2, 3]


@pytest.mark.parametrize("in_order", [True, False])
def test_few_items_are_taken_ahead_and_none_after_the_caller_stops(in_order: bool) -> None:
    taken: list[int] = []

    def items() -> object:
        for number in range(100):
            taken.append(number)
            yield number

    done: list[int] = []
    results = map_ahead(done.append, items(), threads=2, name="t", in_order=in_order)  # type: ignore[arg-type]
    next(results)
    assert len(taken) == AHEAD * 2 + 1
    results.close()  # type: ignore[attr-defined]
    assert len(taken) == AHEAD * 2 + 1
    assert set(done) <= set(taken)


def test_an_error_is_raised_where_its_result_would_come() -> None:
    results = map_ahead(lambda n: 1 // n, [1, 1, 0, 1], threads=1, name="t")
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
