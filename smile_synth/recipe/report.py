"""What a report puts beside a dataset."""

from __future__ import annotations

from pydantic import Field

from smile_synth.params import StrictParams


class ReportParams(StrictParams):
    """What a report puts beside the dataset."""

    natural: str = Field(
        "",
        description="folder of natural videos or images to compare with, as by --natural, relative to the recipe; "
        "empty: none",
    )
