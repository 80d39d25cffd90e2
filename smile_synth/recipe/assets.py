"""Where backgrounds and objects come from, as recipes say it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from smile_synth.params import NoEffect, StrictParams

Split = Literal["all", "pretrain", "probe-train", "probe-test"]

BUILTIN = "builtin"
CROPS = "crops"
DIGITS = "digits"
# Of all other names, a folder; a folder of one of these names is written './crops'.
BUILTIN_BACKGROUNDS = frozenset({BUILTIN, CROPS})
BUILTIN_OBJECTS = frozenset({BUILTIN, DIGITS})


class AssetsParams(StrictParams):
    """Where backgrounds and objects come from."""

    NO_EFFECT = (
        NoEffect(
            ("licence",),
            when=lambda assets: assets.backgrounds in BUILTIN_BACKGROUNDS and assets.objects in BUILTIN_OBJECTS,
            why="where all images are built-in: it is that of your own images",
        ),
        NoEffect(
            ("on_bad",),
            when=lambda assets: assets.backgrounds in BUILTIN_BACKGROUNDS and assets.objects in BUILTIN_OBJECTS,
            why="where all images are built-in: none of them is bad",
        ),
    )

    backgrounds: str = Field(
        BUILTIN,
        min_length=1,
        description="'builtin' photographs (14), disjoint 'crops' of 17 photographs (96), or a folder of any images, "
        "at any depth; relative to the recipe",
    )
    objects: str = Field(
        BUILTIN,
        min_length=1,
        description="'builtin' cut-outs, 'digits' (1,797 handwritten ones, classes 0 to 9), or a folder of RGBA files "
        "as class/name.png or .webp; relative to the recipe",
    )
    split: Split = Field(
        "all",
        description="which part of the images to use; the parts pretrain, probe-train and probe-test share none",
    )
    licence: str = Field("", description="licence of the images in your own folders, written into the store")
    on_bad: Literal["stop", "skip"] = Field(
        "stop",
        description="stop at unusable images of your own (damaged, too small, without transparency), or "
        "read every image first and use the others; the asset table lists those that are used",
    )
