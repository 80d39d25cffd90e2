"""What a store says of where it comes from, and how two such manifests differ."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from smile_synth import __version__
from smile_synth.assets import AssetRow
from smile_synth.errors import StoreError
from smile_synth.generator.dataset import Dataset
from smile_synth.generator.labels import LabelSpec
from smile_synth.params import StrictParams, differences, first_problem, shown
from smile_synth.recipe.dataset import TruthKind
from smile_synth.recipe.videos import DecoderName, SamplingName
from smile_synth.scene import Canvas
from smile_synth.store import document
from smile_synth.store.code import code_digests, package_versions
from smile_synth.store.layout import CLIPS_PER_CHUNK, LABEL_NAME, Layout, build_layout, label_document

FORMAT_VERSION = 2
# A clip of more bytes than this is taken for a damaged or crafted document, not for a clip.
MAX_CLIP_NBYTES = 2**36
# Enough shards for many workers and little lost by a kill, few enough files of many clips.
VIRTUAL_SHARDS, MOST_CLIPS_PER_VIRTUAL_SHARD = 64, 16384
Hex = Annotated[str, Field(pattern=r"^([0-9a-f]{2})*$")]


class CanvasDocument(StrictParams):
    """Size of every clip."""

    height: int = Field(ge=1, le=65536, description="rows, in pixels")
    width: int = Field(ge=1, le=65536, description="columns, in pixels")
    num_frames: int = Field(ge=1, le=65536, description="frames of a clip")


class LabelDocument(StrictParams):
    """What a label means."""

    description: str = Field(description="one sentence for people")
    kind: Literal["class", "number"] = Field(description="how it is stored")
    per: Literal["clip", "object"] = Field(description="what has a value each")
    unit: str = Field(description="of a number")
    classes: tuple[str, ...] = Field(description="names of the classes, in order of their numbers")


class AssetColumns(StrictParams):
    """The asset table, column by column; see ``AssetRow``."""

    kind: tuple[Literal["background", "object"], ...] = Field(description="what a row is")
    name: tuple[str, ...] = Field(description="unique within its kind")
    class_name: tuple[str, ...] = Field(description="what an object is")
    licence: tuple[str, ...] = Field(description="as stated")
    source: tuple[str, ...] = Field(description="where it comes from")
    digest: tuple[str, ...] = Field(description="of what the image is made of")

    @model_validator(mode="after")
    def _columns_are_of_one_length(self) -> Self:
        lengths = {len(getattr(self, field.name)) for field in fields(AssetRow)}
        if len(lengths) > 1:
            raise ValueError(f"columns must be of one length, got {sorted(lengths)}")
        return self


class VirtualDocument(StrictParams):
    """How a virtual store is laid out: one whose frames, motion and truth are rendered when they are read."""

    clips_per_shard: int = Field(
        ge=CLIPS_PER_CHUNK, le=2**20, multiple_of=CLIPS_PER_CHUNK, description="clips of one shard of the small arrays"
    )
    folder: str = Field(description="where relative paths of the recipe start; empty where it has none")

    def document(self) -> dict[str, Any]:
        """Return it as plain values that JSON can hold."""
        return self.model_dump(mode="json")


class ImportDocument(StrictParams):
    """Where the clips of an imported store come from: video files, which the asset table names, not a generator."""

    source: str = Field(description="the list or folder of the videos, as it was named")
    part: Literal["train", "validation", "test"] = Field(description="which of its videos")
    clips_per_video: int = Field(ge=1, le=10_000, description="clips of each video")
    sampling: SamplingName = Field(description="how frames were sampled")
    stride: int = Field(ge=1, le=256, description="frames from one sampled frame to the next, where that is dense")
    decoder: DecoderName = Field(description="what decoded")


class Manifest(StrictParams):
    """Where a store comes from; equal manifests mean equal clips."""

    format_version: Literal[2] = Field(2, description="of the store")
    num_clips: int = Field(ge=1, le=10**12, description="clips of the store")
    canvas: CanvasDocument = Field(description="size of every clip")
    max_objects: int = Field(ge=0, le=65536, description="most layers of a clip")
    clips_per_shard: int = Field(ge=1, le=65536, description="clips of one shard")
    zstd_level: int = Field(ge=-(2**17), le=22, description="of the frames' compression")
    motion_cell_px: int | None = Field(ge=1, le=65536, description="side of the motion's cells; null: no motion stored")
    truth: tuple[TruthKind, ...] = Field(description="kinds of dense truth that are stored")
    seed: int = Field(ge=0, description="of the dataset")
    recipe: dict[str, Any] = Field(description="the whole resolved recipe")
    versions: dict[str, str] = Field(description="of smile-synth, Python and the packages that clips depend on")
    generators: tuple[str, ...] = Field(min_length=1, description="names of the families, the recipe's first")
    code: dict[str, str] = Field(description="digests of the code that clips depend on, by part")
    labels: dict[Annotated[str, Field(pattern=f"^{LABEL_NAME.pattern}$")], LabelDocument] = Field(description="by name")
    assets: AssetColumns = Field(description="the asset table")
    asset_digest: Hex = Field(description="SHA-256 of the asset table")
    licences: tuple[str, ...] = Field(description="of the assets")
    virtual: VirtualDocument | None = Field(None, description="of a virtual store; absent: every array is stored")
    imported: ImportDocument | None = Field(None, description="of clips of video files; absent: clips were rendered")

    @model_validator(mode="after")
    def _clips_have_a_possible_size(self) -> Self:
        canvas, objects = self.canvas, max(1, self.max_objects)
        nbytes = canvas.num_frames * (canvas.height * canvas.width * 3 + objects * 64)
        if nbytes > MAX_CLIP_NBYTES:
            raise ValueError(f"a clip would have {nbytes:.3g} bytes, at most {MAX_CLIP_NBYTES:.3g} are possible")
        return self

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        recipe: Mapping[str, Any],
        *,
        is_virtual: bool = False,
        imported: ImportDocument | None = None,
    ) -> Manifest:
        """Return the manifest of a dataset that is to be rendered, or imported.

        Args:
            dataset: what is rendered.
            recipe: the whole resolved recipe.
            is_virtual: frames, motion and truth are rendered when they are read.
            imported: where the clips come from if no generator makes them.
        """
        assets = asset_columns(dataset.assets.rows)
        store = dataset.params.store
        virtual = virtual_document(dataset) if is_virtual else None
        return cls.parse(
            {
                "format_version": FORMAT_VERSION,
                "num_clips": len(dataset),
                "canvas": asdict(dataset.canvas),
                "max_objects": dataset.max_objects,
                "clips_per_shard": min(store.clips_per_shard, len(dataset)),
                "zstd_level": store.zstd_level,
                "motion_cell_px": dataset.params.motion_cell_px,
                "truth": list(store.truth),
                "seed": dataset.seed,
                "recipe": dict(recipe),
                "versions": {"smile-synth": __version__, "python": platform.python_version(), **package_versions()},
                "generators": list(dataset.generator_names),
                "code": {} if imported is not None else code_digests(dataset.generator),
                "labels": {name: label_document(spec) for name, spec in sorted(dataset.label_specs.items())},
                "assets": assets,
                "asset_digest": hashlib.sha256(document.encode(assets)).hexdigest(),
                "licences": sorted(set(assets["licence"])),
                **({} if virtual is None else {"virtual": virtual.document()}),
                **({} if imported is None else {"imported": imported.model_dump(mode="json")}),
            },
            origin="the dataset",
        )

    @classmethod
    def parse(cls, values: Any, *, origin: str) -> Self:
        """Check plain values, as they were read from JSON.

        Args:
            values: what should be a manifest.
            origin: what to call it in an error.

        Raises:
            StoreError: it is none; says the first thing that is wrong.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise StoreError(first_problem(error, cls, where=origin)) from None

    def document(self) -> dict[str, Any]:
        """Return it as plain values that JSON can hold; ``parse`` reads them back."""
        values = self.model_dump(mode="json")
        for name in ("virtual", "imported"):
            if values[name] is None:
                del values[name]
        return values

    def of_kind(self, virtual: VirtualDocument | None) -> Manifest:
        """Return the manifest of a store of the same clips that is virtual, or with None is not."""
        names = set(Manifest.model_fields) - {"virtual"}
        values = {name: value for name, value in self.document().items() if name in names}
        return Manifest.parse({**values, **({} if virtual is None else {"virtual": virtual.document()})}, origin="it")

    @property
    def size(self) -> Canvas:
        """Size of every clip."""
        return Canvas(**self.canvas.model_dump())

    @cached_property
    def label_specs(self) -> dict[str, LabelSpec]:
        """Labels that every clip carries, by name."""
        return {name: LabelSpec(**label.model_dump()) for name, label in sorted(self.labels.items())}

    @cached_property
    def asset_rows(self) -> list[AssetRow]:
        """The asset table row by row."""
        columns = [getattr(self.assets, field.name) for field in fields(AssetRow)]
        return [AssetRow(*values) for values in zip(*columns, strict=True)]

    @cached_property
    def store_id(self) -> str:
        """32 hex digits that stand for everything that makes the store's clips."""
        return hashlib.blake2b(document.encode(self.what_makes_clips()), digest_size=16).hexdigest()

    @cached_property
    def layout(self) -> Layout:
        """The arrays of the store and their shards."""
        return build_layout(
            self.size,
            self.max_objects,
            self.label_specs,
            num_clips=self.num_clips,
            clips_per_shard=self.clips_per_shard if self.virtual is None else self.virtual.clips_per_shard,
            is_virtual=self.virtual is not None,
            zstd_level=self.zstd_level,
            motion_cell_px=self.motion_cell_px,
            truth=self.truth,
            store_id=self.store_id,
        )

    def what_makes_clips(self) -> dict[str, Any]:
        """Return what decides over the bytes of the clips, what a user changes on purpose first.

        What a recipe says of training and probing makes no clip, how long a clip may take to be sampled neither, nor
        do the versions of smile-synth (its code is digested) and of Python.
        """
        values = self.document()
        recipe = dict(self.recipe.get("dataset") or {})
        recipe.pop("clip_timeout_s", None)
        versions = {name: text for name, text in self.versions.items() if name not in ("smile-synth", "python")}
        names = (
            *("num_clips", "clips_per_shard", "zstd_level", "motion_cell_px", "truth", "canvas"),
            *("generators", "max_objects", "labels", "assets", "asset_digest", "format_version"),
        )
        own = {name: values[name] for name in (*names, "imported") if name in values}
        return {"seed": self.seed, "dataset": recipe, "versions": versions, "code": dict(self.code), **own}


