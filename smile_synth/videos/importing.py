"""Clips of videos in a store of our own kind, so that they are decoded once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smile_synth.assets import AssetRow, Assets
from smile_synth.errors import VideoError
from smile_synth.generator.dataset import Dataset
from smile_synth.generator.labels import LabelSpec
from smile_synth.recipe.dataset import CanvasParams, DatasetParams, StoreParams
from smile_synth.recipe.videos import VideosParams
from smile_synth.scene import Scene
from smile_synth.store import Store
from smile_synth.store.manifest import ImportDocument, Manifest
from smile_synth.store.storage import locate
from smile_synth.store.writer import fill_as, finish_store, in_processes, in_this_process
from smile_synth.videos.decoding import decode_resized, decoder_of
from smile_synth.videos.frames import VideoInfo
from smile_synth.videos.lists import LabelledVideos
from smile_synth.videos.sampled import clip_positions, view_positions
from smile_synth.videos.search import Part
from smile_synth.videos.views import covering, crop

FAMILY, LABEL = "videos", "class"
SECONDS_A_CLIP = 600.0
PACKAGE_OF = {"pyav": "av", "torchcodec": "torchcodec", "opencv": "opencv-python"}


@dataclass(frozen=True)
class ImportParams:
    """What is imported of videos.

    Args:
        source: the list or folder of the videos, as it was named.
        part: which of its videos.
        height, width: of a clip, in pixels: its centre, after scaling until the clip is covered.
        clips_per_video: 1 takes that of the middle, more are spread as those of a test.
        licence: of the videos, written into the store.
    """

    source: str
    part: Part
    height: int
    width: int
    clips_per_video: int = 1
    licence: str = ""

    def __post_init__(self) -> None:
        if self.clips_per_video < 1:
            raise VideoError(f"at least 1 clip of each video is imported, got {self.clips_per_video}")


class VideoTable(Assets):
    """The asset table of an imported store: a row for each video.

    Args:
        videos: which.
        root: what their names are relative to.
        params: source and licence.
    """

    def __init__(self, videos: LabelledVideos, root: Path, params: ImportParams) -> None:
        super().__init__([], [])
        self.rows = tuple(
            _row(file, videos.classes[label], root, params)
            for file, label in zip(videos.files, videos.labels, strict=True)
        )

    def __len__(self) -> int:
        return len(self.rows)


def _row(file: Path, class_name: str, root: Path, params: ImportParams) -> AssetRow:
    name = file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
    facts = f"{name}/{file.stat().st_size}".encode(errors="surrogateescape")
    digest = hashlib.blake2b(facts, digest_size=16).hexdigest()
    return AssetRow("background", name, class_name, params.licence, params.source, digest)


class VideoDataset(Dataset):
    """Clips of videos as scenes: a background that changes from frame to frame, and nothing in front of it.

    Args:
        videos: which; every one exists.
        reading: how frames are sampled and decoded.
        params: what is imported.
        root: what the names of the videos are relative to.
        store: layout of the store; motion and truth are not known.
    """

    def __init__(
        self, videos: LabelledVideos, reading: VideosParams, params: ImportParams, root: Path, store: StoreParams
    ) -> None:
        self._made_from = (videos, reading, params, root, store)
        self._videos, self._reading, self._import = videos, reading, params
        self.params = DatasetParams(
            clips=len(videos) * params.clips_per_video,
            canvas=CanvasParams(height=params.height, width=params.width, frames=reading.frames),
            generator=FAMILY,
            clip_timeout_s=SECONDS_A_CLIP,
            store=store,
        )
        self.seed, self.folder, self.typed = 0, root, params.source
        self.canvas = self.params.canvas.canvas
        self.assets = VideoTable(videos, root, params)
        self.max_objects = 0
        self.label_specs = {LABEL: LabelSpec("Class of the video", "class", classes=videos.classes)}

    def __reduce__(self) -> tuple[Any, ...]:
        return (VideoDataset, self._made_from)

    @property
    def generator_names(self) -> tuple[str, ...]:
        """Clips of videos are of one family."""
        return (FAMILY,)

    def sample(self, clip: int) -> Scene:
        """Decode one clip.

        Raises:
            VideoError: the video cannot be read; names it.
        """
        video, segment = divmod(clip, self._import.clips_per_video)

        def choose(info: VideoInfo) -> npt.NDArray[np.int64]:
            return self._positions(info.num_frames, segment)

        frames_THWC = decode_resized(
            self._videos.files[video], choose, covering(self.canvas), decoder=self._reading.decoder
        )
        return Scene(
            self.canvas,
            np.ascontiguousarray(crop(frames_THWC, 0.5, self.canvas)),
            background_id=video,
            labels={LABEL: int(self._videos.labels[video])},
        )

    def _positions(self, num_frames: int, segment: int) -> npt.NDArray[np.int64]:
        if self._import.clips_per_video == 1:
            return clip_positions(self._reading, num_frames, rng=None)
        spread = self._reading.model_copy(update={"segments": self._import.clips_per_video})
        positions: npt.NDArray[np.int64] = view_positions(spread, num_frames)[segment]
        return positions

    def repeat_command(self, clip: int) -> str:
        """Return the command that reads all videos again, to find the bad ones."""
        return f"smile-synth videos check {self.typed}"


def import_videos(
    videos: LabelledVideos,
    reading: VideosParams,
    params: ImportParams,
    out: str | Path,
    *,
    root: Path,
    store: StoreParams,
    workers: int = 0,
) -> Store:
    """Import clips of videos into a store, or resume what was begun there, and seal it.

    Args:
        videos: which; every one exists and can be read.
        reading: how frames are sampled and decoded.
        params: what is imported.
        out: folder or URL of the store.
        root: what the names of the videos are relative to.
        store: layout of the store.
        workers: processes that decode; 0 decodes in this one.

    Raises:
        VideoError: a video cannot be read, or the decoder is not installed.
        StoreError: the place holds something else, or cannot be written.
    """
    decoder_of(reading.decoder)
    dataset = VideoDataset(videos, reading, params, root, store.model_copy(update={"motion": None, "truth": ()}))
    engine = in_processes(workers) if workers else in_this_process
    fill_as(_manifest(dataset, reading, params), dataset, locate(out), engine=engine, label="import")
    return finish_store(out)


def _manifest(dataset: VideoDataset, reading: VideosParams, params: ImportParams) -> Manifest:
    source = ImportDocument(
        source=params.source,
        part=params.part,
        clips_per_video=params.clips_per_video,
        sampling=reading.sampling,
        stride=reading.stride,
        decoder=reading.decoder,
    )
    recipe: Mapping[str, Any] = {"name": "imported", "videos": reading.model_dump(mode="json")}
    manifest = Manifest.of(dataset, recipe, imported=source)
    package = PACKAGE_OF[reading.decoder]
    try:
        decoder = version(package)
    except PackageNotFoundError:
        decoder = "not installed"
    return manifest.model_copy(update={"versions": {**manifest.versions, package: decoder}})
