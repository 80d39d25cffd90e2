"""Rendering against an obvious Pillow compositor, on one core, in one run.

Clips of 16x224x224 show two objects of the sizes and motions that SMILE published, over photographs. The Pillow
compositor does what one would write first: in every frame it resizes the object, rotates it, and pastes it through its
alpha. The published SMILE code works in the same way, with OpenCV.

CPU seconds are counted, not wall-clock, so that other programs on the machine disturb little.

    python benchmarks/render.py
    python benchmarks/render.py --objects FOLDER --backgrounds FOLDER    # your own images
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from smile_synth.generator.dataset import Dataset
from smile_synth.recipe.dataset import DatasetParams
from smile_synth.render import render, render_into
from smile_synth.scene import Canvas, Layer, Scene

CANVAS = Canvas(224, 224, 16)
SCALES_PX = (32, 48, 56, 64, 96, 128)
ASPECTS = (0.5, 0.67, 0.75, 1, 1.33, 1.5, 2)


@dataclass(frozen=True)
class Track:
    """What a compositor needs of one object: middle, size and angle in every frame."""

    image: Image.Image
    x_T: npt.NDArray[np.float64]
    y_T: npt.NDArray[np.float64]
    width_T: npt.NDArray[np.float64]
    height_T: npt.NDArray[np.float64]
    angle_deg_T: npt.NDArray[np.float64]

    def layer(self) -> Layer:
        """Return the same object as a layer of a scene."""
        width, height = self.image.size
        angle = np.deg2rad(self.angle_deg_T)
        sx, sy = self.width_T / width, self.height_T / height
        a, b, d, e = np.cos(angle) * sx, -np.sin(angle) * sy, np.sin(angle) * sx, np.cos(angle) * sy
        c, f = self.x_T - (a * width + b * height) / 2, self.y_T - (d * width + e * height) / 2
        pose = np.stack([a, b, c, d, e, f], axis=1).astype(np.float32)
        return Layer(np.asarray(self.image), pose, np.ones(len(pose), np.float32))


@dataclass(frozen=True)
class Job:
    """One clip, for either compositor."""

    background: Image.Image
    tracks: tuple[Track, ...]

    def scene(self) -> Scene:
        """Return the clip as a scene."""
        return Scene(CANVAS, np.asarray(self.background), layers=tuple(track.layer() for track in self.tracks))


def composite_with_pillow(job: Job) -> npt.NDArray[np.uint8]:
    """Draw a clip the obvious way."""
    frames = []
    for t in range(CANVAS.num_frames):
        frame = job.background.copy()
        for track in job.tracks:
            size = (max(1, round(track.width_T[t])), max(1, round(track.height_T[t])))
            patch = track.image.resize(size, Image.Resampling.BILINEAR)
            patch = patch.rotate(-track.angle_deg_T[t], Image.Resampling.BILINEAR, expand=True)
            corner = (round(track.x_T[t] - patch.width / 2), round(track.y_T[t] - patch.height / 2))
            frame.paste(patch, corner, patch)
        frames.append(np.asarray(frame))
    return np.stack(frames)


def draw_track(image: Image.Image, width: float, height: float, rng: np.random.Generator) -> Track:
    """Draw an object's motion with SMILE's amounts: a straight path, up to 6 degrees and 2.5 % a frame."""
    t = np.arange(CANVAS.num_frames)
    growth = np.exp(rng.uniform(-0.025, 0.025) * t)
    (x1, x2), (y1, y2) = rng.uniform(0.1, 0.9, (2, 2)) * [[CANVAS.width], [CANVAS.height]]
    x, y = np.linspace(x1, x2, len(t)), np.linspace(y1, y2, len(t))
    return Track(image, x, y, width * growth, height * growth, rng.uniform(-6, 6) * t)


def draw_job(objects: list[Image.Image], backgrounds: list[Image.Image], rng: np.random.Generator) -> Job:
    """Draw a clip: a random crop of a photograph and two objects of SMILE's sizes, largest first."""
    photograph = backgrounds[rng.integers(len(backgrounds))]
    left, top = (int(rng.integers(side - 223)) for side in photograph.size)
    scale, aspect = rng.choice(SCALES_PX, 2), rng.choice(ASPECTS, 2)
    sizes = np.stack([scale * aspect, scale], axis=1) * np.exp(rng.uniform(-0.18, 0.18, (2, 2)))
    sizes = sizes[np.argsort(-sizes.prod(axis=1))]
    tracks = [draw_track(objects[rng.integers(len(objects))], *size, rng) for size in sizes]
    return Job(photograph.crop((left, top, left + 224, top + 224)), tuple(tracks))


def built_in_images() -> tuple[list[Image.Image], list[Image.Image]]:
    """Return photographs from scikit-learn's wheel, and discs of 160 px cut out of them."""
    from sklearn.datasets import load_sample_images

    backgrounds = [Image.fromarray(image) for image in load_sample_images().images]
    mask = Image.new("L", (160, 160))
    ImageDraw.Draw(mask).ellipse((2, 2, 157, 157), fill=255)
    objects = []
    for background in backgrounds:
        for left in range(0, background.width - 160, 160):
            patch = background.crop((left, 100, left + 160, 260)).convert("RGBA")
            patch.putalpha(mask)
            objects.append(patch)
    return objects, backgrounds


