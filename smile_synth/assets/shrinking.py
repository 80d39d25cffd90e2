"""Large images made small strip by strip: the same pixels as Pillow gives for the whole, in a part of the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from PIL import Image as PilImage

Prepare = Callable[[PilImage.Image], PilImage.Image]
Box = tuple[int, int, int, int]

STRIP_PIXELS = 2_000_000
# Before the exact area mean, whole blocks of pixels are averaged while the image stays this many times larger.
REDUCING_GAP = 2.0


def shrink(image: PilImage.Image, box: Box, max_side: int, prepare: Prepare) -> PilImage.Image:
    """Return what lies in a box, prepared, with its longer side at most ``max_side``.

    Args:
        image: decoded, of any mode.
        box: left, top, right, bottom in pixels.
        max_side: pixels; a smaller image is not enlarged.
        prepare: converts a part of the image; what it does to a pixel depends on that pixel alone.

    Returns:
        The same pixels as ``prepare(image.crop(box)).resize(size, BOX, reducing_gap=2.0)``.
    """
    width, height = box[2] - box[0], box[3] - box[1]
    longest = max(width, height)
    if longest <= max_side:
        return prepare(image.crop(box))
    size = max(1, round(width * max_side / longest)), max(1, round(height * max_side / longest))
    factors = int(width / size[0] / REDUCING_GAP) or 1, int(height / size[1] / REDUCING_GAP) or 1
    if factors == (1, 1):
        return prepare(image.crop(box)).resize(size, PilImage.Resampling.BOX)
    small = _reduced(image, box, factors, prepare)
    inside = (0.0, 0.0, width / factors[0], height / factors[1])
    resized = small.resize(size, PilImage.Resampling.BOX, box=inside)
    return resized.convert("RGBA") if resized.mode == "RGBa" else resized


def visible_box(image: PilImage.Image, prepare: Prepare) -> Box | None:
    """Return the smallest box that holds all that is not fully transparent, None where nothing is.

    Args:
        image: decoded, of any mode.
        prepare: converts a part of the image to RGBA.
    """
    boxes = []
    for strip in _strips((0, 0, *image.size), 1):
        inside = prepare(image.crop(strip)).getchannel("A").getbbox()
        if inside is not None:
            boxes.append((inside[0], inside[1] + strip[1], inside[2], inside[3] + strip[1]))
    if not boxes:
        return None
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _reduced(image: PilImage.Image, box: Box, factors: tuple[int, int], prepare: Prepare) -> PilImage.Image:
    """Return the means of whole blocks of ``factors`` pixels; RGBA comes premultiplied, as Pillow reduces it."""
    parts = []
    for strip in _strips(box, factors[1]):
        part = prepare(image.crop(strip))
        # Colours of hidden pixels must not run into the visible ones.
        part = part.convert("RGBa") if part.mode == "RGBA" else part
        parts.append(part.reduce(factors))
    whole = PilImage.new(parts[0].mode, (parts[0].width, sum(part.height for part in parts)))
    top = 0
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height
    return whole


def _strips(box: Box, factor: int) -> Iterator[Box]:
    """Cut a box into strips of whole blocks of rows, ``factor`` rows each."""
    left, top, right, bottom = box
    rows = factor * max(1, STRIP_PIXELS // (factor * (right - left)))
    for start in range(top, bottom, rows):
        yield left, start, right, min(start + rows, bottom)
