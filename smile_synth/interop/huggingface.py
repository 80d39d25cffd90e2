"""Hugging Face's form of a VideoMAE encoder: a folder with ``config.json`` and ``model.safetensors``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from smile_synth.errors import WeightsError, printable
from smile_synth.files import replace_file
from smile_synth.interop.declared import DeclaredHuggingFace, huggingface_config
from smile_synth.interop.stored_student import Sizes, StoredStudent
from smile_synth.masking.grid import TokenGrid
from smile_synth.model.patches import IMAGENET_MEAN, IMAGENET_STD
from smile_synth.model.student import StudentShape
from smile_synth.model.weights import read_weights
from smile_synth.recipe.student import Transformer
from smile_synth.scene import Canvas

CONFIG, WEIGHTS, OLD_WEIGHTS, PREPROCESSOR = (
    "config.json",
    "model.safetensors",
    "pytorch_model.bin",
    "preprocessor_config.json",
)
# Published name of a block's weight -> name in a Hugging Face layer.
_BLOCK_NAMES = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
_OUTER_NAMES = {
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "norm": "layernorm",
    "fc_norm": "fc_norm",
    "head": "classifier",
}
# transformers' own, whatever the config says of the other norms.
_MEAN_EPS = 1e-5
_SELF = "attention.attention"
# transformers 4 reads the first, some versions of 5 read the second alone and would leave zeros for the first.
_BIAS_NAMES = {"attn.q_bias": ("q_bias", "query.bias"), "attn.v_bias": ("v_bias", "value.bias")}


def is_huggingface(folder: Path) -> bool:
    """Return whether a folder is one of Hugging Face's."""
    return (folder / CONFIG).is_file() and any((folder / name).is_file() for name in (WEIGHTS, OLD_WEIGHTS))


def write_huggingface(stored: StoredStudent, folder: Path) -> list[Path]:
    """Write a model as a folder that ``from_pretrained`` of ``transformers`` loads.

    Args:
        stored: a student or its encoder; a fine-tuned one becomes a ``VideoMAEForVideoClassification``.
        folder: made where there is none.

    Returns:
        The files written.

    Raises:
        WeightsError: the encoder is a fine-tuned one without a head.
    """
    if stored.is_fine_tuned and not stored.num_classes:
        raise WeightsError(f"{stored.source} is fine-tuned and has no head: export the run that it comes from")
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / CONFIG, _config(stored.shape) | (_classifier_config(stored) if stored.is_fine_tuned else {}))
    _write_json(folder / PREPROCESSOR, _preprocessor(stored.shape))
    # Serialised in memory: the library's own writer makes files that only their owner can read.
    weights = _to_huggingface(stored.encoder_weights)
    if stored.is_fine_tuned:
        outside = ("fc_norm.", "classifier.")
        weights = {name if name.startswith(outside) else f"videomae.{name}": value for name, value in weights.items()}
    replace_file(folder / WEIGHTS, save(weights, metadata={"format": "pt"}))
    return [folder / CONFIG, folder / PREPROCESSOR, folder / WEIGHTS]


def read_huggingface(folder: Path, sizes: Sizes) -> StoredStudent:
    """Return the encoder that a Hugging Face folder holds.

    Raises:
        WeightsError: it is no VideoMAE, or its files cannot be read.
        ModelError: the sizes do not fit each other.
    """
    config = huggingface_config(folder / CONFIG)
    file = folder / WEIGHTS if (folder / WEIGHTS).is_file() else folder / OLD_WEIGHTS
    weights = _from_huggingface(read_weights(file), config, str(folder))
    canvas = sizes.canvas(Canvas(*config.size, config.num_frames))
    grid = TokenGrid.of(canvas, tubelet_size=config.tubelet_size, patch_size=config.patch_size)
    width, depth = config.hidden_size, config.num_hidden_layers
    encoder = Transformer(width, depth, sizes.heads or config.num_attention_heads)
    shape = StudentShape(encoder, encoder, config.intermediate_size / width, grid, 1, config.layer_norm_eps)
    classes = tuple(printable(config.id2label[str(number)]) for number in range(config.num_classes))
    mean_eps = _MEAN_EPS if "fc_norm.weight" in weights else None
    named = {f"encoder.{name}": value for name, value in weights.items()}
    return StoredStudent(named, shape, str(folder), classes if "head.weight" in weights else (), mean_eps).checked()


