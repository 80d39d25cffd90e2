"""Rendering against an obvious Pillow compositor, on one core, in one run.

Clips of 16x224x224 show two objects of the sizes and motions that SMILE published, over photographs. The Pillow
compositor does what one would write first: in every frame it resizes the object, rotates it, and pastes it through its
alpha. The published SMILE code works in the same way, with OpenCV.

    python benchmarks/render.py
    python benchmarks/render.py --objects FOLDER --backgrounds FOLDER    # your own images
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

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


def clips_per_second(draw: Callable[[], object], num_clips: int, *, repeats: int) -> float:
    """Return the best of some repeats, in CPU time, so that other programs on the machine count little."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        draw()
        times.append(time.process_time() - start)
    return num_clips / min(times)


def main() -> None:
    """Measure and print a table."""
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

    rng = np.random.default_rng(0)
    jobs = [draw_job(objects, backgrounds, rng) for _ in range(arguments.clips)]
    scenes = [job.scene() for job in jobs]
    bare = [Scene(scene.canvas, scene.background) for scene in scenes]
    shard = np.ones((64, 16, 224, 224, 3), np.uint8)
    memory_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def into_shard(some: list[Scene]) -> None:
        for i, scene in enumerate(some):
            render_into(scene, shard[i % 64])

    def one_by_one(some: list[Scene]) -> None:
        for scene in some:
            render(scene)

    def with_pillow(some: list[Job]) -> None:
        for job in some:
            composite_with_pillow(job)

    few = jobs[: max(1, len(jobs) // 8)]
    rows = {
        "Pillow: resize, rotate, paste": clips_per_second(lambda: with_pillow(few), len(few), repeats=3),
        "render(): a new clip each": clips_per_second(lambda: one_by_one(scenes), len(scenes), repeats=3),
        "render_into(): a place in a shard": clips_per_second(lambda: into_shard(scenes), len(scenes), repeats=3),
        "backgrounds alone, into a shard": clips_per_second(lambda: into_shard(bare), len(scenes), repeats=3),
    }
    memory_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_before) / 1024
    base = next(iter(rows.values()))
    print(f"16x224x224, 2 objects, {len(objects)} objects and {len(backgrounds)} photographs, one core")
    print(f"{'':36}{'clips/s':>9}{'ratio':>8}")
    for name, speed in rows.items():
        print(f"{name:36}{speed:9.0f}{speed / base:7.1f}x")
    print(f"memory that rendering added at its peak, beside the shard: {memory_mb:.1f} MB")


if __name__ == "__main__":
    main()
