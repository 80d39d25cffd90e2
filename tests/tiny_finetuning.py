"""A fine-tuning so small that a test can run dozens of it: 15,000 weights, 12 videos of two classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tiny_videos import write_video

from smile_synth.downstream.finetune import finetune
from smile_synth.recipe.layers import merge
from smile_synth.recipe.recipe import Recipe, parse_recipe
from smile_synth.training.summary import RunSummary

CLASSES = {"left": -1, "right": 1}


def tiny_dataset(folder: Path, *, a_class: int = 6, test: int = 2, num_frames: int = 10) -> Path:
    """Write class folders of videos of 40 x 56 in which a blue square goes left or a red one right over noise."""
    rng = np.random.default_rng(0)
    for part, count in (("train", a_class), ("val", test)):
        for name, sign in CLASSES.items():
            for number in range(count):
                write_video(folder / part / name / f"{number}.mp4", _clip(rng, num_frames, sign))
    return folder


def _clip(rng: np.random.Generator, num_frames: int, sign: int) -> np.ndarray:
    noise = rng.integers(0, 120, (5, 7, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    frames = np.repeat(noise[None], num_frames, axis=0)
    top, middle = int(rng.integers(4, 24)), 22
    for t in range(num_frames):
        left = middle + sign * 2 * (t - num_frames // 2)
        frames[t, top : top + 12, left : left + 12] = (250, 60, 60) if sign > 0 else (60, 60, 250)
    return frames


def tiny_recipe(videos: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    """Return a recipe for ``tiny_dataset``; ``changes`` go over its section ``finetune``."""
    tuning = {
        "image_size": 32,
        "scratch": {"size": "tiny", "width": 24, "depth": 2, "heads": 2, "patch_size": 8},
        "batch_size": 4,
        "max_steps": 6,
        "optimizer": {"learning_rate": 0.01, "scale_with_batch": False, "warmup_epochs": 0},
        "vary": {"repeats": 2, "flip_probability": 0.0},
        "runtime": {"precision": "float32"},
        "watch": {"every_steps": 1, "trackers": []},
        "checkpoint": {"every_steps": 1000},
    }
    reading = {"frames": 4, "stride": 2, "short_side": 36, "segments": 2, "crops": 3}
    values = {"name": "tiny", "seed": 3, "finetune": merge(tuning, changes), "videos": merge(reading, videos or {})}
    return parse_recipe(values, folder=Path.cwd(), origin="tiny")


def tune_tiny(videos: Path, out: Path, recipe: Recipe, model: str = "scratch", **how: Any) -> RunSummary:
    """Fine-tune without a word, on CPU."""
    return finetune(recipe, model, videos, out, device="cpu", view=None, **how)
