"""smile-synth: pretrain video models with no natural video.

Axis letters, used as suffixes of array names throughout (``frames_BTHWC``):

=====  =======================================================
B      clips in a batch
T      frames of a clip
H, W   rows and columns, in pixels
C      channels
N      tokens of a clip, time-major: tubelet, then row, then column
D      embedding dimension
K      object slots of a clip, in painter's order
=====  =======================================================

``is_masked`` is True where the student does NOT see a token.
Boxes are ``xyxy`` in canvas pixels, edges (not pixel centres); pixel (row i, column j) covers [j, j+1) x [i, i+1).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smile_synth.api.pretrain import pretrain
    from smile_synth.api.probe import probe
    from smile_synth.api.render import render, sample_scene
    from smile_synth.api.report import report
    from smile_synth.errors import SmileSynthError
    from smile_synth.interop.encoder import load_encoder
    from smile_synth.loader.batch import Batch
    from smile_synth.loader.loader import Loader
    from smile_synth.loader.torch_datasets import ClipDataset, ClipStream
    from smile_synth.masking.grid import TokenGrid
    from smile_synth.masking.masks import draw_masks
    from smile_synth.model.patches import normalise, patchify
    from smile_synth.model.student import Student
    from smile_synth.recipe.pretrain import MaskParams
    from smile_synth.recipe.recipe import Recipe, load_recipe
    from smile_synth.render.renderer import Clip
    from smile_synth.render.renderer import render as render_scene
    from smile_synth.scene import Canvas, Layer, Scene
    from smile_synth.store.clip import StoredClip
    from smile_synth.store.reader import Store, open_store
    from smile_synth.training.callbacks import Callback, TrainingEvent
    from smile_synth.training.summary import RunSummary

__version__ = "0.1.0"

# Where each public name stands; it is imported once it is asked for, so that the command line starts quickly.
_PLACES = {
    "Batch": "loader.batch",
    "Callback": "training.callbacks",
    "Canvas": "scene",
    "Clip": "render.renderer",
    "ClipDataset": "loader.torch_datasets",
    "ClipStream": "loader.torch_datasets",
    "Layer": "scene",
    "Loader": "loader.loader",
    "MaskParams": "recipe.pretrain",
    "Recipe": "recipe.recipe",
    "RunSummary": "training.summary",
    "Scene": "scene",
    "SmileSynthError": "errors",
    "Store": "store.reader",
    "StoredClip": "store.clip",
    "Student": "model.student",
    "TokenGrid": "masking.grid",
    "TrainingEvent": "training.callbacks",
    "draw_masks": "masking.masks",
    "load_encoder": "interop.encoder",
    "load_recipe": "recipe.recipe",
    "normalise": "model.patches",
    "open_store": "store.reader",
    "patchify": "model.patches",
    "pretrain": "api.pretrain",
    "sample_scene": "api.render",
}
_RENAMED = {"render_scene": ("render.renderer", "render")}
# Functions with the name of a package, which Python sets in their place once it is imported; so the package is called.
_CALLED_PACKAGES = frozenset({"probe", "render", "report"})

__all__ = [
    "Batch",
    "Callback",
    "Canvas",
    "Clip",
    "ClipDataset",
    "ClipStream",
    "Layer",
    "Loader",
    "MaskParams",
    "Recipe",
    "RunSummary",
    "Scene",
    "SmileSynthError",
    "Store",
    "StoredClip",
    "Student",
    "TokenGrid",
    "TrainingEvent",
    "__version__",
    "draw_masks",
    "load_encoder",
    "load_recipe",
    "normalise",
    "open_store",
    "patchify",
    "pretrain",
    "probe",
    "render",
    "render_scene",
    "report",
    "sample_scene",
]


def __getattr__(name: str) -> Any:
    """Import a public name."""
    if name in _CALLED_PACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    place, attribute = _RENAMED.get(name, (_PLACES.get(name, ""), name))
    if not place:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{place}"), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
