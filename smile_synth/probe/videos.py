"""The user's own labelled videos: which there are, and views of them at the size that a network takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from smile_synth.errors import ProbeError, VideoListError
from smile_synth.machine.threads import map_ahead
from smile_synth.probe.clips import digest_of
from smile_synth.probe.labels import Answers, classes_that_occur
from smile_synth.recipe.dataset import CanvasParams
from smile_synth.recipe.probe import QuestionParams, VideosParams
from smile_synth.videos.class_folders import class_order, in_class_folders
from smile_synth.videos.frames import Frames
from smile_synth.videos.path_label_lists import read_list
from smile_synth.videos.views import Spacing, read_views


@dataclass(frozen=True)
class LabelledVideo:
    """A video file and the name of its class."""

    path: Path
    label: str


def list_videos(place: Path, root: Path | None = None) -> list[LabelledVideo]:
    """Return the videos of a folder with one folder a class, or of a list of ``path label`` lines.

    Args:
        place: the folder, or the text file.
        root: what relative paths of a list start from; None means the list's own folder.

    Raises:
        ProbeError: there is nothing, a line is not ``path label``, or a listed file does not exist.
    """
    try:
        if place.is_dir():
            return [LabelledVideo(video.file, video.label) for video in in_class_folders(place)]
        if place.is_file():
            return _in_list(place, root or place.parent)
    except VideoListError as error:
        raise ProbeError(str(error)) from None
    raise ProbeError(
        f"there are no videos at {place}; name a folder with one folder a class, or a list of 'path label'"
    )


def _in_list(file: Path, root: Path) -> list[LabelledVideo]:
    videos = [(line, LabelledVideo(root / line.path, line.label)) for line in read_list(file)]
    for line, video in videos:
        if not video.path.is_file():
            raise ProbeError(
                f"{file}, line {line.number}: there is no video {video.path}; give the folder of the paths as 'root'"
            )
    return [video for _, video in videos]


class VideoClips:
    """Views of videos: segments in time, square crops in space; views of a video are adjacent.

    Args:
        videos: what to read.
        name: what to call them.
        params: how many segments and crops, and how frames are spaced.
        canvas: size of a view.
        workers: threads that decode.
    """

    def __init__(
        self,
        videos: Sequence[LabelledVideo],
        name: str,
        params: VideosParams,
        canvas: CanvasParams,
        *,
        workers: int,
    ) -> None:
        self.videos, self._name, self._params, self._canvas, self._workers = videos, name, params, canvas, workers
        self._spacing = Spacing(params.segments, params.crops, params.frame_stride)

    @property
    def name(self) -> str:
        """What to call them in the progress and in file names."""
        return self._name

    @property
    def views(self) -> int:
        """Views of a video."""
        return self._params.segments * self._params.crops

    @property
    def groups(self) -> npt.NDArray[np.int64]:
        """The number of the video that each view shows."""
        return np.repeat(np.arange(len(self.videos)), self.views)

    @property
    def scenes(self) -> None:
        """Nobody says which videos were filmed in one place."""
        return None

    @property
    def digest(self) -> str:
        """Digest of the files' names, sizes and times of change, and of how they are looked at."""
        files = [(str(video.path.resolve()), *_stamp(video.path)) for video in self.videos]
        looks = (self._params.segments, self._params.crops, self._params.frame_stride)
        return digest_of([files, looks, self._canvas.model_dump()])

    def batches(self, first: int, batch_size: int) -> Iterator[Frames]:
        """Yield uint8 (B, T, H, W, 3) from view ``first`` to the end, ``batch_size`` at a time.

        Raises:
            VideoError: a video cannot be read; names it.
        """
        skip = first % self.views
        waiting: list[Frames] = []
        for views_VTHWC in self._decoded(first // self.views):
            waiting.extend(views_VTHWC[skip:])
            skip = 0
            while len(waiting) >= batch_size:
                yield np.stack(waiting[:batch_size])
                del waiting[:batch_size]
        if waiting:
            yield np.stack(waiting)

    def _decoded(self, first_video: int) -> Iterator[Frames]:
        """Return the views of each video in order, decoded ahead by threads."""

        def read(video: LabelledVideo) -> Frames:
            return read_views(video.path, self._spacing, self._canvas.canvas)

        return map_ahead(read, self.videos[first_video:], threads=self._workers, name="decode")


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def video_question(
    question: QuestionParams,
    canvas: CanvasParams,
    folder: Path,
    *,
    workers: int,
    min_clips_per_class: int,
) -> tuple[VideoClips, VideoClips, Answers, Answers]:
    """Return views and right answers of a question about the user's videos.

    Args:
        question: with ``videos``.
        canvas: size of a view.
        folder: what relative paths start from.
        workers: threads that decode.
        min_clips_per_class: fewest training videos of a class.

    Raises:
        ProbeError: nothing is there, a video is in both parts, or a class has too few videos.
    """
    assert question.videos is not None
    params = question.videos
    root = folder / params.root if params.root else None
    train, test = (list_videos(folder / place, root) for place in (params.train, params.test))
    both = {video.path.resolve() for video in train} & {video.path.resolve() for video in test}
    if both:
        raise ProbeError(
            f"question {question.name!r}: {len(both)} videos are in training and test, such as {min(both)}; "
            "take them out of one part"
        )
    classes = tuple(sorted({video.label for video in (*train, *test)}, key=class_order))
    answers = [
        Answers(classes, np.array([classes.index(video.label) for video in part], np.int64)) for part in (train, test)
    ]
    train_answers, test_answers = classes_that_occur(
        question.name, answers[0], answers[1], min_clips_per_class=min_clips_per_class
    )
    clips = [
        VideoClips(part, f"{question.name}-{name}", params, canvas, workers=workers)
        for part, name in ((train, "train"), (test, "test"))
    ]
    return clips[0], clips[1], train_answers, test_answers
