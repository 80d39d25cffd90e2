"""Damaged image files of every format: a picture or one AssetError, never another exception, a warning or a hang."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutations import mutated
from PIL import Image as PilImage

from smile_synth.assets.images import check_header, read_background, read_object
from smile_synth.errors import AssetError
from smile_synth.randomness import stream

TRIALS = 150


def encoded(mode: str, kind: str, **options: Any) -> bytes:
    pixels = stream(0, "mutations").integers(0, 256, (48, 56, 4), dtype=np.uint8)
    pixels[:8] = (10, 200, 30, 0)
    image = PilImage.fromarray(pixels).convert(mode)
    if mode == "I;16":
        image = PilImage.fromarray(pixels[..., :2].copy().view(np.uint16)[..., 0])
    if mode == "P":
        options["transparency"] = 3
    exif = PilImage.Exif()
    exif[0x0112], exif[0x010F] = 6, "somebody"
    file = io.BytesIO()
    if kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        options["exif"] = exif
    image.save(file, kind, **options)
    return file.getvalue()


FILES = {
    "rgba.png": ("RGBA", "PNG", {}),
    "palette.png": ("P", "PNG", {}),
    "deep.png": ("I;16", "PNG", {}),
    "moving.png": ("RGBA", "PNG", {"save_all": True, "append_images": [PilImage.new("RGBA", (56, 48), "red")]}),
    "plain.jpg": ("RGB", "JPEG", {}),
    "steps.jpg": ("RGB", "JPEG", {"progressive": True}),
    "print.jpg": ("CMYK", "JPEG", {}),
    "lossy.webp": ("RGBA", "WEBP", {}),
    "exact.webp": ("RGBA", "WEBP", {"lossless": True}),
    "moving.webp": ("RGBA", "WEBP", {"save_all": True, "append_images": [PilImage.new("RGBA", (56, 48), "red")]}),
    "raw.tif": ("RGBA", "TIFF", {}),
    "lzw.tif": ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    "jpeg.tif": ("RGB", "TIFF", {"compression": "jpeg"}),
    "deflate.tif": ("RGBA", "TIFF", {"compression": "tiff_adobe_deflate"}),
    "still.gif": ("P", "GIF", {}),
    "moving.gif": ("P", "GIF", {"save_all": True, "append_images": [PilImage.new("P", (56, 48), 9)]}),
    "plain.bmp": ("RGB", "BMP", {}),
    "print.tif": ("CMYK", "TIFF", {}),
}


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_image_is_a_picture_or_one_error(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    mode, kind, options = FILES[name]
    data = encoded(mode, kind, **options)
    file = tmp_path / name
    file.write_bytes(data)
    assert read_background(file).shape[2] == 3
    refused = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for trial in range(TRIALS):
            file.write_bytes(mutated(data, name, trial))
            for read in (read_background, read_object, lambda file: check_header(file, needs_alpha=False)):
                try:
                    read(file)
                except AssetError as error:
                    refused.append(str(error))
    assert all(name in message for message in refused)
    assert len(refused) > TRIALS / 4
    assert capfd.readouterr() == ("", "")
