"""Image files read into small 8-bit arrays, or refused by name."""

from __future__ import annotations

import stat
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import numpy as np
from PIL import Image as PilImage
from PIL import ImageOps, UnidentifiedImageError

from smile_synth.assets.pillow import QuietPillow
from smile_synth.assets.shrinking import shrink, visible_box
from smile_synth.assets.table import Image
from smile_synth.errors import AssetError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
OBJECT_SUFFIXES = frozenset({".png", ".webp"})
# Pillow recognises files by their content, whatever their name: one that begins as EPS would start Ghostscript.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")

MAX_MEGAPIXELS = 120
# One image of more pixels than this is decoded at a time: several threads check and read images.
LARGE_MEGAPIXELS = 16
MIN_BACKGROUND_SIDE = 32
MIN_OBJECT_SIDE = 8
# Larger images are reduced when read: no canvas of ours gains from more, and the cache holds more of them.
MAX_BACKGROUND_SIDE = 1024
MAX_OBJECT_SIDE = 256

_EIGHT_BIT_MODES = frozenset(
    {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}
)
_SIXTEEN_BIT_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
# What Pillow's readers raise over damaged files; found by mutating files of every format.
_READER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    AssertionError,
)
_FILE_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}
_LARGE = threading.Lock()


class BadImageError(AssetError):
    """A file is unusable as an image, on any machine.

    Args:
        file: which.
        problem: continues the sentence after the file's name, such as ``is damaged (image file is truncated)``.
        kind: a few words to count it under, such as ``damaged``.
        advice: what to do about it.
        what: what it was to be, ``image`` or ``object``.
    """

    def __init__(
        self,
        file: Path,
        problem: str,
        kind: str,
        advice: str = "replace it, or take it out of the folder",
        what: str = "image",
    ) -> None:
        super().__init__(f"{what} {file} {problem}; {advice}")
        self.file, self.problem, self.kind, self.advice, self.what = file, problem, kind, advice, what

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.file, self.problem, self.kind, self.advice, self.what))


def read_background(file: Path) -> Image:
    """Read any image file as a background.

    Args:
        file: an image of at least 32 px a side; 16-bit, CMYK, palette and EXIF-rotated ones are converted, of an
            animation or of several pages the first is taken.

    Returns:
        uint8 (h, w, 3), at most 1,024 px a side.

    Raises:
        BadImageError: the file is no regular file, empty, truncated, no image, too small, too large, or of
            floating-point pixels.
        AssetError: it is missing, may not be read, or memory does not suffice.
    """
    with _opened(file, MIN_BACKGROUND_SIDE) as image:
        image.draft("RGB", (MAX_BACKGROUND_SIDE, MAX_BACKGROUND_SIDE))
        with _turn(image):
            ImageOps.exif_transpose(image, in_place=True)
            whole = (0, 0, *image.size)
            return np.array(shrink(image, whole, MAX_BACKGROUND_SIDE, lambda part: _on_grey(_eight_bit(part, file))))


def read_object(file: Path) -> Image:
    """Read an image file with transparency as an object, cut to what is visible.

    Args:
        file: an image with an alpha channel, or a palette with transparency; something in it must be visible.

    Returns:
        uint8 (h, w, 4), at most 256 px a side, with one transparent pixel all round.

    Raises:
        BadImageError: as ``read_background``; also for an image without alpha or with nothing visible.
        AssetError: as ``read_background``.
    """
    with _opened(file, MIN_OBJECT_SIDE) as image:
        _check_alpha(image, file)
        with _turn(image):
            ImageOps.exif_transpose(image, in_place=True)

            def rgba(part: PilImage.Image) -> PilImage.Image:
                return _eight_bit(part, file).convert("RGBA")

            visible = visible_box(image, rgba)
            if visible is None:
                raise BadImageError(file, "is fully transparent", "transparent", "take it out of the folder", "object")
            return np.pad(np.array(shrink(image, visible, MAX_OBJECT_SIDE - 2, rgba)), ((1, 1), (1, 1), (0, 0)))


