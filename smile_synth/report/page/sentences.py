"""Metrics in words: the sentence under every plot."""

from __future__ import annotations

from collections.abc import Sequence

from smile_synth.report.measure.content import Correlation, Counts, Quantity

# Groups digits, and does not break over lines.
NARROW_SPACE = "\u202f"
MOST_CORRELATED = 12
KINDS = {"spearman": "Spearman", "cramers_v": "Cramér's V", "correlation_ratio": "correlation ratio of ranks"}


def number(value: float) -> str:
    """Return a number with three significant digits, without an exponent where people would not write one."""
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        digits = 3 if abs(value) < 100 else 0
        text = f"{value:.{digits}g}" if digits else f"{value:,.0f}".replace(",", NARROW_SPACE)
        return text.replace("-", "−")
    return f"{value:.2e}".replace("-", "−")


def rounded(value: float, scale: float) -> float:
    """Return a number without the digits that mean nothing beside numbers as large as ``scale``."""
    step = scale / 1000
    return 0.0 if abs(value) < step / 2 else value


def with_unit(value: float, unit: str) -> str:
    """Return a number with its unit, where it has one that reads well behind a number."""
    return f"{number(value)} {unit}".rstrip() if not unit.startswith(("share", "ratio", "number")) else number(value)


def quantity_sentence(quantity: Quantity) -> str:
    """Return what the quantity is, and where its values lie."""
    if quantity.median is None:
        return f"{quantity.meaning} There is nothing to measure here."
    low, high = quantity.quantiles[5], quantity.quantiles[95]
    values = number(quantity.count)
    scale = max(abs(low), abs(high))
    if quantity.minimum == quantity.maximum:
        return f"{quantity.meaning} It is {with_unit(quantity.median, quantity.unit)} throughout ({values} values)."
    median = with_unit(rounded(quantity.median, scale), quantity.unit)
    return (
        f"{quantity.meaning} Median {median}; nine in ten of {values} values, one for each {quantity.of}, lie between "
        f"{number(rounded(low, scale))} and {number(rounded(high, scale))}."
    )


def counts_sentence(counts: Counts) -> str:
    """Return what was counted, and which thing is the most frequent."""
    if not counts.total:
        return f"{counts.meaning} There is nothing to count here."
    top = max(counts.counts, key=lambda entry: entry.count)
    text = f"{counts.meaning} The most frequent is {top.name!r} with {100 * top.count / counts.total:.3g} %."
    if counts.undefined:
        text += f" Not defined for {counts.undefined} of {counts.total + counts.undefined} {counts.of}."
    return text


def correlated_labels(correlations: Sequence[Correlation]) -> list[str]:
    """Return the labels whose correlations are shown, in their own order: of many, those that correlate most."""
    largest: dict[str, float] = {}
    for pair in correlations:
        for name in (pair.first, pair.second):
            if pair.value is not None:
                largest[name] = max(abs(pair.value), largest.get(name, 0.0))
    kept = sorted(largest, key=lambda name: -largest[name])[:MOST_CORRELATED]
    in_order = dict.fromkeys(name for pair in correlations for name in (pair.first, pair.second))
    return [name for name in in_order if name in kept]


def correlations_sentence(correlations: Sequence[Correlation]) -> str:
    """Return how labels are compared, and which two go together most closely."""
    top = max((pair for pair in correlations if pair.value is not None), key=lambda pair: abs(pair.value or 0.0))
    return (
        "How closely labels go together: Spearman for two numbers, Cramér's V for two classes, the correlation ratio "
        f"of ranks for one of each. The closest are {top.first} and {top.second}: {number(top.value or 0.0)} "
        f"({KINDS[top.kind]}, {number(top.count)} pairs)."
    )
