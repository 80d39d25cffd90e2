"""Image files read into small 8-bit arrays, or refused by name."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image as PilImage
from PIL import ImageOps, UnidentifiedImageError

from smile_synth.assets.table import Image
from smile_synth.errors import AssetError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
OBJECT_SUFFIXES = frozenset({".png", ".webp"})

MAX_MEGAPIXELS = 120
MIN_BACKGROUND_SIDE = 32
MIN_OBJECT_SIDE = 8
# Larger images are reduced when read: no canvas of ours gains from more, and the cache holds more of them.
MAX_BACKGROUND_SIDE = 1024
MAX_OBJECT_SIDE = 256

_EIGHT_BIT_MODES = frozenset(
    {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}
)
_SIXTEEN_BIT_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})


def read_background(file: Path) -> Image:
    """Read any image file as a background.

    Args:
        file: an image of at least 32 px a side; 16-bit, CMYK, palette and EXIF-rotated ones are converted.

    Returns:
        uint8 (h, w, 3), at most 1,024 px a side.

    Raises:
        AssetError: the file is missing, empty, truncated, no image, too small, too large, or of floating-point pixels.
    """
    with _opened(file, MIN_BACKGROUND_SIDE) as image:
        image.draft("RGB", (MAX_BACKGROUND_SIDE, MAX_BACKGROUND_SIDE))
        upright = _eight_bit(ImageOps.exif_transpose(image), file)
        if _has_alpha(upright):
            # Hidden pixels often hold garbage colours; on grey they are plain.
            flat = PilImage.new("RGBA", upright.size, (128, 128, 128, 255))
            upright = PilImage.alpha_composite(flat, upright.convert("RGBA"))
        return np.array(_reduced(upright.convert("RGB"), MAX_BACKGROUND_SIDE))


def read_object(file: Path) -> Image:
    """Read an image file with transparency as an object, cut to what is visible.

    Args:
        file: an image with an alpha channel, or a palette with transparency; something in it must be visible.

    Returns:
        uint8 (h, w, 4), at most 256 px a side, with one transparent pixel all round.

    Raises:
        AssetError: as ``read_background``; also for an image without alpha or with nothing visible.
    """
    with _opened(file, MIN_OBJECT_SIDE) as image:
        if not _has_alpha(image):
            raise AssetError(
                f"object {file} has no transparency (mode {image.mode}); save it as RGBA with a transparent surround, "
                "or use it as a background"
            )
        rgba = _eight_bit(ImageOps.exif_transpose(image), file).convert("RGBA")
        visible = rgba.getchannel("A").getbbox()
        if visible is None:
            raise AssetError(f"object {file} is fully transparent; take it out of the folder")
        return np.pad(np.array(_reduced(rgba.crop(visible), MAX_OBJECT_SIDE - 2)), ((1, 1), (1, 1), (0, 0)))


def check_header(file: Path, *, needs_alpha: bool) -> None:
    """Raise AssetError where a file's first bytes already show that it cannot serve."""
    with _opened(file, MIN_OBJECT_SIDE if needs_alpha else MIN_BACKGROUND_SIDE) as image:
        if needs_alpha and not _has_alpha(image):
            raise AssetError(f"object {file} has no transparency (mode {image.mode}); save it as RGBA")


@contextmanager
def _opened(file: Path, min_side: int) -> Iterator[PilImage.Image]:
    """Open an image, check its size, and turn whatever goes wrong inside into an AssetError that names the file."""
    try:
        with warnings.catch_warnings():
            # We give a limit of our own with an error of our own.
            warnings.simplefilter("ignore", PilImage.DecompressionBombWarning)
            with PilImage.open(file) as image:
                _check_size(image, file, min_side)
                yield image
    except FileNotFoundError as error:
        raise AssetError(f"image {file} does not exist") from error
    except PermissionError as error:
        raise AssetError(
            f"image {file} may not be read; change its permissions, or take it out of the folder"
        ) from error
    except UnidentifiedImageError as error:
        what = "is empty" if file.stat().st_size == 0 else "is no image that can be read"
        raise AssetError(f"image {file} {what}; replace it, or take it out of the folder") from error
    except PilImage.DecompressionBombError as error:
        raise AssetError(f"image {file} is too large ({error}); at most {MAX_MEGAPIXELS} megapixels") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise AssetError(f"image {file} is damaged ({error}); replace it, or take it out of the folder") from error


def _check_size(image: PilImage.Image, file: Path, min_side: int) -> None:
    width, height = image.size
    if min(width, height) < min_side:
        raise AssetError(f"image {file} is too small, {width} x {height} px; at least {min_side} px a side")
    if width * height > MAX_MEGAPIXELS * 1_000_000:
        raise AssetError(
            f"image {file} is too large, {width} x {height} px; at most {MAX_MEGAPIXELS} megapixels: shrink it"
        )


def _eight_bit(image: PilImage.Image, file: Path) -> PilImage.Image:
    """Return the image with 8 bits a channel; Pillow's own conversion would clip 16 bits instead of scaling them."""
    if image.mode in _EIGHT_BIT_MODES:
        return image
    if image.mode in _SIXTEEN_BIT_MODES:
        pixels = np.asarray(image.convert("I"), dtype=np.int32)
        return PilImage.fromarray((pixels >> 8).astype(np.uint8))
    if image.mode == "I":
        pixels = np.asarray(image, dtype=np.int64)
        if pixels.min() >= 0 and pixels.max() <= 0xFFFF:
            return PilImage.fromarray((pixels >> 8).astype(np.uint8))
    raise AssetError(
        f"image {file} has pixels of a kind that has no fixed range (mode {image.mode}); save it with 8 bits"
    )


def _has_alpha(image: PilImage.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _reduced(image: PilImage.Image, max_side: int) -> PilImage.Image:
    longest = max(image.size)
    if longest <= max_side:
        return image
    size = tuple(max(1, round(side * max_side / longest)) for side in image.size)
    return image.resize((size[0], size[1]), PilImage.Resampling.BOX, reducing_gap=2.0)
