"""Frozen features of clips, computed once, kept on disk, resumed after an interruption."""

from __future__ import annotations

import json
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np
import numpy.typing as npt
import torch

from smile_synth.errors import ProbeError
from smile_synth.files import replace_file
from smile_synth.probe.clips import ClipSource, digest_of
from smile_synth.progress import track

FORMAT_VERSION = 2
SECONDS_BETWEEN_SAVES = 2.0
SHARE_OF_DISK = 0.9
STATE_FILE = "state.json"
ROWS_AT_A_TIME = 256
# Type and number of axes of each kind of array.
LAYOUTS = {"pooled": (np.dtype(np.float32), 2), "tokens": (np.dtype(np.float16), 3)}


@dataclass(frozen=True, eq=False)
class ClipFeatures:
    """What an extractor says of a batch of clips.

    Args:
        pooled_BD: float (B, D), one vector a clip.
        tokens_BND: float (B, N, D), or None where the extractor has no tokens.
    """

    pooled_BD: torch.Tensor
    tokens_BND: torch.Tensor | None


class Extractor(Protocol):
    """Frozen features: a network, or something simpler to compare it with."""

    @property
    def name(self) -> str:
        """Short name for file names and JSON."""

    @property
    def title(self) -> str:
        """What people read in the table."""

    @property
    def digest(self) -> str:
        """Changes whenever a feature could."""

    @property
    def has_tokens(self) -> bool:
        """Whether it gives tokens beside one vector a clip."""

    def __call__(self, frames_BTHWC: npt.NDArray[np.uint8]) -> ClipFeatures:
        """Return the features of uint8 frames."""


