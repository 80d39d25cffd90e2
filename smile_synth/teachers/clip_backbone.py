"""Visual towers of open_clip as backbones of teachers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
from torch import Tensor, nn

from smile_synth.errors import WeightsError, nearest
from smile_synth.model.torchscript import is_torchscript
from smile_synth.model.weights import load_strictly, read_weights
from smile_synth.recipe.pretrain import TeacherParams
from smile_synth.teachers.backbone import CLIP_MEAN, CLIP_STD, RANDOM, Backbone, no_such_layer
from smile_synth.teachers.downloads import downloads
from smile_synth.teachers.timm_backbone import TimmBackbone


class ClipBackbone(Backbone):
    """The visual tower of an open_clip model, unless that is one of timm's.

    Args:
        visual: the tower.
        layer: name of a block whose output is wanted, or None for the last, after the final norm and before the
            projection.
        mean, std: of the pixels in [0, 1] that the model was trained with.
    """

    def __init__(self, visual: nn.Module, layer: str | None, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        size = getattr(visual, "image_size", 224)
        stride = getattr(visual, "patch_size", (32, 32))[0]
        super().__init__(mean, std, (size, size) if isinstance(size, int) else tuple(size), stride)
        self.visual: Any = visual
        names = _clip_layers(visual)
        if layer is not None and layer not in names:
            raise no_such_layer(layer, names)
        self.index = names.index(layer or names[-1])
        self.has_norm = layer is None and _norms_patches(visual)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return features (B, D, rows, columns) of normalised images (B, 3, H, W)."""
        found = self.visual.forward_intermediates(
            images_BCHW,
            indices=[self.index],
            stop_early=True,
            normalize_intermediates=self.has_norm,
            intermediates_only=True,
            output_fmt="NCHW",
        )
        maps: Tensor = found["image_intermediates"][-1]
        return maps


def open_clip_backbone(params: TeacherParams, weights_file: Path | None) -> Backbone:
    """Return the visual tower of an open_clip model.

    Args:
        params: which model, which weights, which layer.
        weights_file: where its weights lie, or None to have them by name.

    Raises:
        WeightsError: there is no such model or layer, or its weights are absent or do not fit.
    """
    name = params.model_name
    if ":" not in name and name not in open_clip.list_models():
        raise WeightsError(f"open_clip has no model {name!r}.{nearest(name, open_clip.list_models())}")
    tag = None if weights_file is not None or params.pretrained == RANDOM else _tag(name, params.pretrained)
    with downloads(f"{name} ({tag})" if tag or ":" in name else None):
        model: Any = open_clip.create_model(name, pretrained=tag, force_image_size=params.image_size)
    if weights_file is not None:
        _load_clip(model, name, weights_file)
    config = open_clip.get_model_preprocess_cfg(model)
    if tag is None:
        # Weights from a file say nothing of their images; those of the model's published weights are the best guess.
        config = config | _published_images(name)
    mean, std = tuple(config.get("mean", CLIP_MEAN)), tuple(config.get("std", CLIP_STD))
    trunk = getattr(model.visual, "trunk", None)
    if trunk is None:
        return ClipBackbone(model.visual, params.layer, mean, std)
    size = config.get("size", 224)
    image_size = (size, size) if isinstance(size, int) else tuple(size)
    return TimmBackbone(trunk, params.layer, {"mean": mean, "std": std}, image_size)


def _tag(name: str, tag: str | None) -> str | None:
    if ":" in name:
        return None
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag is None and "openai" in tags:
        return "openai"
    if tag is None or tag not in tags:
        raise WeightsError(
            f"open_clip has no weights {tag!r} for {name}: set teacher.pretrained to one of "
            f"{', '.join(tags) or '(none known)'}, or teacher.weights_file to a file"
        )
    return tag


def _published_images(name: str) -> dict[str, Any]:
    """Return mean and deviation of the images that a model's published weights were trained with, if it has any."""
    tags = open_clip.list_pretrained_tags_by_model(name)
    config = open_clip.get_pretrained_cfg(name, tags[0]) if tags else {}
    return {key: config[key] for key in ("mean", "std") if key in config}


def _load_clip(model: Any, name: str, path: Path) -> None:
    """Load the visual tower's weights from any form in which CLIP models are saved."""
    weights = read_weights(path, "state_dict", "model")
    quick = (open_clip.get_model_config(name) or {}).get("quick_gelu", False)
    if is_torchscript(path) and not quick:
        raise WeightsError(
            f"{path} is an archive as OpenAI publishes CLIP, trained with QuickGELU, and {name} has another "
            f"activation: name the model {name}-quickgelu"
        )
    visual = {key: value.float() for key, value in weights.items() if key.startswith("visual.")}
    if not visual:
        visual = {f"visual.{key}": value.float() for key, value in weights.items()}
    try:
        open_clip.model.resize_pos_embed(visual, model)
    except (RuntimeError, ValueError, IndexError, TypeError) as problem:
        raise WeightsError(f"{path} does not fit {name}: its positions cannot be resized ({problem})") from problem
    load_strictly(model.visual, {key.removeprefix("visual."): value for key, value in visual.items()}, str(path))


def _clip_layers(visual: Any) -> list[str]:
    if hasattr(visual, "transformer"):
        return [f"transformer.resblocks.{i}" for i in range(len(visual.transformer.resblocks))]
    return ["stem", "layer1", "layer2", "layer3", "layer4"]


def _norms_patches(visual: Any) -> bool:
    """Return whether the final norm is one of patch tokens; where attention pools them before, it is not."""
    norm = getattr(visual, "ln_post", None)
    return norm is not None and tuple(norm.normalized_shape) == tuple(visual.class_embedding.shape)
