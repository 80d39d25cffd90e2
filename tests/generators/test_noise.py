"""Noise: the contract, smooth volumes that drift as labelled, flows that neither pile up nor thin out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import ValidationError
from smile_synth_generators.noise import FLOW_GRID_PX, KINDS, Noise, NoiseParams, _enlarged, add_gradient_noise

from smile_synth.assets import Assets
from smile_synth.generator.base import GeneratorContext
from smile_synth.randomness import clip_rng
from smile_synth.recipe.assets import AssetsParams
from smile_synth.scene import Canvas, Scene
from smile_synth.testing.contract import GeneratorContract


class TestVolume(GeneratorContract):
    generator = Noise
    params: ClassVar[dict[str, Any]] = {"kind": "volume"}


class TestFlow(GeneratorContract):
    generator = Noise
    params: ClassVar[dict[str, Any]] = {"kind": "flow"}


def sample(clip: int, **params: Any) -> Scene:
    context = GeneratorContext(Canvas(112, 112, 8), Assets.build(AssetsParams(), folder=Path()))
    return Noise(NoiseParams.model_validate(params), context).sample(rng=clip_rng(5, clip))


LATTICE = (4, 32, 32, 3)


def octave(steps: tuple[float, ...], shape: tuple[int, int, int] = (3, 64, 64)) -> np.ndarray:
    values = np.zeros(shape, np.float32)
    gradients = clip_rng(0, 0).standard_normal(LATTICE, dtype=np.float32)
    add_gradient_noise(values, gradients, np.zeros(3), np.array(steps))
    return values


def test_gradient_noise_is_zero_at_lattice_points_and_smooth_between() -> None:
    values = octave((4.0, 8.0, 0.0, 0.0, 1.0))
    assert np.abs(values[0, ::8, ::8]).max() < 1e-5
    assert np.abs(values).max() > 0.3
    assert np.abs(np.diff(values, axis=2)).max() < 0.6
    assert np.abs(np.diff(values, axis=1)).max() < 0.6


def test_gradient_noise_equals_its_definition() -> None:
    gradients = clip_rng(0, 0).standard_normal(LATTICE, dtype=np.float32).astype(float)
    values = octave((4.0, 7.3, 0.0, 0.0, 1.0))
    fade = lambda f: f**3 * (f * (f * 6 - 15) + 10)  # noqa: E731
    for t, row, column in ((0, 3, 5), (1, 20, 33), (2, 63, 50)):
        place = np.array([t / 4.0, row / 7.3, column / 7.3])
        base, part = np.floor(place).astype(int), place - np.floor(place)
        total = 0.0
        for corner in np.ndindex(2, 2, 2):
            weight = np.prod([fade(f) if c else 1 - fade(f) for f, c in zip(part, corner, strict=True)])
            total += weight * gradients[tuple(base + corner)] @ (part - corner)
        assert values[t, row, column] == pytest.approx(total, abs=1e-4)


def test_a_volume_drifts_as_its_velocity_says() -> None:
    still = octave((1e9, 9.0, 0.0, 0.0, 1.0))
    moved = octave((1e9, 9.0, 2.0, 3.0, 1.0))
    assert np.allclose(moved[2, 4:, 6:], still[0, :-4, :-6], atol=1e-4)


def test_a_flow_starts_as_the_image_and_keeps_its_mean() -> None:
    for clip in range(4):
        scene = sample(clip, kind="flow", flow={"image": {"kind": "texture"}})
        frames = scene.background.astype(float)
        assert np.abs(frames[1] - frames[0]).mean() > 0.1
        assert frames[-1].mean() == pytest.approx(frames[0].mean(), abs=14)
        assert math.isnan(scene.labels["drift_speed"])
        assert KINDS[scene.labels["noise"]] == "flow"


def test_the_flow_of_no_time_leaves_every_pixel_where_it_is() -> None:
    rows, columns = 50 // FLOW_GRID_PX + 3, 61 // FLOW_GRID_PX + 3
    here_x, here_y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    assert np.allclose(_enlarged(here_x, 50, 61), np.arange(61), atol=1e-4)
    assert np.allclose(_enlarged(here_y, 50, 61), np.arange(50)[:, None], atol=1e-4)


def test_settings_without_effect_are_refused() -> None:
    with pytest.raises(ValidationError, match="flow"):
        NoiseParams.model_validate({"kind": "volume", "flow": {"swirl_px": (20, 30)}})
