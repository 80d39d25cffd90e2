"""Weights on disk, read without running any code that a file may carry."""

from __future__ import annotations

import argparse
import pathlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from smile_synth.errors import WeightsError

# What published checkpoints carry beside tensors: settings of the run, as plain data.
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


def check_archive(path: Path) -> None:
    """Read a zip archive, as ``torch.save`` writes it, against its checksums: torch itself never looks at them.

    Raises:
        zipfile.BadZipFile: a part of it is damaged.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
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
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        check_archive(path)
        if is_torchscript(path):
            return _read_torchscript(path)
        with torch.serialization.safe_globals(_DATA_TYPES):
            # Mapped, not read: a checkpoint's weights are a third of it, the rest is never touched.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as problem:
        raise WeightsError(_refusal(path, problem)) from problem
    except (OSError, RuntimeError, EOFError, SafetensorError, zipfile.BadZipFile, ValueError) as problem:
        raise WeightsError(f"cannot read the weights in {path}: {_first_line(problem)}") from problem


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
        raise WeightsError(f"{path} holds no weights by name, it holds: {held or 'nothing'}")
    return {_bare(name): value for name, value in content.items() if isinstance(value, Tensor)}


def is_torchscript(path: Path) -> bool:
    """Return whether a file is a TorchScript archive, as OpenAI publishes CLIP."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def load_strictly(module: torch.nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Load weights into a module that must want all of them and nothing else.

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
    module.load_state_dict({name: value.to(wanted[name].dtype) for name, value in weights.items()})


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as archive:
        return {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118 (no mapping)


def _read_torchscript(path: Path) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        # TorchScript is deprecated; OpenAI's archives will stay what they are.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        load: Any = torch.jit.load
        weights: dict[str, Tensor] = dict(load(str(path), map_location="cpu").state_dict())
    return weights


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _some(word: str, names: list[str]) -> str:
    if not names:
        return ""
    return f"{len(names)} {word} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''}); "


def _refusal(path: Path, problem: pickle.UnpicklingError) -> str:
    """Say what was found instead of plain data, without torch's advice to read the file all the same."""
    found = re.search(r"(?:GLOBAL |unsupported class )(\S+)", str(problem))
    if found is None:
        return f"cannot read the weights in {path}: it is damaged, or no file of weights"
    return (
        f"{path} was not read: beside weights it holds {found[1]}, and unpickling that could run code; "
        "save the weights alone (as .safetensors) where you trust the file"
    )


def _first_line(problem: BaseException) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]
