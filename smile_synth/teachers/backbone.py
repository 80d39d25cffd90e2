"""Frozen image models: from images to maps of features."""

from __future__ import annotations

from torch import Tensor, nn

from smile_synth.errors import WeightsError, nearest
from smile_synth.model.patches import IMAGENET_MEAN, IMAGENET_STD

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
NORMALISATIONS = {"imagenet": (IMAGENET_MEAN, IMAGENET_STD), "clip": (CLIP_MEAN, CLIP_STD)}
RANDOM = "random"


class Backbone(nn.Module):
    """An image model that gives maps of features.

    Args:
        mean, std: of the pixels in [0, 1] that the model was trained with.
        image_size: (height, width) that it needs, or None where it takes any.
        stride: pixels between neighbouring features; where it does not divide an image, features lie askew.
    """

    def __init__(
        self,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        image_size: tuple[int, int] | None = None,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.mean, self.std, self.image_size, self.stride = mean, std, image_size, stride

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return features (B, D, rows, columns) of normalised images (B, 3, H, W)."""
        raise NotImplementedError


def no_such_layer(layer: str, names: list[str]) -> WeightsError:
    """Return the error that names the layers there are."""
    return WeightsError(f"the teacher has no layer {layer!r}, it has: {', '.join(names)}.{nearest(layer, names)}")