def virtual_document(dataset: Dataset) -> VirtualDocument:
    """Return how the virtual store of a dataset is laid out."""
    folder = str(dataset.folder.resolve()) if dataset.params.names_paths(dataset.folder) else ""
    return VirtualDocument(clips_per_shard=virtual_clips_per_shard(len(dataset)), folder=folder)


def virtual_clips_per_shard(num_clips: int) -> int:
    """Return the clips of a virtual store's shard, a multiple of a chunk; 64 shards at most, or large ones."""
    per_shard = CLIPS_PER_CHUNK
    while per_shard < MOST_CLIPS_PER_VIRTUAL_SHARD and per_shard * VIRTUAL_SHARDS < num_clips:
        per_shard *= 2
    return per_shard


def differs_beyond_code(ours: Manifest, theirs: Manifest) -> bool:
    """Whether two manifests ask for different clips even where code and packages make the same ones."""
    one, other = (
        {name: value for name, value in manifest.what_makes_clips().items() if name not in ("code", "versions")}
        for manifest in (ours, theirs)
    )
    return one != other


def asset_columns(rows: Sequence[AssetRow]) -> dict[str, list[Any]]:
    """Return the asset table column by column, which is far smaller than row by row."""
    return {field.name: [getattr(row, field.name) for row in rows] for field in fields(AssetRow)}