def check_header(file: Path, *, needs_alpha: bool) -> None:
    """Raise AssetError where a file's first bytes already show that it is unusable."""
    with _opened(file, MIN_OBJECT_SIDE if needs_alpha else MIN_BACKGROUND_SIDE) as image:
        if needs_alpha:
            _check_alpha(image, file)


@contextmanager
def _opened(file: Path, min_side: int) -> Iterator[PilImage.Image]:
    """Open an image, check its size, and turn whatever goes wrong inside into an AssetError that names the file."""
    try:
        # Opening a FIFO would wait for a writer.
        kind = stat.S_IFMT(file.stat().st_mode)
        if kind != stat.S_IFREG:
            raise BadImageError(file, f"is {_FILE_KINDS.get(kind, 'no file')}, not a file", "no file")
        with QuietPillow(), PilImage.open(file, formats=_FORMATS) as image:
            _check_size(image, file, min_side)
            yield image
    except FileNotFoundError as error:
        raise AssetError(f"image {file} does not exist") from error
    except PermissionError as error:
        raise AssetError(
            f"image {file} may not be read; change its permissions, or take it out of the folder"
        ) from error
    except MemoryError as error:
        raise AssetError(f"image {file} needs more memory than there is; shrink it, or free some memory") from error
    except UnidentifiedImageError as error:
        is_empty = file.stat().st_size == 0
        problem, kind_name = ("is empty", "empty") if is_empty else ("is no image that can be read", "no image")
        raise BadImageError(file, problem, kind_name) from error
    except PilImage.DecompressionBombError as error:
        raise _too_large(file, str(error)) from error
    except _READER_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise AssetError(f"image {file} cannot be read ({error.strerror}); check the disk it is on") from error
        reason = str(error) or type(error).__name__
        raise BadImageError(file, f"is damaged ({reason})", "damaged") from error


def _turn(image: PilImage.Image) -> AbstractContextManager[object]:
    """Return what makes large images wait for one another; JPEG has been told its size in memory by ``draft``."""
    return _LARGE if image.width * image.height > LARGE_MEGAPIXELS * 1_000_000 else nullcontext()


def _check_size(image: PilImage.Image, file: Path, min_side: int) -> None:
    width, height = image.size
    if min(width, height) < min_side:
        problem = f"is too small, {width} x {height} px; at least {min_side} px a side"
        raise BadImageError(file, problem, "too small", "take it out of the folder")
    if width * height > MAX_MEGAPIXELS * 1_000_000:
        raise _too_large(file, f"{width} x {height} px")


def _too_large(file: Path, size: str) -> BadImageError:
    return BadImageError(file, f"is too large, {size}; at most {MAX_MEGAPIXELS} megapixels", "too large", "shrink it")


def _check_alpha(image: PilImage.Image, file: Path) -> None:
    if not _has_alpha(image):
        raise BadImageError(
            file,
            f"has no transparency (mode {image.mode})",
            "opaque",
            "save it as RGBA with a transparent surround, or use it as a background",
            "object",
        )


def _on_grey(image: PilImage.Image) -> PilImage.Image:
    """Return the image as RGB; hidden pixels often hold garbage colours, on grey they are plain."""
    if not _has_alpha(image):
        return image.convert("RGB")
    flat = PilImage.new("RGBA", image.size, (128, 128, 128, 255))
    return PilImage.alpha_composite(flat, image.convert("RGBA")).convert("RGB")


def _eight_bit(image: PilImage.Image, file: Path) -> PilImage.Image:
    """Return the image with 8 bits a channel; Pillow's own conversion would clip 16 bits instead of scaling them."""
    if image.mode in _EIGHT_BIT_MODES:
        return image
    if image.mode in _SIXTEEN_BIT_MODES:
        pixels = np.asarray(image.convert("I"), dtype=np.int32)
        return PilImage.fromarray((pixels >> 8).astype(np.uint8))
    if image.mode == "I":
        pixels = np.asarray(image, dtype=np.int32)
        if pixels.min() >= 0 and pixels.max() <= 0xFFFF:
            return PilImage.fromarray((pixels >> 8).astype(np.uint8))
    raise BadImageError(
        file,
        f"has pixels of a kind that has no fixed range (mode {image.mode})",
        "no fixed range",
        "save it with 8 bits",
    )


def _has_alpha(image: PilImage.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
