"""Backgrounds and objects: built-in ones, or folders of the user's own images."""

from smile_synth.assets.backgrounds import Backgrounds, DrawnBackground
from smile_synth.assets.collection import Assets
from smile_synth.assets.objects import DrawnObject, Objects
from smile_synth.assets.outlines import OUTLINES
from smile_synth.assets.table import AssetRow

__all__ = [
    "OUTLINES",
    "AssetRow",
    "Assets",
    "Backgrounds",
    "DrawnBackground",
    "DrawnObject",
    "Objects",
]
