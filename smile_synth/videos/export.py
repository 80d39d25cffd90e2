"""A store's clips as video files, with class folders and lists that VideoMAE's code and ours read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smile_synth.errors import VideoError
from smile_synth.files import replace_file
from smile_synth.machine.threads import map_ahead
from smile_synth.progress import track
from smile_synth.randomness import stream
from smile_synth.store import Store
from smile_synth.videos.clip_classes import clip_classes, folder_names
from smile_synth.videos.decoding import decode
from smile_synth.videos.writing import VideoFormat, psnr_db, write_video

SETTINGS, CLASS_NAMES = "export.json", "classes.txt"
TRAIN_LIST, VALIDATION_LIST = "train.csv", "val.csv"
READ_BACK = 32


@dataclass(frozen=True)
class ExportParams:
    """What is exported of a store.

    Args:
        label: whose value is a clip's class; empty makes one class of all.
        bins: classes into which a number is binned.
        validation_share: share of each class's clips that goes into ``val.csv``.
        form: how clips are encoded.
    """

    label: str = ""
    bins: int = 4
    validation_share: float = 0.0
    form: VideoFormat = field(default_factory=VideoFormat)

    def __post_init__(self) -> None:
        if self.bins < 2:
            raise VideoError(f"a number is binned into at least 2 classes, got {self.bins}")
        if not 0 <= self.validation_share < 1:
            raise VideoError(f"a validation share lies from 0 to below 1, got {self.validation_share}")


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        folder: of the videos.
        videos: number of them.
        unlabelled: clips that have no class, and were left out.
        classes: names of the classes.
        psnr_db: of a sample of the videos read back, mean and least; infinite where they equal the clips.
        lists: files with ``path label`` lines.
    """

    folder: Path
    videos: int
    unlabelled: int
    classes: tuple[str, ...]
    psnr_db: tuple[float, float]
    lists: tuple[Path, ...]


def export_videos(store: Store, out: Path, params: ExportParams, *, threads: int) -> Exported:
    """Write a store's clips as videos, or resume what was begun there.

    Args:
        store: a finished store.
        out: folder of the videos: new, empty, or of the same export.
        params: what is exported.
        threads: that encode.

    Raises:
        VideoError: the label does not fit, the folder holds something else, or a video does not read back.
        OSError: a file cannot be written.
    """
    classes, labels = clip_classes(store, params.label, params.bins)
    _claim(store, out, params)
    clips = np.flatnonzero(labels >= 0)
    if not len(clips):
        raise VideoError(f"no clip of {store.path} has the label {params.label!r}; choose another one")
    folders = folder_names(classes)
    names = {int(clip): f"{folders[labels[clip]]}/clip-{clip:08d}.{params.form.name}" for clip in clips}
    for folder in sorted({folders[number] for number in np.unique(labels[clips])}):
        (out / folder).mkdir(exist_ok=True)
    _write_all(store, out, names, params.form, threads)
    lists = _write_lists(out, names, labels, params.validation_share)
    replace_file(out / CLASS_NAMES, "".join(f"{name}\n" for name in classes))
    psnr = _read_back(store, out, names, params.form)
    return Exported(out, len(clips), int((labels < 0).sum()), classes, psnr, lists)


def _claim(store: Store, out: Path, params: ExportParams) -> None:
    """Say in the folder what it holds, and refuse one that holds something else."""
    settings = {"store": store.digest, **asdict(params)}
    out.mkdir(parents=True, exist_ok=True)
    file = out / SETTINGS
    if file.is_file():
        before = _read_settings(file)
        if before != settings:
            changed = sorted(key for key in settings if before.get(key) != settings[key])
            raise VideoError(
                f"{out} holds an export of other settings ({', '.join(changed)}); remove it, or name another folder"
            )
    elif any(out.iterdir()):
        raise VideoError(f"{out} is not empty and holds no export; name another folder")
    else:
        replace_file(file, json.dumps(settings, indent=1))


def _read_settings(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise VideoError(f"{file} is damaged ({error}); remove the folder, and export again") from None
    return values if isinstance(values, dict) else {}


def _write_all(store: Store, out: Path, names: dict[int, str], form: VideoFormat, threads: int) -> None:
    missing = [clip for clip, name in names.items() if not (out / name).is_file()]

    def write(clip: int) -> None:
        write_video(out / names[clip], store.read_frames([clip])[0], form)

    with track(len(names), "export", "videos") as progress:
        if len(missing) < len(names):
            progress.note(f"{len(names) - len(missing)} videos are there already")
            progress.advance(len(names) - len(missing))
        for _ in map_ahead(write, missing, threads=threads, name="encode", in_order=False):
            progress.advance()


def _write_lists(
    out: Path, names: dict[int, str], labels: npt.NDArray[np.int64], validation_share: float
) -> tuple[Path, ...]:
    held_out = set(_share_of_each(names, labels, validation_share))
    parts = {TRAIN_LIST: [clip for clip in names if clip not in held_out], VALIDATION_LIST: sorted(held_out)}
    files = []
    for name, clips in parts.items():
        if clips:
            replace_file(out / name, path_label_lines((names[clip], int(labels[clip])) for clip in clips))
            files.append(out / name)
    return tuple(files)


def path_label_lines(videos: Iterable[tuple[str, int]]) -> str:
    """Return a list as VideoMAE reads it: a space between path and number of the class."""
    return "".join(f"{path} {label}\n" for path, label in videos)


def _share_of_each(names: dict[int, str], labels: npt.NDArray[np.int64], share: float) -> Iterator[int]:
    """Yield the last clips of each class, a share of them."""
    clips = np.array(sorted(names))
    for number in np.unique(labels[clips]):
        of_class = clips[labels[clips] == number]
        yield from of_class[len(of_class) - round(share * len(of_class)) :].tolist()


def _read_back(store: Store, out: Path, names: dict[int, str], form: VideoFormat) -> tuple[float, float]:
    """Return mean and least PSNR of a sample of the videos.

    Raises:
        VideoError: a video has other frames than its clip, or another pixel though it should be lossless.
    """
    chosen = stream(0, "export-read-back").choice(sorted(names), min(READ_BACK, len(names)), replace=False)
    ratios = []
    for clip in chosen.tolist():
        frames_THWC = store.read_frames([clip])[0]
        path = out / names[clip]
        read = decode(path, lambda info: np.arange(info.num_frames), short_side=None)
        if read.shape != frames_THWC.shape:
            raise VideoError(f"{path} reads back as {read.shape}, its clip is {frames_THWC.shape}; remove it, rerun")
        ratios.append(psnr_db(frames_THWC, read))
        if form.lossless and not math.isinf(ratios[-1]):
            raise VideoError(f"{path} should equal its clip and does not ({ratios[-1]:.1f} dB); remove it, run again")
    return float(np.mean(ratios)), min(ratios)
