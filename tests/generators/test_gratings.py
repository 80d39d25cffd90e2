"""Gratings: the contract, and velocities that the pixels bear out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from smile_synth_generators.gratings import PATTERNS, Gratings

from smile_synth.assets import Assets
from smile_synth.generator.base import GeneratorContext
from smile_synth.randomness import clip_rng
from smile_synth.recipe.assets import AssetsParams
from smile_synth.sampling.motion import direction_class
from smile_synth.scene import Canvas, Scene
from smile_synth.testing.contract import GeneratorContract


class TestGratings(GeneratorContract):
    generator = Gratings


def sample(clip: int, **params: Any) -> Scene:
    from pathlib import Path

    context = GeneratorContext(Canvas(96, 96, 8), Assets.build(AssetsParams(), folder=Path()))
    return Gratings(Gratings.Params.model_validate(params), context).sample(rng=clip_rng(3, clip))


def measured_velocity(frames_THWC: np.ndarray) -> tuple[float, float]:
    """Least-squares velocity of a pattern that only moves: brightness change + velocity x gradient = 0."""
    grey = frames_THWC.astype(float).sum(axis=-1)
    change = np.gradient(grey, axis=0)[1:-1].ravel()
    gradient = np.stack([np.gradient(grey, axis=a)[1:-1].ravel() for a in (2, 1)], axis=1)
    velocity, *_ = np.linalg.lstsq(gradient, -change, rcond=None)
    return float(velocity[0]), float(velocity[1])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_labels_tell_the_velocity_that_the_pixels_show(pattern: str) -> None:
    for clip in range(6):
        scene = sample(clip, pattern=pattern, wavelength_px=(60, 120), speed_px_per_frame=(2, 4), contrast=(1, 1))
        dx, dy = measured_velocity(scene.background)
        assert math.hypot(dx, dy) == pytest.approx(scene.labels["drift_speed"], rel=0.05)
        assert scene.labels["drift_direction"] == direction_class(10 * dx, 10 * dy)
        assert PATTERNS[scene.labels["pattern"]] == pattern


def test_no_pattern_moves_so_fast_that_it_seems_to_run_backwards() -> None:
    for clip in range(20):
        scene = sample(clip, pattern="grating", wavelength_px=(10, 12), speed_px_per_frame=(40, 50))
        assert scene.labels["drift_speed"] <= scene.labels["wavelength"] / 3 + 1e-9


def test_contrast_spans_what_was_asked() -> None:
    scene = sample(0, pattern="grating", colour=0, contrast=(0.5, 0.5))
    assert scene.background.min() == pytest.approx(64, abs=2)
    assert scene.background.max() == pytest.approx(191, abs=2)
    assert (scene.background[..., 0] == scene.background[..., 2]).all()
