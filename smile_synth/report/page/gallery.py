"""Which clips a page carries besides its films, so that a click on a bar has something to show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from smile_synth.report.measure.content import Report
from smile_synth.report.page.plots import bar_edges, value_bars

GALLERY_CLIPS = 96


def choose_gallery(report: Report, carried: Sequence[int], most: int = GALLERY_CLIPS) -> list[int]:
    """Return clips to carry, so that as many bars of the plots as possible have a clip to show.

    Args:
        report: whose plots.
        carried: clips that the page shows as films already.
        most: how many more.
    """
    chosen = [clip for clip in report.contact_sheet if clip not in carried][:most]
    bars = [set(clips) for clips in _bars(report)]
    uncovered = [clips for clips in bars if clips.isdisjoint({*carried, *chosen})]
    while uncovered and len(chosen) < most:
        wanted = Counter(clip for clips in uncovered for clip in clips)
        best = min(wanted, key=lambda clip: (-wanted[clip], clip))
        chosen.append(best)
        uncovered = [clips for clips in uncovered if best not in clips]
    return sorted(chosen)


def _bars(report: Report) -> Iterator[list[int]]:
    """Yield the clips of every bar that can be clicked on."""
    for quantity in (*report.motion.quantities, *report.appearance.quantities, *report.label_quantities):
        if quantity.examples:
            yield from (clips for _, clips in value_bars(quantity, bar_edges([quantity])) if clips)
    for counts in (*report.labels, *(kind.classes for kind in report.assets)):
        yield from (entry.clips for entry in counts.counts if entry.clips)
