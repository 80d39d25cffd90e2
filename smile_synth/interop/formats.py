"""Trained students from and to files: checkpoints, published VideoMAE and SMILE files, Hugging Face, safetensors."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors.torch import save

from smile_synth.errors import WeightsError, in_one_line, printable
from smile_synth.files import replace_file
from smile_synth.interop.declared import student_shape
from smile_synth.interop.huggingface import is_huggingface, read_huggingface, write_huggingface
from smile_synth.interop.stored_student import Sizes, StoredStudent, from_published, with_prefix
from smile_synth.model.student import StudentShape
from smile_synth.model.weights import metadata_of, named_tensors, read_file

ExportFormat = Literal["videomae", "huggingface", "safetensors"]
EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
METADATA_KEY, CLASSES_KEY = "smile_synth", "classes"
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
        try:
            return write_huggingface(stored, out)
        except OSError as error:
            raise WeightsError(f"cannot write the export: {in_one_line(error)}") from error
    if stored.has_decoder and format == "videomae":
        stored.check_student()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(out, _serialised(stored, format))
    except OSError as error:
        raise WeightsError(f"cannot write the export: {in_one_line(error)}") from error
    return [out]


def _serialised(stored: StoredStudent, format: ExportFormat) -> bytes:
    """Return the bytes of an export, made in memory so that a full disk is the file system's error, not a library's."""
    shape = stored.shape.to_dict()
    if format == "videomae":
        buffer = io.BytesIO()
        # Readers of VideoMAE's files look at "model" alone; our own learn the shape from the rest.
        # Fine-tuned files have no prefix.
        weights = stored.encoder_weights if stored.is_fine_tuned else stored.weights
        content: dict[str, Any] = {"model": dict(weights), METADATA_KEY: shape}
        torch.save(content | ({CLASSES_KEY: list(stored.classes)} if stored.classes else {}), buffer)
        return buffer.getvalue()
    weights = {name: value.contiguous().clone() for name, value in stored.encoder_weights.items()}
    named = {CLASSES_KEY: json.dumps(stored.classes)} if stored.classes else {}
    return save(weights, metadata={"format": "pt", METADATA_KEY: json.dumps(shape), **named})


def _read_file(path: Path, sizes: Sizes) -> StoredStudent:
    content = read_file(path)
    shape = _stored_shape(content, path)
    nested = ("ema", "model", "module", "state_dict") if shape else ("model", "module", "state_dict")
    weights = named_tensors(content, path, *nested)
    if shape is None:
        return from_published(weights, _settings(content), sizes, str(path)).checked()
    return StoredStudent(with_prefix(weights), sizes.change(shape), str(path), _classes(content, path)).checked()


def _stored_shape(content: Any, path: Path) -> StudentShape | None:
    if path.suffix == ".safetensors":
        text = metadata_of(path).get(METADATA_KEY)
        if text is None:
            return None
        try:
            return student_shape(json.loads(text), str(path))
        except (ValueError, RecursionError) as problem:
            raise WeightsError(f"cannot read the sizes of the student in {path}: {problem}") from problem
    # Checkpoints of a run say "student", exports say our name.
    for key in (METADATA_KEY, "student"):
        if isinstance(content, Mapping) and key in content:
            return student_shape(content[key], str(path))
    return None


def _classes(content: Any, path: Path) -> tuple[str, ...]:
    """Return the names of the classes that a file states; none where it states none."""
    if path.suffix == ".safetensors":
        try:
            names = json.loads(metadata_of(path).get(CLASSES_KEY, "[]"))
        except (ValueError, RecursionError) as problem:
            raise WeightsError(f"cannot read the names of the classes in {path}: {problem}") from problem
    else:
        names = content.get(CLASSES_KEY) or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise WeightsError(f"{path}: the names of the classes must be a list of texts")
    return tuple(printable(name) for name in names)


def _settings(content: Any) -> Mapping[str, Any]:
    settings = content.get("args") if isinstance(content, Mapping) else None
    if isinstance(settings, argparse.Namespace):
        return vars(settings)
    return settings if isinstance(settings, Mapping) else {}
