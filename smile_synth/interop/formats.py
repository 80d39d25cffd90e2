"""Trained students from and to files: checkpoints, published VideoMAE and SMILE files, Hugging Face, safetensors."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from smile_synth.errors import WeightsError
from smile_synth.interop.huggingface import is_huggingface, read_huggingface, write_huggingface
from smile_synth.interop.stored_student import Sizes, StoredStudent, from_published
from smile_synth.model.student import StudentShape
from smile_synth.model.weights import named_tensors, read_file

ExportFormat = Literal["videomae", "huggingface", "safetensors"]
EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
METADATA_KEY = "smile_synth"
LATEST_CHECKPOINT = Path("checkpoints") / "latest.pt"


def read_student(path: Path, sizes: Sizes | None = None) -> StoredStudent:
    """Return the student, or the encoder alone, that lies at a path.

    Args:
        path: a run folder or a checkpoint of smile-synth, an export of any format, a published VideoMAE or SMILE
            ``.pth``, or a Hugging Face folder. Where a run kept a moving average of its weights, that is taken.
        sizes: what the file may not tell, or is to be changed.

    Raises:
        WeightsError: there is nothing, or nothing of these kinds, or reading it could run code.
        ModelError: the sizes do not fit each other.
    """
    sizes = sizes or Sizes()
    if not path.is_dir():
        return _read_file(path, sizes)
    if (path / LATEST_CHECKPOINT).is_file():
        return _read_file(path / LATEST_CHECKPOINT, sizes)
    if is_huggingface(path):
        return read_huggingface(path, sizes)
    raise WeightsError(
        f"{path} is neither a run (it has no {LATEST_CHECKPOINT}) nor a Hugging Face folder "
        "(config.json with model.safetensors)"
    )


def export(stored: StoredStudent, out: Path, format: ExportFormat) -> list[Path]:
    """Write a student in a form that others read.

    Args:
        stored: what is to be written.
        out: a file for ``videomae`` (all weights) and ``safetensors`` (the encoder), a folder for ``huggingface``.
        format: one of the three.

    Returns:
        The files written.

    Raises:
        WeightsError: the student cannot be had in this form.
    """
    if format != "safetensors" and stored.shape.positions != "flat":
        raise WeightsError(
            f"{stored.source} has {stored.shape.positions} positions, and readers of the format {format!r} would take "
            "them for flat ones: export with --format safetensors, or pretrain with student.positions=flat"
        )
    stored = stored.published
    if format == "huggingface":
        return write_huggingface(stored, out)
    unfinished = out.with_name(f".{out.name}.unfinished")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _write(stored, unfinished, format)
        unfinished.replace(out)
    except (OSError, RuntimeError, SafetensorError) as problem:
        # Either library has its own error for a full disk or a folder that cannot be written.
        with suppress(OSError):
            unfinished.unlink()
        raise WeightsError(f"{out} cannot be written ({str(problem).splitlines()[0]}); choose another --out") from None
    return [out]


def _write(stored: StoredStudent, unfinished: Path, format: ExportFormat) -> None:
    shape = stored.shape.to_dict()
    if format == "videomae":
        # Readers of VideoMAE's files look at "model" alone; our own learn the shape from the rest.
        torch.save({"model": dict(stored.weights), METADATA_KEY: shape}, unfinished)
    else:
        weights = {name: value.contiguous().clone() for name, value in stored.encoder_weights.items()}
        save_file(weights, unfinished, metadata={"format": "pt", METADATA_KEY: json.dumps(shape)})


def _read_file(path: Path, sizes: Sizes) -> StoredStudent:
    content = read_file(path)
    shape = _stored_shape(content, path)
    nested = ("ema", "model", "module", "state_dict") if shape else ("model", "module", "state_dict")
    weights = named_tensors(content, path, *nested)
    if shape is None:
        return from_published(weights, _settings(content), sizes, str(path))
    if not any(name.startswith("encoder.") for name in weights):
        weights = {f"encoder.{name}": value for name, value in weights.items()}
    return StoredStudent(weights, sizes.change(shape), str(path))


def _stored_shape(content: Any, path: Path) -> StudentShape | None:
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as archive:
            text = (archive.metadata() or {}).get(METADATA_KEY)
        return None if text is None else StudentShape.from_dict(json.loads(text))
    if not isinstance(content, Mapping):
        return None
    # Checkpoints of a run say "student", exports say our name.
    shape = content.get(METADATA_KEY, content.get("student"))
    return StudentShape.from_dict(shape) if isinstance(shape, dict) and "grid" in shape else None


def _settings(content: Any) -> Mapping[str, Any]:
    settings = content.get("args") if isinstance(content, Mapping) else None
    if isinstance(settings, argparse.Namespace):
        return vars(settings)
    return settings if isinstance(settings, Mapping) else {}
