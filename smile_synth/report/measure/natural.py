"""Natural videos and images to put a dataset beside."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from smile_synth.errors import ReportError, VideoError
from smile_synth.progress import track
from smile_synth.report.measure.appearance_summary import AppearanceSummary
from smile_synth.report.measure.content import Natural
from smile_synth.report.measure.feature_statistics import FeatureModel, FeatureSummary, Moments, diversity_logdet
from smile_synth.report.measure.sample import choose_clips
from smile_synth.scene import Canvas
from smile_synth.videos.frames import VIDEO_SUFFIXES, Frames
from smile_synth.videos.views import Spacing, read_views

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
MAX_FILES = 500
WANTED_CLIPS = 500
MAX_CLIPS_PER_VIDEO = 32
MAX_VIDEO_NBYTES = 128 * 2**20
DEFAULT_STRIDE = 4


@dataclass(frozen=True)
class NaturalFiles:
    """The files to look at.

    Args:
        folder: that was named.
        videos, images: chosen files.
    """

    folder: Path
    videos: list[Path]
    images: list[Path]

    def clips_per_video(self, canvas: Canvas) -> int:
        """Return how many clips to take from each video: few videos still give many, within bounded memory."""
        wanted = math.ceil(WANTED_CLIPS / max(len(self.videos), 1))
        room = MAX_VIDEO_NBYTES // (canvas.num_frames * canvas.height * canvas.width * 3)
        return max(1, min(MAX_CLIPS_PER_VIDEO, wanted, room))


@dataclass(frozen=True)
class NaturalSample:
    """What was measured on natural files.

    Args:
        content: for the report.
        moments: of their features; None without a feature model.
    """

    content: Natural
    moments: Moments | None


def find_natural(folder: Path, *, seed: int) -> NaturalFiles:
    """Return up to 500 videos and 500 images of a folder and the folders inside it.

    Args:
        folder: to look through.
        seed: chooses among more files.

    Raises:
        ReportError: there is no such folder, or it holds neither videos nor images.
    """
    if not folder.is_dir():
        raise ReportError(f"--natural takes a folder of videos or images, got {folder}, which is no folder")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    if not videos and not images:
        raise ReportError(
            f"--natural {folder} holds none of {', '.join(sorted(VIDEO_SUFFIXES | IMAGE_SUFFIXES))}, "
            f"but {len(files)} other files; name a folder of videos or images"
        )
    return NaturalFiles(folder, *(_some(paths, seed) for paths in (videos, images)))


def measure_natural(files: NaturalFiles, canvas: Canvas, model: FeatureModel | None, *, stride: int) -> NaturalSample:
    """Measure natural files with what the dataset is measured with.

    Args:
        files: from ``find_natural``.
        canvas: size of the dataset's clips; frames are scaled to cover it, and its middle is cut out.
        model: sees frames; None for no features.
        stride: frames of a video from one frame of a clip to the next.

    Raises:
        ReportError: not one file can be read, or PyAV is missing.
    """
    look = AppearanceSummary(canvas.height, canvas.width)
    features = None if model is None else FeatureSummary(model)
    skipped: list[str] = []
    read = {"videos": 0, "images": 0, "clips": 0}
    no_boxes = np.empty((0, canvas.num_frames, 4), np.float32)
    with track(len(files.videos) + len(files.images), "natural", "files") as progress:
        for kind, path, frames_BTHWC in _read_all(files, canvas, stride, skipped):
            if frames_BTHWC is not None:
                read[kind] += 1
                read["clips"] += len(frames_BTHWC) if kind == "videos" else 0
                boxes = np.repeat(no_boxes[None, :, : frames_BTHWC.shape[1]], len(frames_BTHWC), 0)
                look.add(frames_BTHWC, boxes, np.full(len(frames_BTHWC), -1))
                if features is not None:
                    features.add(frames_BTHWC)
            else:
                progress.note(f"skipped {path}: {skipped[-1].partition(': ')[2]}")
            progress.advance()
    if not read["videos"] and not read["images"]:
        raise ReportError(f"--natural {files.folder}: not one of {len(skipped)} files can be read; {skipped[0]}")
    return _sample(files, look, features, read, skipped, stride)


def _sample(
    files: NaturalFiles,
    look: AppearanceSummary,
    features: FeatureSummary | None,
    read: dict[str, int],
    skipped: list[str],
    stride: int,
) -> NaturalSample:
    appearance = look.summary()
    moments = None if features is None else features.moments
    content = Natural(
        folder=files.folder.resolve().name,
        videos=read["videos"],
        images=read["images"],
        clips=read["clips"],
        stride=stride,
        skipped=skipped,
        quantities=[quantity for quantity in appearance.quantities if quantity.name != "background_contrast"],
        spectrum=appearance.spectrum,
        amplitude_exponent=appearance.amplitude_exponent,
        diversity_logdet=None if moments is None else diversity_logdet(moments),
        feature_frames=0 if moments is None else moments.count,
    )
    return NaturalSample(content, moments)


def _some(paths: list[Path], seed: int) -> list[Path]:
    chosen = choose_clips(len(paths), MAX_FILES, seed=seed, purpose="report natural files")
    return [paths[i] for i in chosen.tolist()]


def _read_all(
    files: NaturalFiles, canvas: Canvas, stride: int, skipped: list[str]
) -> Iterator[tuple[str, Path, Frames | None]]:
    """Yield the clips of every file, None where it cannot be read; ``skipped`` then gets its name and the reason."""
    spacing = Spacing(segments=files.clips_per_video(canvas), frame_stride=stride)
    if files.videos:
        _need_pyav()
    for path in files.videos:
        try:
            frames = read_views(path, spacing, canvas)
        except VideoError as error:
            skipped.append(f"{path.name}: {error}")
            yield "videos", path, None
        else:
            yield "videos", path, frames
    for path in files.images:
        try:
            image = _read_image(path, canvas)
        except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
            skipped.append(f"{path.name}: {error}")
            yield "images", path, None
        else:
            yield "images", path, image[None, None]


def _need_pyav() -> None:
    import importlib.util

    if importlib.util.find_spec("av") is None:
        raise ReportError("reading natural videos needs PyAV; install it with: pip install 'smile-synth[video]'")


def _read_image(path: Path, canvas: Canvas) -> Frames:
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    scale = max(canvas.height / image.height, canvas.width / image.width)
    size = (max(canvas.width, round(scale * image.width)), max(canvas.height, round(scale * image.height)))
    pixels = np.asarray(image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC))
    top, left = (pixels.shape[0] - canvas.height) // 2, (pixels.shape[1] - canvas.width) // 2
    return pixels[top : top + canvas.height, left : left + canvas.width]
