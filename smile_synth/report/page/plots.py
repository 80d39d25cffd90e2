"""Plots of a report as SVG that takes its colours from the page, so that it reads in light, dark and print."""

from __future__ import annotations

import functools
import html
import io
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

import matplotlib as mpl
import matplotlib.colors
import matplotlib.ticker
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from smile_synth.report.measure.content import Correlation, Count, Counts, Curve, Grid, Quantity
from smile_synth.report.page.sentences import number

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
    # A name with two dollar signs is no mathematics.
    "text.parse_math": False,
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
# What a bar is, and the clips in it.
Bar = tuple[str, list[int]]


def styled(draw: Callable[P, str]) -> Callable[P, str]:
    """Draw under our style: matplotlib reads it at many moments, not only when a figure is made."""

    @functools.wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> str:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return inner


@styled
def histogram_plot(series: Sequence[tuple[str, Quantity]], *, with_clips: bool = False) -> str:
    """Return one or more distributions of the same quantity as SVG, each as a share of its own values.

    Args:
        series: name and distribution, the first one filled; those without values are left out.
        with_clips: note on every bar the first one's clips with such a value, for the page's script.
    """
    shown = [(name, quantity) for name, quantity in series if quantity.quantiles]
    figure, axes = _figure()
    bars: list[Bar] = []
    if shown:
        edges = bar_edges([quantity for _, quantity in shown])
        for i, (name, quantity) in enumerate(shown):
            share = 100 * np.diff(share_below(quantity, edges))
            colour = SERIES[i % len(SERIES)]
            axes.stairs(share, edges, fill=i == 0, color=colour, alpha=0.75 if i == 0 else 1, label=name, linewidth=1.5)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(bottom=0)
        if with_clips:
            bars = value_bars(series[0][1], edges)
            for i in range(len(bars)):
                axes.axvspan(edges[i], edges[i + 1], facecolor="none", edgecolor="none", gid=f"bar-{i}")
        if len(edges) == 2:
            axes.set_xticks([(edges[0] + edges[1]) / 2])
        elif edges[1] - edges[0] == 1:
            axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        if len(shown) > 1:
            axes.legend(loc="upper right")
    quantity = series[0][1]
    axes.set_xlabel(f"{quantity.title.lower()} ({quantity.unit})" if quantity.unit else quantity.title.lower())
    axes.set_ylabel("share of values (%)")
    return _with_clips(_svg(figure, quantity.title), bars)


@styled
def counts_plot(counts: Counts) -> str:
    """Return counts as horizontal bars, as SVG; the smallest of many are put together.

    Args:
        counts: what was counted.
    """
    entries = list(counts.counts)
    if len(entries) > MAX_BARS:
        entries.sort(key=lambda entry: -entry.count)
        rest = entries[MAX_BARS - 1 :]
        entries = [*entries[: MAX_BARS - 1], Count(name=f"{len(rest)} more", count=sum(entry.count for entry in rest))]
    figure, axes = _figure(height_in=0.75 + 0.2 * max(len(entries), 3))
    total = max(sum(entry.count for entry in entries), 1)
    places = np.arange(len(entries))
    axes.barh(places, [100 * entry.count / total for entry in entries], color=SERIES[0], alpha=0.75)
    for i in range(len(entries)):
        axes.axhspan(i - 0.5, i + 0.5, facecolor="none", edgecolor="none", gid=f"bar-{i}")
    axes.set_yticks(places, [_short(entry.name) for entry in entries])
    axes.set_ylim(len(entries) - 0.4, -0.6)
    axes.set_xlabel(f"{counts.of} (%)")
    return _with_clips(_svg(figure, counts.title), [(entry.name, entry.clips) for entry in entries])


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


