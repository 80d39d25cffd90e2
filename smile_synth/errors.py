"""Errors of smile-synth: each says what was wrong, what we got, what is allowed and what to do next."""

from __future__ import annotations

import difflib
import errno
import unicodedata
from collections.abc import Iterable


class SmileSynthError(Exception):
    """Base of every error that bad input can cause; the CLI prints its message on one line and exits with 2.

    Examples:
        >>> try:
        ...     ss.open_store("nothing.zarr")
        ... except ss.SmileSynthError as error:
        ...     print(type(error).__name__)
        StoreError
    """


class RecipeError(SmileSynthError):
    """A recipe, or a value set on the command line, is not valid."""


class SceneError(SmileSynthError):
    """A scene breaks its own contract."""


class AssetError(SmileSynthError):
    """An image is unusable as background or object."""


class GeneratorError(SmileSynthError):
    """A generator cannot be found, cannot be built, or failed in a clip."""


class UntrustedCodeError(GeneratorError):
    """Somebody else's file names code that would have to be run, and nobody said that it may be."""


class StoreError(SmileSynthError):
    """A store is missing, unfinished, damaged or of another kind than asked for."""


class DamagedStoreError(StoreError):
    """Bytes of a store fail their checksum or cannot be decoded."""


class ClusterError(SmileSynthError):
    """A cluster's variables do not say which part of the work is ours, or a plan for one cannot be made."""


class LoaderError(SmileSynthError):
    """A loader cannot provide what was asked of it."""


class ModelError(SmileSynthError):
    """A model's size, input or mask does not fit."""


class WeightsError(SmileSynthError):
    """Weights are absent, of another shape, or not safe to read."""


class CheckpointError(SmileSynthError):
    """A checkpoint is missing, damaged, or belongs to another run."""


class TrainingError(SmileSynthError):
    """Training cannot start, or cannot continue."""


class VideoError(SmileSynthError):
    """A video file cannot be read."""


class VideoListError(SmileSynthError):
    """A list of labelled videos is missing, or not written as its layout wants."""


class ProbeError(SmileSynthError):
    """A probe's question, labels or data do not fit."""


class ReportError(SmileSynthError):
    """A report cannot be made from what was given."""


REPAIRS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EACCES: "give yourself the right to it",
    errno.EPERM: "give yourself the right to it",
    errno.EROFS: "make the file system writable",
    errno.ECONNREFUSED: "check the network and the address of the server",
    errno.ECONNRESET: "check the network",
    errno.ETIMEDOUT: "check the network",
}
OTHER_PLACES = {
    errno.ENOENT: "check the path",
    errno.EEXIST: "something else is in the way, so name another place",
    errno.ENOTDIR: "a file is in the way, so name another place",
    errno.EISDIR: "a folder is in the way, so name another place",
}


def repair(error: OSError) -> str:
    """Return what makes the same command work, as half a sentence."""
    return REPAIRS.get(error.errno or 0, "fix this")


# Control and formatting characters, lone surrogates, and separators of lines: what a terminal obeys or cannot show.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def printable(text: str) -> str:
    """Return ``text``, which somebody else may have chosen, so that a terminal shows it and obeys nothing in it.

    Escape sequences, right-to-left marks, line ends and bytes that are no text appear as Python writes them, as
    ``\\x1b``.
    """
    if text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode("ascii") if unicodedata.category(char) in _UNPRINTABLE else char
        for char in text
    )


def counted(number: int, noun: str) -> str:
    """Return ``1 clip`` or ``2 clips``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def in_one_line(error: Exception) -> str:
    """Return what people read of an error: one line without control characters; an OSError names file and next step."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f"{error.filename}: "
        advice = OTHER_PLACES.get(error.errno or 0) or f"{repair(error)}, or name another place"
        text = f"{place}{error.strerror[0].lower()}{error.strerror[1:]}; {advice}"
    if isinstance(error, MemoryError):
        text = f"not enough memory{': ' if text else ''}{text}; make clips or batches smaller, or free some memory"
    return printable(" ".join(text.split()))


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the known word nearest to ``word``, or an empty string."""
    words = list(known)
    # People shorten: lr is learning_rate.
    matches = [one for one in words if "_" in one and word == "".join(part[:1] for part in one.split("_"))]
    matches = matches or difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f" Did you mean {matches[0]!r}?" if matches else ""