class FeatureTable:
    """Features of one extractor for one set of clips, on disk, filled from front to back.

    Args:
        folder: of this table alone; its name holds the digest of what it was computed from.
        description: what it was computed from; a folder with another one, or whose arrays are not what was written,
            is filled anew.
        num_examples: rows in all.
        with_tokens: whether tokens are kept beside the pooled features.
    """

    def __init__(self, folder: Path, description: Mapping[str, Any], num_examples: int, *, with_tokens: bool) -> None:
        self.folder, self.num_examples, self.with_tokens = folder, num_examples, with_tokens
        self._description = {**description, "version": FORMAT_VERSION, "tokens": with_tokens}
        self._arrays: dict[str, npt.NDArray[Any]] = {}
        self._checksums: dict[str, int] = {}
        self._saved_s = time.monotonic()
        self.num_done = self._load()

    @property
    def is_complete(self) -> bool:
        """Whether every example has its features."""
        return self.num_done == self.num_examples

    @property
    def pooled(self) -> npt.NDArray[np.float32]:
        """float32 (examples, D)."""
        return self._arrays["pooled"]

    @property
    def tokens(self) -> npt.NDArray[np.float16]:
        """float16 (examples, N, D), mapped from disk."""
        return self._arrays["tokens"]

    def append(self, features: ClipFeatures) -> None:
        """Add the features of the next examples."""
        parts = {"pooled": features.pooled_BD.float().cpu().numpy()}
        if self.with_tokens:
            if features.tokens_BND is None:
                raise ProbeError(f"{self.folder.name} was to hold tokens, and its extractor gives none")
            parts["tokens"] = features.tokens_BND.half().cpu().numpy()
        count = len(parts["pooled"])
        for kind, values in parts.items():
            if kind not in self._arrays:
                self._arrays[kind] = self._create(kind, values)
            self._arrays[kind][self.num_done : self.num_done + count] = values
            self._checksums[kind] = _checksum(values, self._checksums.get(kind, 0))
        self.num_done += count
        if time.monotonic() - self._saved_s > SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        """Write what is done so far; after an interruption the next run resumes from here."""
        if not self._arrays:
            # The first clip failed: there is nothing to keep, and no folder; its error must be the one that is seen.
            return
        for array in self._arrays.values():
            if isinstance(array, np.memmap):
                array.flush()
        rows = {kind: list(array.shape[1:]) for kind, array in self._arrays.items()}
        state = {**self._description, "num_done": self.num_done, "rows": rows, "checksums": self._checksums}
        replace_file(self.folder / STATE_FILE, json.dumps(state, indent=1))
        self._saved_s = time.monotonic()

    def _create(self, kind: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        self.folder.mkdir(parents=True, exist_ok=True)
        shape = (self.num_examples, *values.shape[1:])
        # Writing to a mapped file on a full disk would kill the process without a word.
        _check_room(self.folder, values.nbytes // len(values) * self.num_examples)
        return np.lib.format.open_memmap(self._file(kind), mode="w+", dtype=values.dtype, shape=shape)

    def _file(self, kind: str) -> Path:
        return self.folder / f"{kind}.npy"

    def _load(self) -> int:
        """Map the arrays of an earlier run; return how many examples they hold, 0 where anything does not fit."""
        try:
            state = json.loads((self.folder / STATE_FILE).read_text(encoding="utf-8"))
            done, rows, checksums = state.pop("num_done"), state.pop("rows"), state.pop("checksums")
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return 0
        if state != self._description or type(done) is not int or not 0 < done <= self.num_examples:
            return 0
        arrays = {}
        for kind in self._kinds:
            try:
                arrays[kind] = np.load(self._file(kind), mmap_mode="r+")
            except (OSError, ValueError, EOFError):
                return 0
            dtype, ndim = LAYOUTS[kind]
            if (arrays[kind].dtype, arrays[kind].ndim, len(arrays[kind])) != (dtype, ndim, self.num_examples):
                return 0
        if {kind: list(array.shape[1:]) for kind, array in arrays.items()} != rows:
            return 0
        if {kind: _checksum(array[:done]) for kind, array in arrays.items()} != checksums:
            return 0
        self._arrays, self._checksums = arrays, checksums
        return done

    @property
    def _kinds(self) -> tuple[str, ...]:
        return ("pooled", "tokens") if self.with_tokens else ("pooled",)


def _checksum(values: npt.NDArray[Any], start: int = 0) -> int:
    """Return the CRC-32 of rows that follow those whose checksum is ``start``."""
    for first in range(0, len(values), ROWS_AT_A_TIME):
        start = zlib.crc32(np.ascontiguousarray(values[first : first + ROWS_AT_A_TIME]).view(np.uint8).data, start)
    return start


def _check_room(folder: Path, nbytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if nbytes > SHARE_OF_DISK * free:
        raise ProbeError(
            f"features in {folder} need {nbytes / 1e9:.2g} GB, {free / 1e9:.2g} GB are free; free some space, choose "
            "another --out, lower probe.train_clips, or leave 'attentive' out of probe.classifiers"
        )


def compute_features(
    extractors: Sequence[Extractor],
    clips: ClipSource,
    folder: Path,
    *,
    batch_size: int,
    with_tokens: bool,
    shown_on: TextIO | None = None,
) -> dict[str, FeatureTable]:
    """Return the features of ``clips``, computing what earlier runs did not.

    Frames are read once for all extractors. An interruption loses at most the last seconds.

    Args:
        extractors: what computes features, each with a name of its own.
        clips: what they are computed of.
        folder: where tables are kept.
        batch_size: clips that go through an extractor at once.
        with_tokens: whether tokens are kept too, of extractors that have them.
        shown_on: where progress is shown; None means standard error.

    Returns:
        Complete tables by the name of the extractor.
    """
    tables = {
        extractor.name: _table(extractor, clips, folder, with_tokens and extractor.has_tokens)
        for extractor in extractors
    }
    unfinished = [extractor for extractor in extractors if not tables[extractor.name].is_complete]
    if unfinished:
        _fill(unfinished, tables, clips, batch_size, shown_on)
    return tables


def _table(extractor: Extractor, clips: ClipSource, folder: Path, with_tokens: bool) -> FeatureTable:
    description = {"extractor": extractor.digest, "clips": clips.digest}
    digest = digest_of({**description, "tokens": with_tokens, "version": FORMAT_VERSION})
    path = folder / f"{clips.name}-{extractor.name}-{digest}"
    return FeatureTable(path, description, len(clips.groups), with_tokens=with_tokens)


def _fill(
    extractors: Sequence[Extractor],
    tables: Mapping[str, FeatureTable],
    clips: ClipSource,
    batch_size: int,
    shown_on: TextIO | None,
) -> None:
    first = min(tables[extractor.name].num_done for extractor in extractors)
    with ExitStack() as stack:
        for extractor in extractors:
            stack.callback(tables[extractor.name].save)
        bar = stack.enter_context(track(len(clips.groups) - first, f"features of {clips.name}", "clips", shown_on))
        if first:
            bar.note(f"resumed after {first} of {len(clips.groups)}")
        for start, frames_BTHWC in _numbered(clips.batches(first, batch_size), first):
            for extractor in extractors:
                table = tables[extractor.name]
                missing = frames_BTHWC[max(0, table.num_done - start) :]
                if len(missing):
                    table.append(extractor(missing))
            bar.advance(len(frames_BTHWC))


def _numbered(batches: Iterator[npt.NDArray[np.uint8]], first: int) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    for frames_BTHWC in batches:
        yield first, frames_BTHWC
        first += len(frames_BTHWC)
