"""Frozen image models: from images to maps of features."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from smile_synth.errors import WeightsError, nearest
from smile_synth.model.patches import IMAGENET_MEAN, IMAGENET_STD
from smile_synth.pretrain_params import TeacherParams

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


def build_backbone(params: TeacherParams, *, folder: Path) -> Backbone:
    """Return the frozen image model that a teacher looks through, in float32 on the CPU.

    Args:
        params: which model, which weights, which layer.
        folder: what a relative ``weights_file`` starts from.

    Raises:
        WeightsError: there is no such model or layer, or its weights are absent or do not fit.
    """
    weights_file = None if params.weights_file is None else folder / Path(params.weights_file).expanduser()
    if weights_file is not None and not weights_file.is_file():
        raise WeightsError(
            f"the teacher's weights_file {weights_file} does not exist; nothing was downloaded: "
            "copy the weights there, or leave weights_file out to have them downloaded by name"
        )
    # Either library takes seconds to import: only the one that is asked for is.
    if params.library == "open_clip":
        from smile_synth.clip_backbone import open_clip_backbone

        return open_clip_backbone(params, weights_file)
    from smile_synth.timm_backbone import efficientnet_lite0_backbone, timm_backbone

    return timm_backbone(params, weights_file) if params.library == "timm" else efficientnet_lite0_backbone(params)


def no_such_layer(layer: str, names: list[str]) -> WeightsError:
    """Return the error that names the layers there are."""
    return WeightsError(f"the teacher has no layer {layer!r}, it has: {', '.join(names)}.{nearest(layer, names)}")
