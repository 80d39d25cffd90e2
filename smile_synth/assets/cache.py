"""Decoded images kept in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from smile_synth.assets.table import Image

Images = Sequence[Image]


class ImageCache:
    """The least recently used images leave first; a pickled cache arrives empty.

    Args:
        max_bytes: most bytes of decoded images to keep.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._held: OrderedDict[int, Images] = OrderedDict()
        self._num_bytes = 0

    def get(self, key: int, read: Callable[[], Images]) -> Images:
        """Return the images under ``key``, calling ``read`` where they are not held."""
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        images = read()
        self._held[key] = images
        self._num_bytes += _size(images)
        while self._num_bytes > self.max_bytes and len(self._held) > 1:
            self._num_bytes -= _size(self._held.popitem(last=False)[1])
        return images

    def __getstate__(self) -> dict[str, Any]:
        return {"max_bytes": self.max_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["max_bytes"])  # type: ignore[misc]


def _size(images: Images) -> int:
    return sum(image.nbytes for image in images)
