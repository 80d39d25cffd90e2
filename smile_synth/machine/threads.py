"""Work ahead in threads, a few items at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
# Items a thread that are worked on, or done and not yet taken, while the caller has a result.
AHEAD = 2


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int, name: str, in_order: bool = True
) -> Iterator[Result]:
    """Yield what a function gives of every item; where the caller stops, items that wait are given up.

    Args:
        function: safe in threads. An error of its own is raised here.
        items: taken as they are needed.
        threads: how many.
        name: theirs.
        in_order: in the order of the items; otherwise each as it is done, so that a slow one holds up none.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix=name) as pool:
        running: dict[Future[Result], None] = {}

        def finished() -> Iterator[Result]:
            first = next(iter(running))
            for future in [first] if in_order else wait(running, return_when=FIRST_COMPLETED).done:
                del running[future]
                yield future.result()

        try:
            for item in items:
                running[pool.submit(function, item)] = None
                while len(running) > AHEAD * threads:
                    yield from finished()
            while running:
                yield from finished()
        finally:
            for future in running:
                future.cancel()
