"""Backgrounds: every kind, still or under a camera, of the right size and statistics."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from pydantic import ValidationError

from smile_synth.assets import Assets
from smile_synth.randomness import stream
from smile_synth.recipe.assets import AssetsParams
from smile_synth.render import render
from smile_synth.sampling.backgrounds import BackgroundKind, BackgroundParams, draw_pink_noise, sample_background
from smile_synth.sampling.camera import source_size
from smile_synth.scene import NO_ASSET, Canvas, Scene

CANVAS = Canvas(48, 64, 4)
KINDS = get_args(BackgroundKind)


@pytest.fixture(scope="module")
def assets() -> Assets:
    return Assets.build(AssetsParams(), folder=Path())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("motion", ["still", "affine"])
def test_every_kind_makes_a_scene_still_or_under_a_camera(kind: str, motion: str, assets: Assets) -> None:
    params = BackgroundParams.model_validate({"kind": kind, "camera": {"motion": motion}})
    drawn = sample_background(params, CANVAS, assets, rng=stream(0, kind))
    again = sample_background(params, CANVAS, assets, rng=stream(0, kind))
    assert np.array_equal(drawn.image, again.image)
    assert drawn.image.shape[:2] == ((48, 64) if motion == "still" else source_size(CANVAS))
    assert (drawn.asset_id != NO_ASSET) == (kind == "photograph")
    frames = render(Scene(CANVAS, drawn.image, drawn.camera_T33)).frames_THWC
    moves = bool((frames[0] != frames[-1]).any())
    assert moves == (motion != "still" and kind not in ("black", "colour"))


def test_weights_decide_how_often_a_kind_is_drawn(assets: Assets) -> None:
    params = BackgroundParams(kind={"black": 3, "white-noise": 1})
    rng = stream(0, "weights")
    black = sum(not sample_background(params, CANVAS, assets, rng=rng).image.any() for _ in range(400))
    assert 260 < black < 340


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.3, 2.0])
def test_pink_noise_has_the_spectrum_that_was_asked_for(exponent: float) -> None:
    slopes = []
    for n in range(4):
        grey = draw_pink_noise(256, 256, exponent, rng=stream(n, "pink")).astype(float).mean(axis=-1)
        amplitude = np.abs(np.fft.fft2(grey - grey.mean()))
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
        inside = (frequency > 0.02) & (frequency < 0.25)
        slopes.append(np.polyfit(np.log(frequency[inside]), np.log(amplitude[inside]), 1)[0])
    assert -np.mean(slopes) == pytest.approx(exponent, abs=0.12)


def test_settings_without_effect_are_refused() -> None:
    with pytest.raises(ValidationError, match="without kind 'pink-noise'"):
        BackgroundParams.model_validate({"kind": "black", "noise_exponent": 1})
    with pytest.raises(ValidationError, match="stands still"):
        BackgroundParams.model_validate({"camera": {"strength": 2}})


def test_an_unknown_kind_or_no_kind_is_refused() -> None:
    with pytest.raises(ValidationError):
        BackgroundParams.model_validate({"kind": "plaid"})
    with pytest.raises(ValidationError):
        BackgroundParams.model_validate({"kind": {}})
    with pytest.raises(ValidationError):
        BackgroundParams.model_validate({"kind": {"black": 0}})