def _config(shape: StudentShape) -> dict[str, Any]:
    canvas, encoder = shape.grid.canvas, shape.encoder
    square = canvas.height == canvas.width
    return {
        "architectures": ["VideoMAEModel"],
        "model_type": "videomae",
        "image_size": canvas.height if square else [canvas.height, canvas.width],
        "patch_size": shape.grid.patch_size,
        "num_channels": 3,
        "num_frames": canvas.num_frames,
        "tubelet_size": shape.grid.tubelet_size,
        "hidden_size": encoder.width,
        "num_hidden_layers": encoder.depth,
        "num_attention_heads": encoder.heads,
        "intermediate_size": int(encoder.width * shape.mlp_ratio),
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": shape.layer_norm_eps,
        "qkv_bias": True,
        # Without mean pooling the model keeps its final norm, as a pretrained encoder has it.
        "use_mean_pooling": False,
    }


def _classifier_config(stored: StoredStudent) -> dict[str, Any]:
    names = stored.classes or tuple(str(number) for number in range(stored.num_classes))
    return {
        "architectures": ["VideoMAEForVideoClassification"],
        "use_mean_pooling": True,
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
    }


def _preprocessor(shape: StudentShape) -> dict[str, Any]:
    canvas = shape.grid.canvas
    return {
        "image_processor_type": "VideoMAEImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": min(canvas.height, canvas.width)},
        "do_center_crop": True,
        "crop_size": {"height": canvas.height, "width": canvas.width},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(IMAGENET_MEAN),
        "image_std": list(IMAGENET_STD),
    }


def _to_huggingface(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for name, value in weights.items():
        block = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
        if block is None:
            module, _, kind = name.rpartition(".")
            renamed[f"{_OUTER_NAMES[module]}.{kind}"] = value
            continue
        layer, rest = f"encoder.layer.{block[1]}", block[2]
        if rest == "attn.qkv.weight":
            for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                renamed[f"{layer}.{_SELF}.{part}.weight"] = third
        elif rest in ("attn.q_bias", "attn.v_bias"):
            for theirs in _BIAS_NAMES[rest]:
                renamed[f"{layer}.{_SELF}.{theirs}"] = value
        else:
            module, _, kind = rest.rpartition(".")
            renamed[f"{layer}.{_BLOCK_NAMES[module]}.{kind}"] = value
    return {name: value.contiguous().clone() for name, value in renamed.items()}


def _from_huggingface(weights: Mapping[str, Tensor], config: DeclaredHuggingFace, source: str) -> dict[str, Tensor]:
    """Return the weights by published names, whichever of its namings transformers used."""
    held = {name.removeprefix("videomae."): value for name, value in weights.items()}
    found: dict[str, Tensor] = {}
    for published, theirs in _OUTER_NAMES.items():
        found |= _renamed(held, f"{theirs}.", f"{published}.")
    for i in range(config.num_hidden_layers):
        layer, block = f"encoder.layer.{i}.", f"blocks.{i}."
        for published, theirs in _BLOCK_NAMES.items():
            found |= _renamed(held, f"{layer}{theirs}.", f"{block}{published}.")
        found |= _attention(held, f"{layer}{_SELF}.", f"{block}attn.", config.hidden_size, source)
    return found


def _renamed(held: Mapping[str, Tensor], theirs: str, ours: str) -> dict[str, Tensor]:
    return {f"{ours}{kind}": held[theirs + kind] for kind in ("weight", "bias") if theirs + kind in held}


def _attention(held: Mapping[str, Tensor], theirs: str, ours: str, width: int, source: str) -> dict[str, Tensor]:
    parts = [held.get(f"{theirs}{part}.weight") for part in ("query", "key", "value")]
    present = [part for part in parts if part is not None]
    if len(present) != 3:
        raise WeightsError(f"{source} lacks {theirs}query, key or value: it holds no VideoMAE encoder")
    if any(part.shape != (width, width) for part in present):
        raise WeightsError(f"{source}: {theirs}query, key and value must be {width} x {width}, as its {CONFIG} says")
    key_bias = held.get(f"{theirs}key.bias")
    if key_bias is not None and key_bias.any():
        raise WeightsError(f"{source}: {theirs}key.bias is not zero: VideoMAE encoders have no key bias")
    found = {f"{ours}qkv.weight": torch.cat([part.float() for part in present])}
    for name, (old, new) in _BIAS_NAMES.items():
        bias = held.get(theirs + old, held.get(theirs + new))
        found[f"{ours}{name.removeprefix('attn.')}"] = torch.zeros(width) if bias is None else bias
    return found


def _write_json(path: Path, values: dict[str, Any]) -> None:
    replace_file(path, json.dumps(values, indent=2) + "\n")
