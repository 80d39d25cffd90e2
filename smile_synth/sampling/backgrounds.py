"""Backgrounds that any family can stand on: black, colour, gradient, noise, texture or a photograph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from smile_synth.assets import Assets, DrawnBackground
from smile_synth.params import NoEffect, StrictParams
from smile_synth.sampling.camera import Camera, CameraParams, sample_camera_of, source_size
from smile_synth.sampling.choices import Weight, choose, names_in
from smile_synth.sampling.textures import draw_gradient, draw_leaves, draw_texture, sample_colour
from smile_synth.scene import NO_ASSET, Canvas

BackgroundKind = Literal["black", "colour", "gradient", "white-noise", "pink-noise", "texture", "leaves", "photograph"]
Pixels = npt.NDArray[np.uint8]


class ImageParams(StrictParams):
    """What still images show."""

    NO_EFFECT = (
        NoEffect(
            ("noise_exponent",),
            when=lambda image: "pink-noise" not in names_in(image.kind),
            why="without kind 'pink-noise'",
        ),
    )

    kind: BackgroundKind | Annotated[dict[BackgroundKind, Weight], Field(min_length=1)] = Field(
        "photograph", description="a kind, or weights of several, one sampled per clip"
    )
    noise_exponent: float = Field(
        1.3,
        ge=0,
        le=3,
        description="a in the amplitude spectrum 1/f^a of pink-noise; natural video lies at 1.2 to 1.4",
    )


class BackgroundParams(ImageParams):
    """What stands behind the objects, and how the camera moves over it."""

    camera: CameraParams = Field(CameraParams(), description="camera motion over the background")


@dataclass(frozen=True, eq=False)
class Background:
    """A background and the camera that looks at it.

    Args:
        image: uint8 (h, w, 3), of the canvas's size without a camera, larger with one.
        asset_id: row of the asset table, or ``NO_ASSET``.
        camera: None where it stands still.
    """

    image: Pixels
    asset_id: int
    camera: Camera | None

    @property
    def camera_T33(self) -> npt.NDArray[np.float32] | None:
        """The camera as ``Scene`` wants it."""
        return None if self.camera is None else self.camera.homography_T33


def sample_background(
    params: BackgroundParams, canvas: Canvas, assets: Assets, *, rng: np.random.Generator
) -> Background:
    """Sample a background and the camera's motion over it.

    Args:
        params: which kinds and which motions.
        canvas: size of the clip.
        assets: where photographs come from.
        rng: where every choice and every pixel comes from.
    """
    camera = sample_camera_of(params.camera, canvas, rng=rng)
    height, width = (canvas.height, canvas.width) if camera is None else source_size(canvas)
    drawn = sample_image(params, height, width, assets, rng=rng)
    return Background(drawn.image, drawn.asset_id, camera)


def sample_image(
    params: ImageParams, height: int, width: int, assets: Assets, *, rng: np.random.Generator
) -> DrawnBackground:
    """Sample a still image.

    Args:
        params: which kinds.
        height, width: in pixels.
        assets: where photographs come from.
        rng: where every choice and every pixel comes from.
    """
    kind = choose(params.kind, rng=rng)
    if kind == "photograph":
        return assets.backgrounds.sample(height, width, rng=rng)
    return DrawnBackground(_draw_procedural(kind, height, width, params.noise_exponent, rng), NO_ASSET)


def _draw_procedural(
    kind: BackgroundKind, height: int, width: int, noise_exponent: float, rng: np.random.Generator
) -> Pixels:
    if kind == "black":
        return np.zeros((height, width, 3), np.uint8)
    if kind == "colour":
        return np.full((height, width, 3), sample_colour(rng=rng), np.uint8)
    if kind == "gradient":
        return draw_gradient(height, width, rng=rng)
    if kind == "texture":
        return draw_texture(height, width, rng=rng)
    if kind == "leaves":
        return draw_leaves(height, width, rng=rng)
    if kind == "white-noise":
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return draw_pink_noise(height, width, noise_exponent, rng=rng)


def draw_pink_noise(height: int, width: int, exponent: float, *, rng: np.random.Generator) -> Pixels:
    """Draw colour noise whose amplitude falls with spatial frequency like 1/f^exponent.

    Args:
        height, width: in pixels.
        exponent: 0 is white; natural images lie near 1.
        rng: where the spectrum comes from.

    Returns:
        uint8 (height, width, 3); a grey image with fainter colour, as photographs are.
    """
    # Multiples of 64 have small factors only, which the Fourier transform likes.
    rows, columns = -(-height // 64) * 64, -(-width // 64) * 64
    half = columns // 2 + 1
    spectrum = rng.standard_normal((3, rows, half, 2), dtype=np.float32).view(np.complex64)[..., 0]
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :])
    frequency[0, 0] = np.inf
    spectrum *= (frequency**-exponent).astype(np.float32)
    planes = np.fft.irfft2(spectrum, s=(rows, columns), axes=(1, 2))[:, :height, :width]
    planes *= (np.float32(45.0) / planes.std(axis=(1, 2), keepdims=True)) * _CHANNEL_STRENGTH
    mixed = np.einsum("oc,chw->hwo", _TO_RGB, planes) + rng.uniform(80, 175, 3).astype(np.float32)
    pixels: Pixels = np.clip(mixed, 0, 255).astype(np.uint8)
    return pixels


# One plane of brightness and two of colour opponents (red-green, blue-yellow), the latter weaker.
_CHANNEL_STRENGTH = np.array([1.0, 0.25, 0.25], np.float32)[:, None, None]
_TO_RGB = np.array([[1, 1, -0.5], [1, -1, -0.5], [1, 0, 1]], np.float32)
