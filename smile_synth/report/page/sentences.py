"""Metrics in words: the sentence under every plot."""

from __future__ import annotations

from smile_synth.report.measure.content import Counts, Quantity

# Groups digits, and does not break over lines.
NARROW_SPACE = "\u202f"


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
