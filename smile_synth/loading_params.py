"""Parameters of how stores are read for a training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from smile_synth.augment_params import AugmentParams
from smile_synth.params import StrictParams


class LoadingParams(StrictParams):
    """How stores are mixed, what happens at damaged clips, and what is changed of clips on the device."""

    weights: tuple[float, ...] | None = Field(
        None, description="share of each store in an epoch, above 0, in the order of --data; absent: every clip once"
    )
    last: Literal["drop", "pad"] = Field(
        "drop", description="the last incomplete batch of an epoch: left out, or filled up with clips of its beginning"
    )
    on_error: Literal["stop", "skip"] = Field(
        "stop", description="at a damaged clip: stop the run by name, or put another clip in its place and count it"
    )
    prefetch_batches: int = Field(2, ge=0, le=64, description="batches read ahead, each in memory")
    augment: AugmentParams = Field(AugmentParams(), description="flips and crops on the device")
