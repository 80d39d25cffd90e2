"""``smile-synth info``: show what a store holds."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smile_synth.errors import printable

if TYPE_CHECKING:
    from smile_synth.store import Store


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("info")(info)


def info(
    store: Annotated[str, typer.Argument(help="A finished store: a folder, or s3://, gs:// or az://.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Show shape, size, compression, recipe, generators, labels and licences of a store.

    \b
    Examples:
      smile-synth info clips.zarr
      smile-synth info clips.zarr --json
      smile-synth info s3://bucket/clips.zarr
    """
    from smile_synth.store import Store

    facts = facts_of(Store.open(store))
    if as_json:
        # JSON escapes all control characters but this one.
        typer.echo(json.dumps(facts, indent=2).replace("\x7f", "\\u007f"))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        typer.echo(f"{name:<{width}}  {printable(_line(value))}")


def facts_of(store: Store) -> dict[str, Any]:
    """Return what ``info`` shows of a store, as plain values."""
    from smile_synth.recipe.recipe import recipe_digest
    from smile_synth.store.summary import format_size, store_sizes

    sizes, canvas = store_sizes(store), store.canvas
    kinds = Counter(row.kind for row in store.assets)
    licences = Counter(row.licence or "not stated" for row in store.assets)
    return {
        "store": str(store.path),
        "digest": store.digest,
        "clips": store.num_clips,
        "clip": f"{canvas.num_frames} frames of {canvas.height}x{canvas.width}, up to {store.max_objects} objects",
        "shards": f"{store.layout.num_shards} of {store.layout.clips_per_shard} clips",
        "size": format_size(sizes.disk_nbytes),
        "frames": "virtual: rendered when they are read"
        if store.is_virtual
        else f"{sizes.ratio:.2f} times smaller than raw (zstd level {store.layout.zstd_level})",
        "motion": "none"
        if store.motion_cell_px is None
        else f"exact, mean of cells of {store.motion_cell_px} px, "
        + ("rendered" if store.is_virtual else f"{sizes.motion_nbytes / sizes.frames_nbytes:.1%} of the frames' size"),
        "truth": ", ".join([*store.truth, "rendered" if store.is_virtual else format_size(sizes.truth_nbytes)])
        if store.truth
        else "none",
        "recipe": f"{store.recipe.get('name') or 'without a name'}, digest {recipe_digest(store.recipe)[:16]}",
        **_imported(store),
        "seed": store.seed,
        "generators": list(store.generators),
        "labels": {name: spec.unit or spec.kind for name, spec in store.label_specs.items()},
        "assets": {f"{kind}s": count for kind, count in sorted(kinds.items())},
        "licences": dict(licences.most_common()),
        "versions": store.manifest.versions,
    }


def _imported(store: Store) -> dict[str, str]:
    source = store.manifest.imported
    if source is None:
        return {}
    clips = f"{source.clips_per_video} clips of each of {len(store.assets)} videos"
    return {"imported": f"{clips} of {source.source}, {source.part}, {source.sampling}"}


def _line(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items()) or "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
