"""Reading every video of a dataset once: which are missing or broken, and what decoding costs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from smile_synth.errors import VideoError
from smile_synth.files import sync_file
from smile_synth.machine.threads import map_ahead
from smile_synth.progress import track
from smile_synth.recipe.videos import VideosParams
from smile_synth.videos.decoding import decode, decoder_of
from smile_synth.videos.frames import VideoInfo
from smile_synth.videos.lists import parts_there, read_videos
from smile_synth.videos.sampled import clip_positions, view_positions
from smile_synth.videos.search import Part

# Clips to train on are read of this many videos alone, to know what they cost; the views show what is broken.
TIMED_CLIPS = 256
SETTINGS = ("sampling", "frames", "stride", "segments", "short_side", "decoder")


@dataclass(frozen=True)
class Checked:
    """What was found of one video.

    Args:
        file: its path.
        nbytes, mtime_ns: of the file when it was read; 0 where it is missing.
        num_frames: that it shows; 0 where it cannot be read.
        views_cpu_s: processor seconds for the frames of all views.
        clip_cpu_s: the same for a clip to train on; 0 where that was not timed.
        problem: why it cannot be read; ``missing``, or empty.
    """

    file: str
    nbytes: int = 0
    mtime_ns: int = 0
    num_frames: int = 0
    views_cpu_s: float = 0.0
    clip_cpu_s: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class CheckReport:
    """What was found of a dataset.

    Args:
        parts: number of videos of each part.
        classes: number of classes.
        checked: every video that some part lists, in their order.
    """

    parts: dict[Part, int]
    classes: int
    checked: tuple[Checked, ...]

    @property
    def missing(self) -> list[Checked]:
        """Videos that are listed and not there."""
        return [video for video in self.checked if video.problem == MISSING]

    @property
    def broken(self) -> list[Checked]:
        """Videos that cannot be read."""
        return [video for video in self.checked if video.problem and video.problem != MISSING]

    @property
    def clips_per_s_core(self) -> float:
        """Clips to train on that one core decodes in a second; 0 where none was timed."""
        return _rate([video.clip_cpu_s for video in self.checked])

    @property
    def tests_per_s_core(self) -> float:
        """Videos whose views one core decodes in a second; 0 where none was read."""
        return _rate([video.views_cpu_s for video in self.checked])


MISSING = "missing"


def _rate(seconds: Sequence[float]) -> float:
    spent = [second for second in seconds if second > 0]
    return len(spent) / sum(spent) if spent else 0.0


def check_videos(params: VideosParams, folder: Path, log: Path, *, threads: int) -> CheckReport:
    """Read the test views of every video that a dataset lists; resumable.

    Args:
        params: layout, sampling and decoder.
        folder: of the dataset.
        log: JSON lines, one a video, kept as they are found; videos that have not changed since are not read again.
        threads: that decode.

    Raises:
        VideoListError: the lists do not fit.
        VideoError: the decoder is not installed, or the log is of other settings.
    """
    decoder_of(params.decoder)
    # Without any part, reading the training part says what is wanted.
    parts: tuple[Part, ...] = parts_there(params, folder) or ("train",)
    videos = {part: read_videos(params, part, folder) for part in parts}
    files = list(dict.fromkeys(file for part in videos.values() for file in part.files))
    known = _read_log(log, params)
    timed = set(np.linspace(0, len(files) - 1, min(TIMED_CLIPS, len(files))).astype(int).tolist())
    found = {file: seen for file in files if (seen := known.get(str(file))) and _is_as_it_was(file, seen)}
    with log.open("a", encoding="utf-8") as lines, track(len(files), "check", "videos") as progress:
        # A check that was interrupted may have found nothing yet.
        if not lines.tell():
            _append(lines, {"settings": _settings(params)})
        if found:
            progress.note(f"{len(found)} videos were read before and have not changed")
            progress.advance(len(found))
        rest = [(number, file) for number, file in enumerate(files) if file not in found]

        def check(item: tuple[int, Path]) -> tuple[Path, Checked]:
            number, file = item
            return file, _check(params, file, with_clip=number in timed)

        for file, checked in map_ahead(check, rest, threads=threads, name="check", in_order=False):
            found[file] = checked
            _append(lines, asdict(checked))
            if checked.problem:
                progress.note(f"{file}: {checked.problem}")
            progress.advance()
    sync_file(log)
    counts = {part: len(listed) for part, listed in videos.items()}
    classes = len(next(iter(videos.values())).classes)
    return CheckReport(counts, classes, tuple(found[file] for file in files))


def _check(params: VideosParams, file: Path, *, with_clip: bool) -> Checked:
    try:
        status = file.stat()
    except FileNotFoundError:
        return Checked(str(file), problem=MISSING)
    shown: list[VideoInfo] = []

    def views(info: VideoInfo) -> npt.NDArray[np.int64]:
        shown.append(info)
        return view_positions(params, info.num_frames).ravel()

    def clip(info: VideoInfo) -> npt.NDArray[np.int64]:
        return clip_positions(params, info.num_frames, rng=None)

    facts: dict[str, Any] = {"file": str(file), "nbytes": status.st_size, "mtime_ns": status.st_mtime_ns}
    try:
        started = time.thread_time()
        decode(file, views, short_side=params.short_side, decoder=params.decoder)
        facts |= {"views_cpu_s": time.thread_time() - started, "num_frames": shown[-1].num_frames}
        if with_clip:
            started = time.thread_time()
            decode(file, clip, short_side=params.short_side, decoder=params.decoder)
            facts["clip_cpu_s"] = time.thread_time() - started
    except VideoError as error:
        facts["problem"] = str(error).removeprefix(f"video {file} cannot be read: ").partition("; replace it")[0]
    return Checked(**facts)


def _settings(params: VideosParams) -> dict[str, Any]:
    return {name: getattr(params, name) for name in SETTINGS}


def _is_as_it_was(file: Path, seen: Checked) -> bool:
    try:
        status = file.stat()
    except FileNotFoundError:
        return False
    return (status.st_size, status.st_mtime_ns) == (seen.nbytes, seen.mtime_ns)


def _append(lines: IO[str], values: dict[str, Any]) -> None:
    lines.write(json.dumps(values) + "\n")
    lines.flush()


def _read_log(log: Path, params: VideosParams) -> dict[str, Checked]:
    """Return what an earlier check found, by file; a line that was torn by a crash is dropped.

    Raises:
        VideoError: it was made with other settings, or is no such log.
    """
    if not log.is_file() or not log.stat().st_size:
        return {}
    data = log.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with log.open("r+b") as file:
            file.truncate(len(whole))
    try:
        rows = [json.loads(line) for line in whole.splitlines()]
        settings = rows[0]["settings"] if rows else _settings(params)
        found = {row["file"]: Checked(**row) for row in rows[1:]}
    except (ValueError, KeyError, TypeError) as error:
        raise VideoError(f"{log} is no log of a check ({error}); remove it, or name another with --log") from None
    if settings != _settings(params):
        changed = ", ".join(name for name in SETTINGS if settings.get(name) != getattr(params, name))
        raise VideoError(f"{log} is of a check with another {changed}; remove it, or name another with --log")
    return found
