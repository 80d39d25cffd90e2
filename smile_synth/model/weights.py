"""Weights on disk, read without running any code that a file may carry."""

from __future__ import annotations

import argparse
import pathlib
import pickle
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from smile_synth.errors import WeightsError, printable
from smile_synth.model.torchscript import is_torchscript, read_torchscript

# What published checkpoints carry in addition to tensors: settings of the run, as plain data.
_NUMPY_SCALAR = np.float64(0).__reduce__()[0]
_DATA_TYPES: list[Any] = [
    argparse.Namespace,
    *(
        (pathlib.PosixPath, name) for name in ("pathlib.PosixPath", "pathlib._local.PosixPath")
    ),  # before 3.13, and in it
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("bool", "int32", "int64", "float32", "float64")),
    _NUMPY_SCALAR,
    (_NUMPY_SCALAR, "numpy.core.multiarray.scalar"),  # its name before numpy 2
]
_PREFIXES = ("module.", "_orig_mod.")
# What readers of zip archives, pickles and tensors raise where bytes are not what they should be.
_UNREADABLE = (
    OSError,
    RuntimeError,
    EOFError,
    SafetensorError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
    StopIteration,
)
# Archives of weights are stored, not compressed; code in TorchScript archives is, a little.
_MOST_EXPANSION, _FREE_EXPANSION_NBYTES = 2, 64 * 2**20
# Tied weights are one storage under two names.
_MOST_SHARING = 4


def check_archive(path: Path) -> None:
    """Read a zip archive, as ``torch.save`` writes it, against its checksums: torch itself never looks at them.

    Raises:
        zipfile.BadZipFile: a part of it is damaged, or it would expand to far more than it is.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        declared = sum(part.file_size for part in archive.infolist())
        if declared > _MOST_EXPANSION * path.stat().st_size + _FREE_EXPANSION_NBYTES:
            raise zipfile.BadZipFile(f"it would expand to {declared:,} bytes")
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"its part {damaged} fails its checksum")


def read_file(path: Path) -> Any:
    """Return what a file of weights holds, whatever its format.

    Args:
        path: ``.safetensors``, or what ``torch.save`` or ``torch.jit.save`` wrote, with any suffix.

    Returns:
        A mapping of names to tensors, or whatever plain data was saved.

    Raises:
        WeightsError: the file is absent, damaged, or would have to run code to be read.
    """
    if not path.is_file():
        raise WeightsError(
            f"no file of weights at {path}; nothing was downloaded: put the file there, or correct the path"
        )
    try:
        # Libraries warn before they fail; what is wrong is said once.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _read(path)
    except pickle.UnpicklingError as problem:
        raise WeightsError(_refusal(path, problem)) from problem
    except _UNREADABLE as problem:
        raise WeightsError(f"cannot read the weights in {path}: {_first_line(problem)}") from problem


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    check_archive(path)
    if is_torchscript(path):
        return read_torchscript(path)
    with torch.serialization.safe_globals(_DATA_TYPES):
        # Mapped, not read: a checkpoint's weights are a third of it, the rest is never touched.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))


def read_weights(path: Path, *keys: str) -> dict[str, Tensor]:
    """Return the tensors of a file by name, without the prefixes that wrappers add.

    Args:
        path: as in ``read_file``.
        keys: names under which the tensors may be nested, tried in this order.

    Raises:
        WeightsError: the file cannot be read, or holds no tensors by name.
    """
    return named_tensors(read_file(path), path, *keys)


def named_tensors(content: Any, path: Path, *keys: str) -> dict[str, Tensor]:
    """Return the tensors by name in what ``read_file`` returned; see ``read_weights``."""
    for key in keys:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        held = ", ".join(map(str, list(content)[:8])) if isinstance(content, Mapping) else type(content).__name__
        raise WeightsError(f"{path} holds no weights by name, it holds: {printable(held)[:200] or 'nothing'}")
    found: dict[str, Tensor] = {}
    for name, value in content.items():
        if isinstance(value, Tensor):
            if not isinstance(name, str):
                raise WeightsError(f"{path} names a tensor {name!r}: names of weights must be texts")
            found[_bare(name)] = _check_tensor(value, name, path)
    declared = sum(value.numel() * value.element_size() for value in found.values())
    if declared > _MOST_SHARING * path.stat().st_size + _FREE_EXPANSION_NBYTES:
        raise WeightsError(f"{path} was not read: {path.stat().st_size:,} bytes cannot hold weights of {declared:,}")
    return found


def _check_tensor(value: Tensor, name: str, path: Path) -> Tensor:
    """Refuse what is no dense array of numbers that all lie in the file."""
    dense = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
    if not dense or value.is_complex():
        kind = "complex" if value.is_complex() else f"{value.layout} on {value.device}".replace("torch.", "")
        raise WeightsError(f"{path} was not read: {printable(name)} must be a dense tensor of real numbers, got {kind}")
    held = value.untyped_storage().nbytes()
    if value.numel() * value.element_size() > held:
        raise WeightsError(
            f"{path} was not read: {printable(name)} is declared as {tuple(value.shape)} and its file holds only "
            f"{held:,} bytes of it"
        )
    return value


def load_strictly(module: torch.nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Load weights into a module that must want all of them and nothing else.

    Raises:
        WeightsError: a name is missing or too many, or a shape differs.
    """
    check_fit(module, weights, source)
    wanted = module.state_dict()
    module.load_state_dict({name: value.to(wanted[name].dtype) for name, value in weights.items()})


def check_fit(module: torch.nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Compare names and shapes with those of a module, which may lie on the device ``meta`` and hold nothing.

    Raises:
        WeightsError: a name is missing or too many, or a shape differs.
    """
    wanted = module.state_dict()
    missing = [name for name in wanted if name not in weights]
    strange = [name for name in weights if name not in wanted]
    if missing or strange:
        raise WeightsError(
            f"{source} does not fit the model: {_some('missing', missing)}{_some('unknown', strange)}"
            "check that the model's name is that of the weights"
        )
    for name, value in weights.items():
        if value.shape != wanted[name].shape:
            raise WeightsError(
                f"{source} does not fit the model: {name} is {tuple(value.shape)}, "
                f"the model wants {tuple(wanted[name].shape)}"
            )


def metadata_of(path: Path) -> dict[str, str]:
    """Return the text metadata of a ``.safetensors`` file.

    Raises:
        WeightsError: it cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as archive:
            return archive.metadata() or {}
    except _UNREADABLE as problem:
        raise WeightsError(f"cannot read the weights in {path}: {_first_line(problem)}") from problem


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as archive:
        return {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118 (no mapping)


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _some(word: str, names: list[str]) -> str:
    if not names:
        return ""
    return f"{len(names)} {word} ({printable(', '.join(names[:3]))}{', …' if len(names) > 3 else ''}); "


def _refusal(path: Path, problem: pickle.UnpicklingError) -> str:
    """Say what was found instead of plain data, without torch's advice to read the file all the same."""
    found = re.search(r"(?:GLOBAL |unsupported class )(\S+)", str(problem))
    if found is None:
        return f"cannot read the weights in {path}: it is damaged, or no file of weights"
    return (
        f"{path} was not read: besides weights it holds {printable(found[1])}, and unpickling that could run code; "
        "save the weights alone (as .safetensors) where you trust the file"
    )


def _first_line(problem: BaseException) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]
