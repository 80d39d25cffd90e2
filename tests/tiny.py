"""A dataset so small that a test can render hundreds of stores of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from smile_synth.assets import AssetRow, Assets
from smile_synth.errors import GeneratorError
from smile_synth.generator.base import Generator, GeneratorContext
from smile_synth.generator.dataset import Dataset
from smile_synth.generator.labels import LabelSpec
from smile_synth.params import StrictParams
from smile_synth.recipe.dataset import CanvasParams, DatasetParams, MotionParams, StoreParams
from smile_synth.scene import Canvas, Layer, Scene

DEFAULT_MOTION = MotionParams()


class TinyParams(StrictParams):
    """What can go wrong in a tiny dataset, and where."""

    fails_at: int = -1
    hangs_at: int = -1
    dies_at: int = -1
    exhausts_at: int = -1
    seconds_a_clip: float = 0.0


class TinyGenerator(Generator[TinyParams]):
    """Squares that slide over noise."""

    Params = TinyParams

    @property
    def max_objects(self) -> int:
        return 2

    @property
    def label_specs(self) -> dict[str, LabelSpec]:
        return {
            "speed": LabelSpec("pixels a frame", per="object", unit="px/frame"),
            "half": LabelSpec("which half it starts in", kind="class", classes=("left", "right")),
        }

    def sample(self, *, rng: np.random.Generator) -> Scene:
        canvas = self.context.canvas
        background = rng.integers(0, 256, (canvas.height, canvas.width, 3), dtype=np.uint8)
        layers, speeds = [], []
        start_x = float(rng.uniform(0, canvas.width))
        for _ in range(int(rng.integers(0, 3))):
            speed = np.float32(rng.uniform(0, 2))
            texture = rng.integers(0, 256, (4, 4, 4), dtype=np.uint8)
            pose_T6 = np.tile(np.float32([1, 0, start_x, 0, 1, 3]), (canvas.num_frames, 1))
            pose_T6[:, 2] += speed * np.arange(canvas.num_frames, dtype=np.float32)
            layers.append(Layer(texture, pose_T6, np.ones(canvas.num_frames, np.float32), object_id=1))
            speeds.append(speed)
        labels = {"speed": np.asarray(speeds, np.float32), "half": int(start_x > canvas.width / 2)}
        return Scene(canvas, background, layers=tuple(layers), background_id=0, labels=labels)


class TinyAssets(Assets):
    """A table of two images that nobody reads."""

    rows = (
        AssetRow("background", "noise", "", "CC0-1.0", "the tests", "00"),
        AssetRow("object", "confetti", "paper", "MIT", "the tests", "01"),
    )

    def __len__(self) -> int:
        return len(self.rows)


class TinyDataset(Dataset):
    """A dataset of ``TinyGenerator``, with no images to read.

    Args:
        clips, shard, size, frames: how many, how many a shard, and how large.
        seed: of the dataset.
        params: of the generator.
        motion: of the store.
    """

    def __init__(
        self,
        clips: int = 10,
        shard: int = 4,
        size: int = 8,
        frames: int = 2,
        seed: int = 7,
        params: TinyParams | None = None,
        motion: MotionParams | None = DEFAULT_MOTION,
    ) -> None:
        self._rebuilt_from = (clips, shard, size, frames, seed, params, motion)
        self.typed = "tiny.yaml"
        self.params = DatasetParams(
            clips=clips,
            canvas=CanvasParams(height=size, width=size, frames=frames),
            generator="tiny",
            store=StoreParams(clips_per_shard=shard, motion=motion),
        )
        self.seed, self.folder = seed, Path.cwd()
        self.canvas = Canvas(size, size, frames)
        self.tiny = params or TinyParams()
        self.assets = TinyAssets([], [])
        self.generator = TinyGenerator(self.tiny, GeneratorContext(canvas=self.canvas, assets=self.assets))
        self.max_objects = self.generator.max_objects
        self.label_specs = dict(self.generator.label_specs)

    def __reduce__(self) -> tuple[Any, ...]:
        return (TinyDataset, self._rebuilt_from)

    def sample(self, clip: int) -> Scene:
        if clip == self.tiny.fails_at:
            raise GeneratorError(f"generator 'tiny' failed in clip {clip} (seed {self.seed}): as it was told")
        if clip == self.tiny.exhausts_at:
            raise MemoryError("Unable to allocate 8 GiB")
        if clip == self.tiny.dies_at:
            import os

            os._exit(3)
        if clip == self.tiny.hangs_at:
            time.sleep(3600)
        time.sleep(self.tiny.seconds_a_clip)
        return super().sample(clip)

    def recipe(self) -> dict[str, Any]:
        """Return what a recipe of this dataset would say."""
        return {"name": "tiny", "seed": self.seed, "dataset": self.params.model_dump(mode="json")}


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below ``folder``, by its relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
