"""Errors of smile-synth: each says what was wrong, what we got, what is allowed and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SmileSynthError(Exception):
    """Base of every error that bad input can cause; the CLI prints its message on one line and exits with 2."""


class RecipeError(SmileSynthError):
    """A recipe, or a value set on the command line, is not valid."""


class SceneError(SmileSynthError):
    """A scene breaks its own contract."""


class AssetError(SmileSynthError):
    """An image cannot serve as background or object."""


class GeneratorError(SmileSynthError):
    """A generator cannot be found, cannot be built, or failed in a clip."""


class StoreError(SmileSynthError):
    """A store is missing, unfinished, damaged or of another kind than asked for."""


class DamagedStoreError(StoreError):
    """Bytes of a store fail their checksum or cannot be decoded."""


class LoaderError(SmileSynthError):
    """A loader cannot serve what was asked of it."""


class ModelError(SmileSynthError):
    """A model's size, input or mask does not fit."""


class WeightsError(SmileSynthError):
    """Weights are absent, of another shape, or not safe to read."""


class CheckpointError(SmileSynthError):
    """A checkpoint is missing, damaged, or belongs to another run."""


class TrainingError(SmileSynthError):
    """Training cannot start, or cannot go on."""


class VideoError(SmileSynthError):
    """A video file cannot be read."""


class ProbeError(SmileSynthError):
    """A probe's question, labels or data do not fit."""


class ReportError(SmileSynthError):
    """A report cannot be made from what was given."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the known word nearest to ``word``, or an empty string."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {matches[0]!r}?" if matches else ""
