"""Merging what is to be read of a file into few requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Range = tuple[int, int]
"""Offset and size."""

# Reading this much for nothing takes less time than another request.
GAP_NBYTES = 256 * 2**10
# More at once would keep one connection busy while others wait, and costs more to repeat.
MERGED_NBYTES = 16 * 2**20


def merged(ranges: Sequence[Range]) -> Iterator[tuple[int, int, list[Range]]]:
    """Yield offset and size of each request, with the ranges that it contains.

    Args:
        ranges: in any order; they may overlap.
    """
    parts: list[Range] = []
    start = end = 0
    for offset, nbytes in sorted(set(ranges)):
        is_near = parts and offset - end <= GAP_NBYTES and max(end, offset + nbytes) - start <= MERGED_NBYTES
        if parts and not is_near:
            yield start, end - start, parts
            parts = []
        if not parts:
            start = end = offset
        parts.append((offset, nbytes))
        end = max(end, offset + nbytes)
    if parts:
        yield start, end - start, parts
