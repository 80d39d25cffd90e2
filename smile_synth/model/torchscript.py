"""The weights in a TorchScript archive, read as data: ``torch.jit.load`` would run code that the archive brings."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def is_torchscript(path: Path) -> bool:
    """Return whether a file is a TorchScript archive, as OpenAI publishes CLIP."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Return the tensors of the archived module by name, without running or compiling anything of it.

    Raises:
        pickle.UnpicklingError: the archive wants an object that is neither a module of its own nor a tensor.
        OSError, ValueError, LookupError, TypeError, RuntimeError, zipfile.BadZipFile: it is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        data = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        module = _ModuleReader(archive, data.removesuffix("data.pkl") + "data/").read(data)
    return dict(_tensors(module, ""))


class _Module:
    """A stand-in for a module of the archive: its attributes, and none of its code."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("a module whose state is made by code of the archive")
        self.attributes = state


class _Storage:
    """A type of storage, by name only."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


class _ModuleReader:
    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        self._archive, self._folder = archive, folder
        self._storages: dict[str, Tensor] = {}

    def read(self, name: str) -> Any:
        unpickler = _Unpickler(io.BytesIO(self._archive.read(name)))
        unpickler.storage = self._storage
        return unpickler.load()

    def _storage(self, dtype: torch.dtype, key: str) -> Tensor:
        if key not in self._storages:
            payload = bytearray(self._archive.read(f"{self._folder}{key}"))
            self._storages[key] = torch.frombuffer(payload, dtype=dtype) if payload else torch.empty(0, dtype=dtype)
        return self._storages[key]


class _Unpickler(pickle.Unpickler):
    storage: Any

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return _Module
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch.jit._pickle" and name.startswith("build_") and name.endswith("list"):
            return list
        if module == "torch" and name in _DTYPES:
            return _Storage(_DTYPES[name])
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")

    def persistent_load(self, pid: Any) -> Tensor:
        _, kind, key, *_ = pid
        if not isinstance(kind, _Storage) or not isinstance(key, str):
            raise pickle.UnpicklingError("a storage of no known type")
        stored: Tensor = self.storage(kind.dtype, key)
        return stored


def _rebuild(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    # Refuses what reaches beyond the storage.
    return storage.as_strided(size, stride, offset)


def _tensors(module: Any, prefix: str, depth: int = 0) -> Any:
    if depth > 100:
        raise pickle.UnpicklingError("modules nested deeper than 100")
    for name, value in getattr(module, "attributes", {}).items():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, _Module):
            yield from _tensors(value, f"{prefix}{name}.", depth + 1)
