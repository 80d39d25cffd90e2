"""The description of a store for machines: Croissant JSON-LD."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from smile_synth import __version__
from smile_synth.report.card.labels import defined_labels
from smile_synth.report.card.licences import licence_address, licence_uses
from smile_synth.store import Store
from smile_synth.store.spec import ArraySpec

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(store: Store, *, name: str, description: str, url: str, creator: str) -> dict[str, Any]:
    """Return the Croissant description of a store.

    Args:
        store: finished.
        name: of the dataset.
        description: a sentence or more.
        url: where the dataset is published; empty where it is not.
        creator: who made it; empty where that is not said.

    Returns:
        Plain values for JSON.
    """
    licences = sorted({licence_address(use.licence) for use in licence_uses(store.assets)})
    published = store.storage.modified_at("zarr.json")
    document: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": description,
        "conformsTo": CONFORMS_TO,
        "license": licences or [licence_address("apache-2.0")],
        "version": "1.0.0",
        "datePublished": published.date().isoformat(),
        "citeAs": f"{name}, rendered by smile-synth {__version__}, digest {store.digest}",
        "keywords": ["video", "synthetic", "self-supervised learning", "zarr"],
        "isLiveDataset": False,
        "distribution": list(_distribution(store)),
        "recordSet": [_arrays(store), *_labels(store)],
    }
    if url:
        document["url"] = url
    if creator:
        document["creator"] = {"@type": "sc:Organization", "name": creator}
    return document


def _distribution(store: Store) -> Iterator[dict[str, Any]]:
    root = store.storage.read("zarr.json")
    folder = store.path.resolve().name
    yield {
        "@type": "cr:FileObject",
        "@id": "zarr-root",
        "name": "zarr-root",
        "description": "Root of the Zarr v3 group: the recipe, the asset table, versions and checksums.",
        "contentUrl": f"{folder}/zarr.json",
        "contentSize": f"{len(root)} B",
        "encodingFormat": "application/json",
        "sha256": hashlib.sha256(root).hexdigest(),
    }
    yield {
        "@type": "cr:FileSet",
        "@id": "zarr-shards",
        "name": "zarr-shards",
        "description": "Shards of the arrays; all arrays share their boundaries, and the first axis is the clip.",
        "encodingFormat": "application/x-zarr",
        "includes": f"{folder}/**/c/**",
    }


def _arrays(store: Store) -> dict[str, Any]:
    rows = [_array_row(store.num_clips, spec) for spec in store.layout.stored]
    texts = {
        "array": "Path inside the store.",
        "data_type": "Type of an element.",
        "shape": "Size along each axis.",
        "axes": "Names of the axes.",
    }
    return _table("arrays", "The arrays of the store.", texts, rows)


def _array_row(num_clips: int, spec: ArraySpec) -> dict[str, str]:
    return {
        "array": spec.name,
        "data_type": spec.dtype,
        "shape": " x ".join(map(str, (num_clips, *spec.item_shape))),
        "axes": ", ".join(("clip", *spec.axes)),
    }


def _labels(store: Store) -> Iterator[dict[str, Any]]:
    rows = [
        {
            "label": name,
            "meaning": spec.description or name,
            "per": spec.per,
            "unit": spec.unit or "none",
            "classes": ", ".join(spec.classes) or "none",
        }
        for name, spec in defined_labels(store).items()
    ]
    if rows:
        texts = {
            "label": "Name; the array is labels/<name>.",
            "meaning": "What it says.",
            "per": "Whether there is one value a clip, or one an object.",
            "unit": "Unit of a number.",
            "classes": "Names of the classes, in order of their numbers.",
        }
        yield _table("labels", "What the generator wrote down about every clip.", texts, rows)


def _table(name: str, description: str, texts: dict[str, str], rows: list[dict[str, str]]) -> dict[str, Any]:
    """Return a record set that carries its own rows."""
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column}",
                "name": f"{name}/{column}",
                "description": text,
                "dataType": "sc:Text",
            }
            for column, text in texts.items()
        ],
        "data": [{f"{name}/{column}": value for column, value in row.items()} for row in rows],
    }


def plain_name(name: str) -> str:
    """Return a name of letters, digits, dots, hyphens and underscores only, as Croissant and the Hub want it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "dataset"
