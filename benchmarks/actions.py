"""A dataset of 15 actions as real video files in UCF101's layout, for fine-tuning without a download.

One object moves over a photograph: straight in 8 directions, growing, shrinking, spinning to either side, bouncing off
the borders, along a curve, or standing still. Objects and photographs are those of the parts probe-train (for the
training list) and probe-test (for the test list), which pretraining (part pretrain) never shows. All other things are
alike between the classes: size, speed and place are drawn from the same ranges.

    python benchmarks/actions.py --out actions
    smile-synth videos check actions --set videos.stride=1 --set videos.short_side=64

Next to trainlist01.txt and testlist01.txt there are trainlist-4.txt, trainlist-16.txt and trainlist-64.txt: the first
videos of every class, for `videos.train=ucfTrainTestlist/trainlist-4.txt`. Interrupted, the same command resumes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smile_synth.errors import SmileSynthError, VideoError
from smile_synth.files import replace_file
from smile_synth.generator.dataset import Dataset
from smile_synth.machine.cores import num_cores
from smile_synth.progress import track
from smile_synth.randomness import stream
from smile_synth.recipe.assets import AssetsParams
from smile_synth.recipe.dataset import CanvasParams, DatasetParams
from smile_synth.render import render
from smile_synth.sampling.motion import DIRECTIONS
from smile_synth.scene import Scene
from smile_synth.videos.writing import VideoFormat, write_video

SEED = 4_000_037
# Groups of UCF101 were filmed together; its first seven are for testing.
GROUPS = {"train": 8, "test": 1}
COUNTS = {"train": 64, "test": 32}
FEW = (4, 16, 64)
VIDEOS, LISTS, SETTINGS = "UCF-101", "ucfTrainTestlist", "actions.json"
# Key frames at the ends alone, so that a motion is the same throughout.
EVEN = {"inner": [1.0], "easing": {"even": 1}}
STILL = {"max_speed_px": 0.01}
SIZE = {"scales_px": [72, 88, 104], "keep_aspect": True, "growth_per_frame": 0.0}
# At which a motion is plain to see: px a frame for 64 px a side, turns in degrees, sizes as ratios.
LEAST_SPEED_PX, LEAST_TURN_DEG, LEAST_GROWTH, MOST_STRAIGHT = 1.0, 60.0, 1.4, 0.75


@dataclass(frozen=True)
class Family:
    """Clips of one kind of motion.

    Args:
        motion: parameters of the generator's motion.
        classes: that occur.
        class_of: from a scene to its class; empty where the motion is not plain.
    """

    motion: dict[str, Any]
    classes: tuple[str, ...]
    class_of: Callable[[Scene], str]


def _label(scene: Scene, name: str) -> float:
    return float(np.asarray(scene.labels[name])[0])


def _straight(scene: Scene) -> str:
    least = LEAST_SPEED_PX * scene.canvas.height / 64
    return MOVES[int(_label(scene, "direction"))] if _label(scene, "speed") >= least else ""


def _resized(scene: Scene) -> str:
    ratio = _label(scene, "size_change")
    return "Grows" if ratio >= LEAST_GROWTH else "Shrinks" if ratio <= 1 / LEAST_GROWTH else ""


def _turned(scene: Scene) -> str:
    turn = _label(scene, "rotation")
    return "SpinsRight" if turn >= LEAST_TURN_DEG else "SpinsLeft" if turn <= -LEAST_TURN_DEG else ""


def _curved(scene: Scene) -> str:
    layer = scene.layers[0]
    middle = np.array([layer.texture.shape[-2] / 2, layer.texture.shape[-3] / 2, 1.0])
    centre_T2 = layer.pose_T6.reshape(-1, 2, 3) @ middle
    steps = np.linalg.norm(np.diff(centre_T2, axis=0), axis=1)
    straight = np.linalg.norm(centre_T2[-1] - centre_T2[0]) / max(float(steps.sum()), 1e-9)
    size = np.array([scene.canvas.width, scene.canvas.height])
    is_inside = bool(((centre_T2 > 0) & (centre_T2 < size)).all())
    return "Curves" if is_inside and straight <= MOST_STRAIGHT else ""


MOVES = tuple("Moves" + "".join(word.capitalize() for word in name.split("-")) for name in DIRECTIONS)
FAMILIES = (
    Family({"path": "linear", "linear": {"max_speed_px": 12.0}}, MOVES, _straight),
    Family(
        {"path": "linear", "linear": STILL, "size": {**SIZE, "growth_per_frame": 0.05}}, ("Grows", "Shrinks"), _resized
    ),
    Family({"path": "linear", "linear": STILL, "rotation_deg_per_frame": 12.0}, ("SpinsLeft", "SpinsRight"), _turned),
    Family({"path": "bouncing", "bouncing": {"speed_px": [14.0, 20.0]}}, ("Bounces",), lambda scene: "Bounces"),
    Family({"path": "curved", "curved": {"speed_px": [8.0, 14.0]}}, ("Curves",), _curved),
    Family({"path": "linear", "linear": STILL}, ("StandsStill",), lambda scene: "StandsStill"),
)
CLASSES = tuple(sorted(name for family in FAMILIES for name in family.classes))


def scenes_of(family: Family, part: str, count: int, canvas: CanvasParams) -> Iterator[tuple[str, int, Scene]]:
    """Yield class, number within the class and scene of ``count`` clips of every class of a family.

    Raises:
        VideoError: a class hardly ever occurs.
    """
    number = FAMILIES.index(family)
    motion = {"key_frames": EVEN, "size": SIZE, "rotation_deg_per_frame": 0.0, **family.motion}
    tries = 40 * count * len(family.classes)
    params = DatasetParams(
        clips=tries,
        canvas=canvas,
        generator="cutouts",
        params={"num_objects": [1, 1], "motion": motion},
        assets=AssetsParams(backgrounds="crops", split=f"probe-{part}"),  # type: ignore[arg-type]
    )
    seed = int(stream(SEED, f"actions/{part}", number).integers(2**62))
    dataset, found = Dataset(params, seed=seed, folder=Path.cwd()), dict.fromkeys(family.classes, 0)
    for clip in range(tries):
        scene = dataset.sample(clip)
        name = family.class_of(scene)
        if name and found[name] < count:
            yield name, found[name], scene
            found[name] += 1
            if min(found.values()) == count:
                return
    rarest = min(found, key=lambda name: found[name])
    raise VideoError(f"{tries} clips hold only {found[rarest]} of class {rarest}, {count} are wanted")


def file_of(name: str, part: str, number: int) -> str:
    """Return the path of a video as UCF101's lists have it."""
    return f"{name}/v_{name}_g{GROUPS[part]:02d}_c{number + 1:04d}.mp4"


