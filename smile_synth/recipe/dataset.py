"""What to render: clips, canvas, generator, assets and store."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from smile_synth.params import StrictParams
from smile_synth.recipe.assets import AssetsParams
from smile_synth.scene import Canvas


class CanvasParams(StrictParams):
    """Size of every clip."""

    height: int = Field(224, ge=8, le=2048, description="rows, in pixels")
    width: int = Field(224, ge=8, le=2048, description="columns, in pixels")
    frames: int = Field(16, ge=1, le=1024, description="frames of a clip")

    @property
    def canvas(self) -> Canvas:
        """The same for those who draw and read."""
        return Canvas(self.height, self.width, self.frames)


class StoreParams(StrictParams):
    """How clips are laid out in the store."""

    clips_per_shard: int = Field(64, ge=1, le=65536, description="clips in one shard file")
    zstd_level: int = Field(-4, ge=-50, le=19, description="zstd level of the frames; larger is smaller and slower")


class DatasetParams(StrictParams):
    """What to render, and how many clips of it."""

    clips: int = Field(1024, ge=1, le=1_000_000_000, description="number of clips")
    canvas: CanvasParams = Field(CanvasParams(), description="size of every clip")
    generator: str = Field("cutouts", description="name, package.module:Class, or file.py:Class beside the recipe")
    params: dict[str, Any] = Field(default_factory=dict, description="the generator's own parameters")
    clip_timeout_s: float = Field(
        60.0, gt=0, le=86400, description="seconds after which sampling a clip is taken to hang, and ends the render"
    )
    assets: AssetsParams = Field(AssetsParams(), description="where backgrounds and objects come from")
    store: StoreParams = Field(StoreParams(), description="layout of the store")
