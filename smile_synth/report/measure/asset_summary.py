"""How often the assets of a sample are used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from smile_synth.assets import AssetRow
from smile_synth.report.measure.content import AssetKind, AssetUse, AssetView, Count, Counts
from smile_synth.report.measure.sample import ClipBatch
from smile_synth.report.measure.values import few_examples

MOST_LISTED = 10
UNUSED_LISTED = 50
UNKNOWN = "not stated"


class AssetSummary:
    """Counts the uses of every row of the asset table.

    Args:
        rows: the asset table.
    """

    def __init__(self, rows: Sequence[AssetRow]) -> None:
        self._rows = list(rows)
        self._uses = np.zeros(len(rows), np.int64)
        self._views: dict[int, tuple[float, AssetView]] = {}

    def add(self, batch: ClipBatch) -> None:
        """Take in some clips."""
        ids = np.concatenate([batch.object_BK.ravel(), batch.background_B])
        self._uses += np.bincount(ids[ids >= 0], minlength=len(self._uses))
        boxes = batch.boxes_BKT4
        area_BKT = np.nan_to_num((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]))
        self._view_backgrounds(batch, area_BKT)
        self._view_objects(batch, area_BKT)

    def _view_backgrounds(self, batch: ClipBatch, area_BKT: npt.NDArray[np.float32]) -> None:
        """Keep the frame in which objects hide least of each background."""
        hidden_BT = area_BKT.sum(1)
        for i, place in enumerate(batch.background_B.tolist()):
            if place >= 0:
                frame = int(hidden_BT[i].argmin())
                self._keep(place, -float(hidden_BT[i, frame]), int(batch.clips_B[i]), frame, None)

    def _view_objects(self, batch: ClipBatch, area_BKT: npt.NDArray[np.float32]) -> None:
        """Keep the frame that shows most of each object."""
        for i, k in np.argwhere(batch.object_BK >= 0).tolist():
            frame = int(area_BKT[i, k].argmax())
            if area_BKT[i, k, frame] > 0:
                x1, y1, x2, y2 = batch.boxes_BKT4[i, k, frame].tolist()
                place, area = int(batch.object_BK[i, k]), float(area_BKT[i, k, frame])
                self._keep(place, area, int(batch.clips_B[i]), frame, (x1, y1, x2, y2))

    def _keep(
        self, place: int, merit: float, clip: int, frame: int, box: tuple[float, float, float, float] | None
    ) -> None:
        if place not in self._views or merit > self._views[place][0]:
            self._views[place] = merit, AssetView(clip=clip, frame=frame, box=box)

    def summary(self) -> list[AssetKind]:
        """Return what was counted, for each kind of asset that the table has."""
        kinds: tuple[Literal["background", "object"], ...] = ("background", "object")
        return [self._kind(kind) for kind in kinds if any(row.kind == kind for row in self._rows)]

    def _kind(self, kind: str) -> AssetKind:
        places = [i for i, row in enumerate(self._rows) if row.kind == kind]
        uses = self._uses[places]
        order = sorted(range(len(places)), key=lambda i: (-int(uses[i]), self._rows[places[i]].name))
        draws, available = int(uses.sum()), len(places)
        return AssetKind(
            kind=kind,
            available=available,
            used=int((uses > 0).sum()),
            draws=draws,
            expected_unused=available * (1 - 1 / available) ** draws,
            evenness=_evenness(uses),
            most_used=[self._use(places[i]) for i in order[:MOST_LISTED] if uses[i] > 0],
            unused=[self._rows[places[i]].name for i in order if uses[i] == 0][:UNUSED_LISTED],
            classes=self._classes(kind, places),
            licences=self._licences(kind, places),
        )

    def _use(self, place: int) -> AssetUse:
        row = self._rows[place]
        _, view = self._views.get(place, (0.0, None))
        return AssetUse(name=row.name, class_name=row.class_name, count=int(self._uses[place]), view=view)

    def _classes(self, kind: str, places: Sequence[int]) -> Counts:
        counts: Counter[str] = Counter()
        clips: dict[str, list[int]] = {}
        for place in places:
            name = self._rows[place].class_name or "no class"
            counts[name] += int(self._uses[place])
            clips.setdefault(name, []).extend([self._views[place][1].clip] if place in self._views else [])
        return Counts(
            name=f"{kind}_classes",
            title=f"{kind.capitalize()} classes",
            of=f"uses of {kind}s",
            meaning=f"How often the sampled clips use {kind}s of each class.",
            counts=[
                Count(name=name, count=count, clips=few_examples(clips[name])) for name, count in sorted(counts.items())
            ],
            undefined=0,
        )

    def _licences(self, kind: str, places: Sequence[int]) -> Counts:
        counts = Counter(self._rows[place].licence or UNKNOWN for place in places)
        return Counts(
            name=f"{kind}_licences",
            title=f"Licences of {kind}s",
            of=f"{kind}s",
            meaning=f"How many {kind}s of the store's table come under each licence.",
            counts=[Count(name=name, count=count) for name, count in counts.most_common()],
            undefined=0,
        )


def _evenness(uses: np.ndarray[tuple[int], np.dtype[np.int64]]) -> float | None:
    """Return the entropy of the uses over that of even use; None where there is nothing to spread."""
    if len(uses) < 2 or not uses.sum():
        return None
    share = uses[uses > 0] / uses.sum()
    return float(-(share * np.log(share)).sum() / np.log(len(uses)))