def make(out: Path, counts: dict[str, int], canvas: CanvasParams, form: VideoFormat) -> int:
    """Write the videos and their lists; return how many videos there are.

    Raises:
        VideoError: the folder holds something else, or a class hardly ever occurs.
    """
    _claim(out, {"counts": counts, "canvas": canvas.model_dump(), "format": vars(form), "seed": SEED})
    for name in CLASSES:
        (out / VIDEOS / name).mkdir(parents=True, exist_ok=True)
    total = len(CLASSES) * sum(counts.values())

    def write(file: Path, scene: Scene) -> None:
        if not file.is_file():
            write_video(file, render(scene).frames_THWC, form)

    with track(total, "actions", "videos") as progress, ThreadPoolExecutor(num_cores()) as pool:
        for part, count in counts.items():
            for family in FAMILIES:
                running = [
                    pool.submit(write, out / VIDEOS / file_of(name, part, number), scene)
                    for name, number, scene in scenes_of(family, part, count, canvas)
                ]
                for future in running:
                    future.result()
                    progress.advance()
    write_lists(out / LISTS, counts)
    return total


def _claim(out: Path, settings: dict[str, Any]) -> None:
    file = out / SETTINGS
    if not file.is_file():
        if out.is_dir() and any(out.iterdir()):
            raise VideoError(f"{out} is not empty and holds no such dataset; name another folder")
        out.mkdir(parents=True, exist_ok=True)
        replace_file(file, json.dumps(settings, indent=1))
    elif json.loads(file.read_text(encoding="utf-8")) != json.loads(json.dumps(settings)):
        raise VideoError(f"{out} holds such a dataset of other settings; remove it, or name another folder")


def write_lists(folder: Path, counts: dict[str, int]) -> None:
    """Write UCF101's lists, and shorter lists for training on few videos."""
    folder.mkdir(exist_ok=True)
    replace_file(folder / "classInd.txt", "".join(f"{place} {name}\n" for place, name in enumerate(CLASSES, start=1)))

    def lines(part: str, count: int, *, with_number: bool) -> str:
        return "".join(
            f"{file_of(name, part, number)}{f' {place}' if with_number else ''}\n"
            for place, name in enumerate(CLASSES, start=1)
            for number in range(count)
        )

    replace_file(folder / "trainlist01.txt", lines("train", counts["train"], with_number=True))
    replace_file(folder / "testlist01.txt", lines("test", counts["test"], with_number=False))
    for few in FEW:
        if few <= counts["train"]:
            replace_file(folder / f"trainlist-{few}.txt", lines("train", few, with_number=True))


def main() -> int:
    """Make the dataset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("actions"), help="folder; run again to resume")
    parser.add_argument("--train", type=int, default=COUNTS["train"], help="training videos a class")
    parser.add_argument("--test", type=int, default=COUNTS["test"], help="test videos a class")
    parser.add_argument("--side", type=int, default=64, help="side of the frames, in pixels")
    parser.add_argument("--frames", type=int, default=16, help="frames of a video")
    given = parser.parse_args()
    try:
        canvas = CanvasParams(height=given.side, width=given.side, frames=given.frames)
        count = make(given.out, {"train": given.train, "test": given.test}, canvas, VideoFormat())
    except (SmileSynthError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    print(f"{count} videos of {len(CLASSES)} classes in {given.out}; lists: {given.out / LISTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
