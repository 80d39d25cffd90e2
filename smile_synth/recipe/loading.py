"""How stores are read for a training, and what is changed of their clips on the device."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from smile_synth.params import NoEffect, Span, StrictParams

USUAL_ASPECTS = (3 / 4, 4 / 3)


class AugmentParams(StrictParams):
    """What training changes of stored clips; nothing unless asked, because stores are rendered at training size."""

    NO_EFFECT = (NoEffect(("crop_aspect",), when=lambda augment: augment.crop_area is None, why="without crop_area"),)

    flip_probability: float = Field(0.0, ge=0, le=1, description="chance that a clip is mirrored left to right")
    crop_area: Span[Annotated[float, Field(gt=0, le=1)]] | None = Field(
        None, description="smallest and largest part of the clip's area that a random crop keeps; absent: no crop"
    )
    crop_aspect: Span[Annotated[float, Field(gt=0)]] = Field(
        USUAL_ASPECTS, description="smallest and largest width over height of a crop; only with crop_area"
    )

    @property
    def changes_anything(self) -> bool:
        """Whether any clip is changed at all."""
        return self.flip_probability > 0 or self.crop_area is not None


class LoadingParams(StrictParams):
    """How stores are mixed, what happens at damaged clips, and what is changed of clips on the device."""

    weights: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        None, description="share of each store in an epoch, above 0, in the order of --data; absent: every clip once"
    )
    last: Literal["drop", "pad"] = Field(
        "drop", description="the last incomplete batch of an epoch: dropped, or filled with clips from its beginning"
    )
    on_error: Literal["stop", "skip"] = Field(
        "stop", description="at a damaged clip: stop the run and name it, or replace it by another clip and count it"
    )
    prefetch_batches: int = Field(2, ge=0, le=64, description="batches read ahead, each in memory")
    render_workers: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="processes of a rank that render the clips of virtual stores and streams; absent: one a core, "
        "divided among the ranks of a host",
    )
    augment: AugmentParams = Field(AugmentParams(), description="flips and crops on the device")
