"""What a store says of where it comes from, and how two such accounts differ."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from smile_synth import __version__
from smile_synth.assets import AssetRow
from smile_synth.generator.dataset import Dataset
from smile_synth.generator.labels import LabelSpec
from smile_synth.generator.registry import code_digest
from smile_synth.scene import Canvas
from smile_synth.store import document
from smile_synth.store.layout import Layout, build_layout, label_document

FORMAT_VERSION = 1
# What pixels depend on beside our own code.
PACKAGES = ("numpy", "numba", "opencv-python", "pillow", "zstandard")


def describe(dataset: Dataset, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the account of a dataset that goes into its store.

    Args:
        dataset: what is rendered.
        recipe: the whole resolved recipe.

    Returns:
        Plain values; equal accounts mean equal bytes.
    """
    assets = asset_columns(dataset.assets.rows)
    store = dataset.params.store
    return {
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
        "versions": versions(),
        "generators": list(dataset.generator_names),
        "generator_code": code_digest(dataset.generator),
        "labels": {name: label_document(spec) for name, spec in sorted(dataset.label_specs.items())},
        "assets": assets,
        "asset_digest": hashlib.sha256(document.encode(assets)).hexdigest(),
        "licences": sorted(set(assets["licence"])),
    }


def versions() -> dict[str, str]:
    """Return the versions of everything that decides over bytes."""
    return {"smile-synth": __version__, "python": platform.python_version(), **_package_versions()}


def _package_versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def asset_columns(rows: Sequence[AssetRow]) -> dict[str, list[Any]]:
    """Return the asset table column by column, which is far smaller than row by row."""
    return {field.name: [getattr(row, field.name) for row in rows] for field in fields(AssetRow)}


def asset_rows(columns: Mapping[str, Sequence[Any]]) -> list[AssetRow]:
    """Return the asset table row by row."""
    names = [field.name for field in fields(AssetRow)]
    return [AssetRow(*values) for values in zip(*(columns[name] for name in names), strict=True)]


def layout_of(account: Mapping[str, Any]) -> Layout:
    """Return the layout of the store that an account describes."""
    return build_layout(
        canvas_of(account),
        account["max_objects"],
        label_specs_of(account),
        num_clips=account["num_clips"],
        clips_per_shard=account["clips_per_shard"],
        zstd_level=account["zstd_level"],
        # Stores older than motion have none, and say nothing of it.
        motion_cell_px=account.get("motion_cell_px"),
        truth=account.get("truth", ()),
    )


def canvas_of(account: Mapping[str, Any]) -> Canvas:
    """Return the size of the clips that an account describes."""
    return Canvas(**account["canvas"])


def label_specs_of(account: Mapping[str, Any]) -> dict[str, LabelSpec]:
    """Return the labels that an account describes."""
    return {name: LabelSpec(**{**spec, "classes": tuple(spec["classes"])}) for name, spec in account["labels"].items()}


def first_difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Return the first thing that makes two accounts describe other clips, or an empty string.

    What a recipe says of training and probing makes no clip, and is not compared.

    Args:
        ours: account of the store.
        theirs: account of what is to be rendered now.
    """
    return next(_differences(_what_makes_clips(ours), _what_makes_clips(theirs)), "")


def _what_makes_clips(account: Mapping[str, Any]) -> dict[str, Any]:
    # In this order: what a user changes on purpose comes before what follows from it.
    made_of = ("seed", "num_clips", "clips_per_shard", "zstd_level", "canvas", "generators", "max_objects")
    consequences = ("versions", "generator_code", "labels", "asset_digest", "assets", "format_version")
    recipe = dict(account["recipe"].get("dataset") or {})
    # How long a clip may take decides over no pixel: it may be raised to finish a store.
    recipe.pop("clip_timeout_s", None)
    return {
        "seed": account["seed"],
        "dataset": recipe,
        "motion_cell_px": account.get("motion_cell_px"),
        "truth": account.get("truth", []),
        **{name: account[name] for name in (*made_of, *consequences)},
    }


def _differences(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in [*ours, *(key for key in theirs if key not in ours)]:
            yield from _differences(ours.get(key), theirs.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for place, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _differences(one, other, f"{path}[{place}]")
    elif ours != theirs:
        yield f"{path} is {_short(ours)} in the store and {_short(theirs)} now"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