def first_difference(ours: Manifest, theirs: Manifest) -> str:
    """Return the first thing that makes two manifests describe other clips, or an empty string.

    Args:
        ours: of the store.
        theirs: of what is to be rendered now.
    """
    for path, was, now in differences(ours.what_makes_clips(), theirs.what_makes_clips()):
        part = path.removeprefix("code.")
        if part != path:
            was_version, now_version = (manifest.versions.get("smile-synth", "?") for manifest in (ours, theirs))
            what = f"the code of {part}" if part != "generator" else "the code of the generator"
            versions = f" (smile-synth {was_version} then, {now_version} now)" if was_version != now_version else ""
            return f"{what} is another now{versions}"
        if path.startswith("assets."):
            return _asset_difference(ours.asset_rows, theirs.asset_rows)
        return f"{path} is {shown(was)} in the store and {shown(now)} now"
    return ""


def _asset_difference(ours: Sequence[AssetRow], theirs: Sequence[AssetRow]) -> str:
    if len(ours) != len(theirs):
        return f"assets: {len(ours)} images in the store and {len(theirs)} now"
    was, now = next((was, now) for was, now in zip(ours, theirs, strict=True) if was != now)
    name = next(field.name for field in fields(AssetRow) if getattr(was, field.name) != getattr(now, field.name))
    return (
        f"{was.kind} {shown(was.name)}: its {name} is {shown(getattr(was, name))} in the store "
        f"and {shown(getattr(now, name))} now"
    )
