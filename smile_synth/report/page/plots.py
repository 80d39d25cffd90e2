"""Plots of a report as SVG that takes its colours from the page, so that it reads in light, dark and print."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

import matplotlib as mpl
import matplotlib.colors
import matplotlib.ticker
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from smile_synth.report.measure.content import Counts, Curve, Grid, Quantity

WIDTH_IN, HEIGHT_IN = 3.7, 2.3
# Drawn in these colours, then renamed to the page's own, which follow its light or dark theme.
INK, FAINT, SERIES = "#010203", "#040506", ("#070809", "#0a0b0c", "#0d0e0f", "#101112")
PAGE_COLOURS = {
    INK: "currentColor",
    FAINT: "var(--faint)",
    **{colour: f"var(--series-{i})" for i, colour in enumerate(SERIES)},
}
STYLE: Any = {
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
}
MAX_BARS = 24
TAIL_SHARE = 0.005


P = ParamSpec("P")


def styled(draw: Callable[P, str]) -> Callable[P, str]:
    """Draw under our style: matplotlib reads it at many moments, not only when a figure is made."""

    @functools.wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> str:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return inner


@styled
def histogram_plot(series: Sequence[tuple[str, Quantity]]) -> str:
    """Return one or more distributions of the same quantity as SVG, each as a share of its own values.

    Args:
        series: name and distribution, the first one filled; those without values are left out.
    """
    shown = [(name, quantity) for name, quantity in series if quantity.quantiles]
    figure, axes = _figure()
    if shown:
        edges = _shared_edges([quantity for _, quantity in shown])
        for i, (name, quantity) in enumerate(shown):
            share = 100 * np.diff(_share_below(quantity, edges))
            colour = SERIES[i % len(SERIES)]
            axes.stairs(share, edges, fill=i == 0, color=colour, alpha=0.75 if i == 0 else 1, label=name, linewidth=1.5)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(bottom=0)
        if len(edges) == 2:
            axes.set_xticks([(edges[0] + edges[1]) / 2])
        elif edges[1] - edges[0] == 1:
            axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        if len(shown) > 1:
            axes.legend(loc="upper right")
    quantity = series[0][1]
    axes.set_xlabel(f"{quantity.title.lower()} ({quantity.unit})" if quantity.unit else quantity.title.lower())
    axes.set_ylabel("share of values (%)")
    return _svg(figure, quantity.title)


@styled
def counts_plot(counts: Counts) -> str:
    """Return counts as horizontal bars, as SVG; the smallest of many are put together.

    Args:
        counts: what was counted.
    """
    entries = [(entry.name, entry.count) for entry in counts.counts]
    if len(entries) > MAX_BARS:
        entries.sort(key=lambda entry: -entry[1])
        rest = entries[MAX_BARS - 1 :]
        entries = [*entries[: MAX_BARS - 1], (f"{len(rest)} more", sum(count for _, count in rest))]
    figure, axes = _figure(height_in=0.75 + 0.2 * max(len(entries), 3))
    names = [name if len(name) <= 22 else f"{name[:21]}…" for name, _ in entries]
    total = max(sum(count for _, count in entries), 1)
    places = np.arange(len(entries))
    axes.barh(places, [100 * count / total for _, count in entries], color=SERIES[0], alpha=0.75)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlabel(f"{counts.of} (%)")
    return _svg(figure, counts.title)


@styled
def rose_plot(curve: Curve) -> str:
    """Return shares by heading as a rose, as SVG; right is right and up is up, as on the screen.

    Args:
        curve: x in degrees clockwise from right, y in percent.
    """
    figure = Figure(figsize=(WIDTH_IN, 2.9), layout="constrained")
    axes: Any = figure.add_subplot(projection="polar")
    axes.set_theta_direction(-1)
    axes.bar(np.radians(curve.x), curve.y, width=2 * np.pi / len(curve.x), color=SERIES[0], alpha=0.75)
    axes.set_xticks(np.radians([0, 90, 180, 270]), ["right", "down", "left", "up"])
    axes.yaxis.set_major_locator(mpl.ticker.MaxNLocator(3))
    axes.yaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g %%"))
    axes.set_rlabel_position(-30)
    return _svg(figure, curve.title)


@styled
def grid_plot(grid: Grid, *, extent: tuple[float, float, float, float], x_title: str, y_title: str) -> str:
    """Return a grid of values as a picture with a colour bar, as SVG.

    Args:
        grid: rows from top to bottom.
        extent: left, right, bottom, top of the grid on its axes.
        x_title, y_title: with units.
    """
    figure, axes = _figure(height_in=2.9)
    values = np.ma.masked_equal(np.array(grid.values), 0)
    # Half the way up the colours stands for a quarter of the largest value: single peaks leave the rest readable.
    norm = mpl.colors.PowerNorm(0.5, vmin=0)
    picture = axes.imshow(values, extent=extent, aspect="equal", cmap="viridis", norm=norm)
    axes.set_xlabel(x_title)
    axes.set_ylabel(y_title)
    bar = figure.colorbar(picture, ax=axes, label=grid.unit)
    bar.outline.set_visible(False)
    return _svg(figure, grid.title)


@styled
def curves_plot(series: Sequence[tuple[str, Curve]], *, is_log: bool = False) -> str:
    """Return one or more curves over the same axes as SVG.

    Args:
        series: name and curve.
        is_log: both axes logarithmic.
    """
    figure, axes = _figure()
    for i, (name, curve) in enumerate(series):
        axes.plot(curve.x, curve.y, color=SERIES[i % len(SERIES)], label=name, linewidth=1.8)
    if is_log:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
        axes.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    axes.grid(True)
    if len(series) > 1:
        axes.legend(loc="best")
    axes.set_xlabel(series[0][1].x_title)
    axes.set_ylabel(series[0][1].y_title)
    return _svg(figure, series[0][1].title)


def _figure(*, height_in: float = HEIGHT_IN) -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    return figure, figure.add_subplot()


def _shared_edges(shown: Sequence[Quantity]) -> Any:
    """Return bin edges for all distributions; a far tail goes beyond the last edge rather than flattening the rest."""
    histograms = [quantity.histogram for quantity in shown if quantity.histogram]
    if len(histograms) == 1 and not _has_far_tail(shown[0]):
        return np.array(histograms[0].edges)
    first, last = int(100 * TAIL_SHARE), -1 - int(100 * TAIL_SHARE)
    low = min(quantity.quantiles[max(first, 1) if _has_far_tail(quantity) else 0] for quantity in shown)
    high = max(quantity.quantiles[min(last, -2) if _has_far_tail(quantity) else -1] for quantity in shown)
    return np.linspace(low, high if high > low else low + 1, 41)


def _has_far_tail(quantity: Quantity) -> bool:
    q = quantity.quantiles
    return bool(q[-1] - q[0] > 3 * (q[-2] - q[1]) > 0)


def _share_below(quantity: Quantity, edges: Any) -> Any:
    """Return the share of values below each edge, from the histogram where its edges are asked for."""
    histogram = quantity.histogram
    assert histogram is not None
    cumulated = np.concatenate([[0], np.cumsum(histogram.counts)]) / max(sum(histogram.counts), 1)
    return np.interp(edges, histogram.edges, cumulated)


def _svg(figure: Figure, title: str) -> str:
    """Return the figure with the page's colours and fonts, and with names that no other figure uses."""
    stream = io.StringIO()
    canvas: Any = FigureCanvasSVG(figure)
    with mpl.rc_context({"svg.hashsalt": title}):
        canvas.print_svg(stream, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    for drawn, shown in PAGE_COLOURS.items():
        text = text.replace(drawn, shown)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'font-family: [^;"]*', "font-family: inherit", text)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)
    return _with_own_names(text, re.sub(r"\W+", "-", title.lower()))


def _with_own_names(svg: str, prefix: str) -> str:
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", svg)