@styled
def correlation_plot(names: Sequence[str], correlations: Sequence[Correlation]) -> str:
    """Return the correlation of every pair of labels as a triangle of coloured numbers, as SVG.

    Args:
        names: labels in the order to show.
        correlations: of their pairs.
    """
    place = {name: i for i, name in enumerate(names)}
    values = np.full((len(names), len(names)), np.nan)
    for pair in correlations:
        row, column = sorted((place[pair.first], place[pair.second]), reverse=True)
        values[row, column] = np.nan if pair.value is None else pair.value
    # The first label has no row and the last no column: each pair is shown once.
    values = values[1:, :-1]
    figure, axes = _figure(height_in=1.3 + 0.28 * len(values))
    axes.imshow(np.abs(values), cmap="viridis", vmin=0, vmax=1, aspect="auto")
    for row, column in np.argwhere(np.isfinite(values)).tolist():
        value = values[row, column]
        ink = "white" if abs(value) < 0.6 else "black"
        axes.text(column, row, f"{value:.2f}".replace("-", "−"), ha="center", va="center", fontsize=7, color=ink)
    axes.set_xticks(range(len(names) - 1), [_short(name) for name in names[:-1]], rotation=40, ha="right")
    axes.set_yticks(range(len(names) - 1), [_short(name) for name in names[1:]])
    axes.set_xlabel("correlation (−1 to 1; colour: its size)")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return _svg(figure, "Correlations of labels")


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:21]}…"


def value_bars(quantity: Quantity, edges: Any) -> list[Bar]:
    """Return for every bar what its values are, and clips with such a value.

    Args:
        quantity: with examples.
        edges: of the bars, from ``bar_edges``.
    """
    bars: list[Bar] = []
    for i, (low, high) in enumerate(itertools.pairwise(edges.tolist())):
        is_last = i == len(edges) - 2
        clips = {clip for clip, value in quantity.examples if low <= value < high or (is_last and value == high)}
        is_whole = high - low == 1 and low % 1 == 0.5
        span = number(low + 0.5) if is_whole else f"{number(low)} to {number(high)}"
        bars.append((f"{span} {quantity.unit}".rstrip(), sorted(clips)))
    return bars


def _with_clips(svg: str, bars: Sequence[Bar]) -> str:
    """Return a plot whose bars carry their clips, for people who click on them; bars without clips carry none."""

    def filled(match: re.Match[str]) -> str:
        text, clips = bars[int(match[2])] if int(match[2]) < len(bars) else ("", [])
        if not clips:
            return match[0]
        name, listed = html.escape(text), " ".join(map(str, clips))
        return f'{match[1]} class="bar" role="button" aria-label="{name}" data-clips="{listed}"><title>{name}</title>'

    return re.sub(r'(<g id="[\w-]*?bar-(\d+)")>', filled, svg)


def _figure(*, height_in: float = HEIGHT_IN) -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    return figure, figure.add_subplot()


def bar_edges(shown: Sequence[Quantity]) -> Any:
    """Return the edges of bars for one or more distributions, all with values.

    A far tail goes beyond the last edge rather than flattening the rest.
    """
    histograms = [quantity.histogram for quantity in shown if quantity.histogram]
    if len(histograms) == 1 and not _has_far_tail(shown[0]):
        return np.array(histograms[0].edges)
    first, last = int(100 * TAIL_SHARE), -1 - int(100 * TAIL_SHARE)
    low = min(quantity.quantiles[max(first, 1) if _has_far_tail(quantity) else 0] for quantity in shown)
    high = max(quantity.quantiles[min(last, -2) if _has_far_tail(quantity) else -1] for quantity in shown)
    # Where all are the same value there is one bar with it in the middle.
    return np.linspace(low, high, 41) if high > low else np.array([low - 0.5, low + 0.5])


def _has_far_tail(quantity: Quantity) -> bool:
    q = quantity.quantiles
    return bool(q[-1] - q[0] > 3 * (q[-2] - q[1]) > 0)


def share_below(quantity: Quantity, edges: Any) -> Any:
    """Return the share of values below each edge, from the histogram where its edges are asked for."""
    histogram = quantity.histogram
    assert histogram is not None
    if quantity.quantiles[0] == quantity.quantiles[-1]:
        # The values are all the same: they lie in one bar, however wide the bin is that holds them.
        bar = min(int(np.searchsorted(edges, quantity.quantiles[0], side="right")), len(edges) - 1)
        return (np.arange(len(edges)) >= bar).astype(float)
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
