"""Where backgrounds and objects come from, as recipes say it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from smile_synth.params import StrictParams

Split = Literal["all", "pretrain", "probe-train", "probe-test"]

BUILTIN = "builtin"


class AssetsParams(StrictParams):
    """Where backgrounds and objects come from."""

    backgrounds: str = Field(
        BUILTIN,
        min_length=1,
        description="'builtin' photographs, or a folder of any images, at any depth; relative to the recipe",
    )
    objects: str = Field(
        BUILTIN,
        min_length=1,
        description="'builtin' cut-outs, or a folder of RGBA files as class/name.png or .webp; relative to the recipe",
    )
    split: Split = Field(
        "all",
        description="which part of the images to use; the parts pretrain, probe-train and probe-test share none",
    )
    licence: str = Field("", description="licence of the images in your own folders, written into the store")

    @model_validator(mode="after")
    def _licence_has_an_effect(self) -> AssetsParams:
        if self.licence and self.backgrounds == self.objects == BUILTIN:
            raise ValueError("licence is that of your own images, and all images are built-in: leave it out")
        return self
