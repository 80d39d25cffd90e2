"""Handwritten digits as objects, from the sample data of scikit-learn."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from smile_synth.assets.packages import package_folder
from smile_synth.assets.table import Asset, Image
from smile_synth.errors import AssetError
from smile_synth.randomness import stream

# Changes whenever the same name would give another image.
DIGITS_VERSION = 1
FILE = "datasets/data/digits.csv.gz"
# scikit-learn calls its file a copy of the UCI test set; UCI states the licence on the dataset's page.
LICENCE = "CC-BY-4.0"
SOURCE = "E. Alpaydin and C. Kaynak, UCI Optical Recognition of Handwritten Digits (test set), in scikit-learn"
NUM_DIGITS = 1797
SCANNED_SIDE = 8
DIGIT_SIDE = 128
# Scanned values, 0 to 16, from none to all of a colour. Ink keeps most of the scan's greys: one threshold would break
# thin strokes or fill small holes. What is lighter is the rim, and the digit ends where even that would be dirt.
INK = (5.5, 13.0)
RIM = (3.0, 4.5)
_INKS = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Digit(Asset):
    """One handwritten digit: the class is the digit, the colours are drawn for this sample alone.

    Args:
        number: place of the sample in scikit-learn's file.
    """

    number: int

    def read(self) -> Image:
        """Return the digit, uint8 (h, w, 4): two colours inside a rim that sets them off from any background."""
        rng = stream(0, f"digit/{DIGITS_VERSION}/{self.name}")
        ink = _enlarged(_samples()[1][self.number])
        rows, columns = (np.flatnonzero(_coverage(ink, RIM).any(axis=axis)) for axis in (1, 0))
        ink = np.pad(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)
        rgba = np.empty((*ink.shape, 4), np.uint8)
        rgba[..., :3] = _coloured(_coverage(ink, INK), rng)
        rgba[..., 3] = _coverage(ink, RIM)
        return rgba

    def digest(self) -> str:
        """Return a digest of the scanned sample and of how it is coloured."""
        sample = _samples()[1][self.number].tobytes()
        return hashlib.blake2b(f"{DIGITS_VERSION}/{self.name}/".encode() + sample, digest_size=16).hexdigest()


@lru_cache
def digits() -> tuple[Digit, ...]:
    """Return all 1,797 samples in the order of scikit-learn's file; classes ``0`` to ``9``.

    Raises:
        AssetError: the installed scikit-learn has no such file, or another one.
    """
    return tuple(
        Digit(f"builtin/digits/{label}-{number:04}", str(label), LICENCE, SOURCE, number)
        for number, label in enumerate(_samples()[0])
    )


@lru_cache
def _samples() -> tuple[tuple[int, ...], npt.NDArray[np.uint8]]:
    """Return the labels and the scanned samples, uint8 (1797, 8, 8), from 0 to 16."""
    file = package_folder("sklearn") / FILE
    try:
        # Read directly: importing sklearn.datasets takes a second.
        with gzip.open(file, "rt", encoding="ascii") as lines:
            table = np.loadtxt(lines, delimiter=",", dtype=np.uint8)
    except (OSError, ValueError, EOFError) as error:
        raise AssetError(f"assets.objects 'digits': {file} cannot be read ({error}); reinstall scikit-learn") from error
    if table.shape != (NUM_DIGITS, SCANNED_SIDE**2 + 1) or table[:, :-1].max() > 16 or table[:, -1].max() > 9:
        raise AssetError(
            f"assets.objects 'digits': {file} must hold {NUM_DIGITS} samples of 8 x 8 values from 0 to 16 and a "
            f"digit, got a table of {table.shape}; reinstall scikit-learn"
        )
    samples = table[:, :-1].reshape(-1, SCANNED_SIDE, SCANNED_SIDE)
    samples.flags.writeable = False
    return tuple(table[:, -1].tolist()), samples


def _enlarged(sample: npt.NDArray[np.uint8]) -> _INKS:
    """Return a sample as int64 (h, w), a smooth surface in 1/256 of a scanned value, with room for the rim.

    Weights are rounded before they are summed, so that every machine gets the same pixels.
    """
    weights = _spline_weights()
    padded = np.pad(sample.astype(np.int64), 1)
    return (weights @ padded @ weights.T) >> 16


@lru_cache
def _spline_weights() -> _INKS:
    """Return int64 (DIGIT_SIDE, 10), in 1/4096: Catmull-Rom's cubic, which keeps thin strokes and holes."""
    count = SCANNED_SIDE + 2
    place = (np.arange(DIGIT_SIDE) + 0.5) * count / DIGIT_SIDE - 0.5
    distance = np.abs(place[:, None] - np.arange(count))
    near = 1 - 2.5 * distance**2 + 1.5 * distance**3
    far = np.where(distance < 2, -0.5 * (distance - 1) * (distance - 2) ** 2, 0)
    weights: _INKS = np.rint(4096 * np.where(distance < 1, near, far)).astype(np.int64)
    return weights


def _coverage(ink: _INKS, ramp: tuple[float, float]) -> Image:
    """Return uint8 (h, w): 0 below the ramp, 255 above it."""
    low, high = (int(256 * value) for value in ramp)
    covered: Image = ((np.clip(ink, low, high) - low) * 255 // (high - low)).astype(np.uint8)
    return covered


def _coloured(inside: Image, rng: np.random.Generator) -> Image:
    """Return uint8 (h, w, 3): two colours that alternate in soft stripes, on a rim much darker or much lighter."""
    height, width = inside.shape
    is_light = rng.random() < 0.5
    low, high = (150, 256) if is_light else (0, 106)
    first, second = rng.integers(low, high, (2, 3))
    rim = int(rng.integers(0, 40)) if is_light else int(rng.integers(216, 256))
    fill = first + _stripes(height, width, rng)[..., None] * (second - first) // 256
    share = inside[..., None].astype(np.int64)
    coloured: Image = ((share * fill + (255 - share) * rim + 127) // 255).astype(np.uint8)
    return coloured


def _stripes(height: int, width: int, rng: np.random.Generator) -> _INKS:
    """Return int64 (h, w) from 0 to 256: one to three triangle waves across the digit, at any angle."""
    across_y, across_x = (int(step) for step in rng.integers(-3 * 256, 3 * 256 + 1, 2))
    phase = int(rng.integers(512))
    y, x = np.mgrid[0:height, 0:width]
    turned: _INKS = (y * across_y + x * across_x) // DIGIT_SIDE + phase
    return np.abs(turned % 512 - 256)
