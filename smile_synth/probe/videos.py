"""The user's own labelled videos: which there are, and views of them at the size that a network takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smile_synth.dataset import CanvasParams
from smile_synth.errors import ProbeError
from smile_synth.probe.clips import digest_of
from smile_synth.probe.labels import Answers, classes_that_occur
from smile_synth.probe.params import QuestionParams, VideosParams

SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".gif", ".ogv"})
Frames = npt.NDArray[np.uint8]


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
    if place.is_dir():
        return _in_class_folders(place)
    if place.is_file():
        return _in_list(place, root or place.parent)
    raise ProbeError(
        f"there are no videos at {place}; name a folder with one folder a class, or a list of 'path label'"
    )


def _in_class_folders(folder: Path) -> list[LabelledVideo]:
    videos = [
        LabelledVideo(path, path.relative_to(folder).parts[0])
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and len(path.relative_to(folder).parts) > 1
    ]
    if not videos:
        raise ProbeError(
            f"{folder} holds no class folders with videos; lay them out as class/name.mp4 "
            f"(or {', '.join(sorted(SUFFIXES - {'.mp4'}))})"
        )
    return videos


def _in_list(file: Path, root: Path) -> list[LabelledVideo]:
    videos = []
    for number, line in enumerate(_lines(file), start=1):
        if not line.strip():
            continue
        # The label is the last word: a path may hold spaces.
        path_text, _, label = line.strip().rpartition("\t" if "\t" in line else " ")
        if not path_text.strip():
            raise ProbeError(f"{file}, line {number}: a line must be 'path label', got {line.strip()!r}")
        path = root / path_text.strip()
        if not path.is_file():
            raise ProbeError(f"{file}, line {number}: there is no video {path}; give the folder of the paths as 'root'")
        videos.append(LabelledVideo(path, label))
    if not videos:
        raise ProbeError(f"{file} lists no video; write a line 'path label' for each")
    return videos


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ProbeError(f"{file} cannot be read as a list of 'path label' lines: {error}") from None


class VideoClips:
    """Views of videos: segments in time, square crops in space; views of a video stand together.

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
            ProbeError: a video cannot be read; names it.
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
        """Yield the views of each video in order, decoded ahead by threads."""
        with ThreadPoolExecutor(self._workers, thread_name_prefix="decode") as pool:
            ahead: deque[Future[Frames]] = deque()
            try:
                for video in self.videos[first_video:]:
                    ahead.append(pool.submit(read_views, video.path, self._params, self._canvas))
                    if len(ahead) > 2 * self._workers:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def read_views(path: Path, params: VideosParams, canvas: CanvasParams) -> Frames:
    """Decode the views of one video.

    Args:
        path: of the video.
        params: segments, crops, spacing of frames.
        canvas: size of a view.

    Returns:
        uint8 (segments x crops, T, H, W, 3); crops of a segment stand together.

    Raises:
        ProbeError: the file cannot be read as a video.
    """
    av = _pyav()
    try:
        num_frames = _count_packets(av, path)
        wanted_ST = sampled_frames(num_frames, canvas.frames, params)
        pictures, decoded = _decode(av, path, set(wanted_ST.ravel().tolist()), canvas)
        if decoded <= int(wanted_ST.max()):
            # The container announces more frames than it holds: spread the frames over what there is.
            wanted_ST = sampled_frames(decoded, canvas.frames, params)
            pictures, decoded = _decode(av, path, set(wanted_ST.ravel().tolist()), canvas)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise ProbeError(f"video {path} cannot be read: {error}; replace it, or take it out of the list") from None
    views = [
        np.stack([_crop(pictures[frame], place, canvas) for frame in frames.tolist()])
        for frames in wanted_ST
        for place in ((0.5,) if params.crops == 1 else (0.0, 0.5, 1.0))
    ]
    return np.stack(views)


def sampled_frames(num_frames: int, clip_frames: int, params: VideosParams) -> npt.NDArray[np.int64]:
    """Return int64 (segments, T): which frames of a video its views show.

    Args:
        num_frames: of the video; a shorter one than needed repeats frames.
        clip_frames: T.
        params: segments and spacing.

    Raises:
        ValueError: there is no frame.
    """
    if num_frames < 1:
        raise ValueError("it holds no frame")
    length = num_frames / params.segments
    starts = np.arange(params.segments)[:, None] * length
    steps = np.arange(clip_frames)[None]
    if params.frame_stride == 0:
        places = starts + (steps + 0.5) * length / clip_frames
    else:
        places = starts + length / 2 + (steps - (clip_frames - 1) / 2) * params.frame_stride
        places -= np.minimum(0, places[:, :1])
        places -= np.maximum(0, places[:, -1:] - (num_frames - 1))
    return np.clip(np.floor(places), 0, num_frames - 1).astype(np.int64)


def _pyav() -> Any:
    try:
        import av
    except ImportError:
        raise ProbeError("reading videos needs PyAV; install it with: pip install 'smile-synth[video]'") from None
    return av


def _count_packets(av: Any, path: Path) -> int:
    with av.open(str(path)) as container:
        stream = _video_stream(container)
        return sum(1 for packet in container.demux(stream) if packet.size)


def _video_stream(container: Any) -> Any:
    if not container.streams.video:
        raise ValueError("it has no video stream")
    return container.streams.video[0]


def _decode(av: Any, path: Path, wanted: set[int], canvas: CanvasParams) -> tuple[dict[int, Frames], int]:
    """Return the wanted frames, scaled to cover the canvas, and how many frames were decoded."""
    pictures: dict[int, Frames] = {}
    decoded, last = 0, max(wanted)
    with av.open(str(path)) as container:
        stream = _video_stream(container)
        for frame in container.decode(stream):
            if decoded in wanted:
                scale = max(canvas.height / frame.height, canvas.width / frame.width)
                height, width = (max(1, round(scale * side)) for side in (frame.height, frame.width))
                scaled = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA")
                pictures[decoded] = scaled.to_ndarray()
            decoded += 1
            if decoded > last:
                break
    return pictures, decoded


def _crop(picture: Frames, place: float, canvas: CanvasParams) -> Frames:
    """Cut the canvas out of a picture that covers it: ``place`` 0 is left or top, 1 is right or bottom."""
    top = round(place * (picture.shape[0] - canvas.height))
    left = round(place * (picture.shape[1] - canvas.width))
    return picture[top : top + canvas.height, left : left + canvas.width]


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
        ProbeError: nothing is there, a video stands in both parts, or a class has too few videos.
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
    classes = tuple(sorted({video.label for video in (*train, *test)}, key=_class_order))
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


def _class_order(label: str) -> tuple[int, int, str]:
    """Order numbered classes by number, named ones by name."""
    return (0, int(label), label) if label.isdigit() else (1, 0, label)