def load_images(folder: Path, mode: str) -> list[Image.Image]:
    """Return the images of a folder that are at least 224 px, or RGBA of any size."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".png", ".jpg", ".jpeg", ".webp"})
    images = [Image.open(path).convert(mode) for path in paths]
    return [image for image in images if mode == "RGBA" or min(image.size) >= 224]


def race(contenders: Mapping[str, tuple[Callable[[int], object], int]]) -> dict[str, float]:
    """Return clips per second by name, the best of five rounds in which all take turns.

    Args:
        contenders: by name, what draws a clip given its number, and how many clips to draw in a round.
    """
    seconds = dict.fromkeys(contenders, float("inf"))
    for _ in range(5):
        for name, (draw, num_clips) in contenders.items():
            start = time.process_time()
            for i in range(num_clips):
                draw(i)
            seconds[name] = min(seconds[name], (time.process_time() - start) / num_clips)
    return {name: 1 / value for name, value in seconds.items()}


def moving_cameras(scenes: Sequence[Scene], tilt: float) -> list[Scene]:
    """Return the scenes' backgrounds alone, under a camera that zooms in slowly."""
    camera_T33 = np.tile(np.eye(3, dtype=np.float32), (CANVAS.num_frames, 1, 1))
    camera_T33[:, :2] *= np.linspace(1.1, 1.4, CANVAS.num_frames, dtype=np.float32)[:, None, None]
    camera_T33[:, :2, 2] = -20
    camera_T33[:, 2, 0] = tilt
    return [Scene(scene.canvas, scene.background, camera_T33) for scene in scenes]


def measure_compositors(jobs: Sequence[Job]) -> None:
    """Print clips per second of Pillow and of ours, and the memory that ours needs."""
    scenes = [job.scene() for job in jobs]
    bare = [Scene(scene.canvas, scene.background) for scene in scenes]
    zooming, tilted = moving_cameras(scenes, tilt=0.0), moving_cameras(scenes, tilt=1e-4)
    shard = np.ones((64, CANVAS.num_frames, CANVAS.height, CANVAS.width, 3), np.uint8)
    memory_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for scene in scenes:
        render_into(scene, shard[0])
    memory_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_before) / 1024

    motion = np.empty((CANVAS.num_frames, CANVAS.height // 8, CANVAS.width // 8, 2), np.float32)
    few = max(1, len(jobs) // 8)
    speeds = race(
        {
            "Pillow: resize, rotate, paste": (lambda i: composite_with_pillow(jobs[i]), few),
            "render_into(): a place in a shard": (lambda i: render_into(scenes[i], shard[i % 64]), len(jobs)),
            "the same with motion in cells of 8 px": (
                lambda i: render_into(scenes[i], shard[i % 64], motion),
                len(jobs),
            ),
            "render(): a new clip each": (lambda i: render(scenes[i]), len(jobs)),
            "backgrounds alone, into a shard": (lambda i: render_into(bare[i], shard[i % 64]), len(jobs)),
            "a camera that zooms, no objects": (lambda i: render_into(zooming[i], shard[i % 64]), few),
            "the same with motion": (lambda i: render_into(zooming[i], shard[i % 64], motion), few),
            "a camera with perspective, no objects": (lambda i: render_into(tilted[i], shard[i % 64]), few),
            "perspective with motion": (lambda i: render_into(tilted[i], shard[i % 64], motion), few),
        }
    )
    base = next(iter(speeds.values()))
    print(f"{'16x224x224, two objects, one core':40}{'clips/s':>9}{'ratio':>8}")
    for name, speed in speeds.items():
        print(f"{name:40}{speed:9.0f}{speed / base:7.1f}x")
    names = list(speeds)
    for without, with_motion in ((1, 2), (5, 6), (7, 8)):
        cost = speeds[names[without]] / speeds[names[with_motion]] - 1
        print(f"motion adds {cost:.1%} to the time of: {names[without]}")
    print(f"memory that render_into() added at its peak, beside the shard: {memory_mb:.1f} MB")


def measure_sampling(num_clips: int) -> None:
    """Print how long drawing the scenes of a dataset takes, against rendering the same scenes."""
    params = DatasetParams(clips=1_000_000, generator="cutouts", params={"num_objects": (2, 2)})
    dataset = Dataset(params, seed=0, folder=Path.cwd())
    for clip in range(1500):  # every built-in image is cut out and cached on first use
        dataset.sample(10_000 + clip)
    scenes = [dataset.sample(clip) for clip in range(num_clips)]
    frames_THWC = render(scenes[0]).frames_THWC
    speeds = race(
        {
            "sampling": (dataset.sample, num_clips),
            "rendering": (lambda i: render_into(scenes[i], frames_THWC), num_clips),
        }
    )
    sampling, rendering = speeds["sampling"], speeds["rendering"]
    together = 1 / (1 / sampling + 1 / rendering)
    print(f"cutouts, two built-in objects: sampling {sampling:.0f} clips/s, rendering {rendering:.0f} clips/s,")
    print(f"both {together:.0f} clips/s; sampling costs {rendering / sampling:.2f} of rendering")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, help="folder of RGBA images")
    parser.add_argument("--backgrounds", type=Path, help="folder of photographs")
    parser.add_argument("--clips", type=int, default=256)
    arguments = parser.parse_args()
    objects, backgrounds = built_in_images()
    if arguments.objects:
        objects = load_images(arguments.objects, "RGBA")
    if arguments.backgrounds:
        backgrounds = load_images(arguments.backgrounds, "RGB")
    print(f"{len(objects)} objects, {len(backgrounds)} photographs, {arguments.clips} clips")
    rng = np.random.default_rng(0)
    measure_compositors([draw_job(objects, backgrounds, rng) for _ in range(arguments.clips)])
    measure_sampling(arguments.clips)


if __name__ == "__main__":
    main()
