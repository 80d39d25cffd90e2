"""The order of clips in an epoch, from one or several stores: a pure function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from smile_synth.errors import LoaderError
from smile_synth.randomness import stream


def epoch_quotas(sizes: Sequence[int], weights: Sequence[float] | None) -> tuple[int, ...]:
    """Return how many clips of each store an epoch has.

    Args:
        sizes: clips of each store.
        weights: share of each store, above 0; None: every clip once.

    Returns:
        Numbers that add up to the clips of all stores.

    Raises:
        LoaderError: the weights do not fit the stores, or leave a store without a clip.
    """
    if weights is None:
        return tuple(sizes)
    if len(weights) != len(sizes) or not all(np.isfinite(w) and w > 0 for w in weights):
        raise LoaderError(f"weights must be {len(sizes)} numbers above 0, one a store, got {list(weights)}")
    exact = np.asarray(weights, np.float64) / sum(weights) * sum(sizes)
    quotas = np.floor(exact).astype(np.int64)
    # The largest remainders get what rounding left over.
    for place in np.argsort(quotas - exact, kind="stable")[: sum(sizes) - int(quotas.sum())]:
        quotas[place] += 1
    for store in np.flatnonzero(quotas == 0).tolist():
        share = weights[store] / sum(weights)
        raise LoaderError(
            f"weight {weights[store]:g} gives store {store + 1} no clip of an epoch's {sum(sizes)} (a share of "
            f"{share:.2g}); raise it to a share above {1 / sum(sizes):.2g}, or leave the store out"
        )
    return tuple(int(quota) for quota in quotas)


def epoch_order(seed: int, epoch: int, sizes: Sequence[int], quotas: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return the clips of an epoch in their order.

    Args:
        seed: of the order.
        epoch: 0 or more.
        sizes: clips of each store.
        quotas: clips of each store in an epoch; a store walks through its own permutations, one after the other,
            so that no clip comes again before all others of its store came.

    Returns:
        int64 (sum of quotas,): numbers over all stores put one behind the other.
    """
    parts = []
    offset = 0
    for store, (size, quota) in enumerate(zip(sizes, quotas, strict=True)):
        parts.append(offset + _walk(seed, store, size, epoch * quota, quota))
        offset += size
    order = np.concatenate(parts)
    return order[stream(seed, "epoch order", epoch).permutation(len(order))]


def _walk(seed: int, store: int, size: int, start: int, count: int) -> npt.NDArray[np.int64]:
    steps: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
    while count:
        lap, place = divmod(start, size)
        piece = stream(seed, "store order", store, lap).permutation(size)[place : place + count]
        steps.append(piece)
        start, count = start + len(piece), count - len(piece)
    return np.concatenate(steps)
