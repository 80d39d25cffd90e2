"""What the labels of a sample say."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from smile_synth.generator.labels import LabelSpec
from smile_synth.report.measure.content import Correlation, Count, Counts, Quantity
from smile_synth.report.measure.correlations import LabelTable
from smile_synth.report.measure.sample import ClipBatch
from smile_synth.report.measure.values import QuantitySpec, Values, few_examples


class LabelSummary:
    """Gathers the labels that a generator wrote.

    Args:
        specs: labels by name.
        paired_clips: clips whose labels are compared with each other; all of their labels stay in memory.
    """

    def __init__(self, specs: Mapping[str, LabelSpec], paired_clips: npt.NDArray[np.int64]) -> None:
        self._specs = dict(specs)
        self._paired_clips, self._table = paired_clips, LabelTable(specs)
        self._clips: dict[tuple[str, int], list[int]] = {}
        self._counts = {name: np.zeros(len(spec.classes) + 1, np.int64) for name, spec in specs.items() if spec.classes}
        self._values = {name: Values(_quantity(name, spec)) for name, spec in specs.items() if not spec.classes}

    def add(self, batch: ClipBatch, is_present_BK: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> None:
        """Take in the labels of some clips; those of empty slots are left out."""
        is_paired = np.isin(batch.clips_B, self._paired_clips)
        labels = {name: values[is_paired] for name, values in batch.labels.items()}
        self._table.add(labels, is_present_BK[is_paired])
        clip_of_object = batch.clips_B[np.nonzero(is_present_BK)[0]]
        for name, spec in self._specs.items():
            values, clips = batch.labels[name], batch.clips_B
            if spec.per == "object":
                values, clips = values[is_present_BK], clip_of_object
            if spec.classes:
                known = np.where((values >= 0) & (values < len(spec.classes)), values, len(spec.classes))
                self._counts[name] += np.bincount(known.astype(np.int64), minlength=len(spec.classes) + 1)
                for number in np.unique(known[known < len(spec.classes)]).tolist():
                    before = self._clips.get((name, number), [])
                    self._clips[name, number] = few_examples([*before, *clips[known == number].tolist()])
            else:
                self._values[name].add(values, clips)

    def classes(self) -> list[Counts]:
        """Return how often every class occurs, one entry for each class label."""
        return [
            Counts(
                name=f"label_{name}",
                title=_title(name),
                of=f"{self._specs[name].per}s",
                meaning=_sentence(self._specs[name].description),
                counts=[
                    Count(name=class_name, count=int(count), clips=self._clips.get((name, number), []))
                    for number, (class_name, count) in enumerate(
                        zip(self._specs[name].classes, counts[:-1], strict=True)
                    )
                ],
                undefined=int(counts[-1]),
            )
            for name, counts in self._counts.items()
        ]

    def numbers(self) -> list[Quantity]:
        """Return the distribution of every number label."""
        return [values.summary() for values in self._values.values()]

    def correlations(self) -> list[Correlation]:
        """Return how closely every pair of labels goes together."""
        return self._table.correlations()


def _quantity(name: str, spec: LabelSpec) -> QuantitySpec:
    return QuantitySpec(f"label_{name}", _title(name), spec.unit or "number", spec.per, _sentence(spec.description))


def _title(name: str) -> str:
    return f"Label: {name.replace('_', ' ')}"


def _sentence(text: str) -> str:
    text = text.strip() or "The generator gives no description."
    text = text[0].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."
