"""The licences of a store's assets, and what they make of the dataset's own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from smile_synth.assets import AssetRow
from smile_synth.report.measure.asset_summary import UNKNOWN

# Identifiers that the Hugging Face Hub knows, among those that image collections come under.
HUB_LICENCES = frozenset(
    {
        "apache-2.0",
        "mit",
        "cc0-1.0",
        "cc-by-2.0",
        "cc-by-2.5",
        "cc-by-3.0",
        "cc-by-4.0",
        "cc-by-sa-3.0",
        "cc-by-sa-4.0",
        "cc-by-nc-2.0",
        "cc-by-nc-3.0",
        "cc-by-nc-4.0",
        "cc-by-nc-sa-4.0",
        "cc-by-nd-4.0",
        "odbl",
        "pddl",
        "unlicense",
    }
)
ADDRESSES = {
    "apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "mit": "https://opensource.org/license/mit",
    "cc0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
}
OTHER = "other"
# Nothing in it ends a link of Markdown.
_SAFE_ADDRESS = re.compile(r"https?://[A-Za-z0-9./_-]+")


@dataclass(frozen=True)
class LicenceUse:
    """Assets of one kind under one licence.

    Args:
        licence: as the assets state it, or that nobody did.
        kind: background or object.
        source: where they come from.
        count: how many.
    """

    licence: str
    kind: str
    source: str
    count: int


def licence_uses(rows: Sequence[AssetRow]) -> list[LicenceUse]:
    """Return how many assets come under each licence, by kind and source."""
    counts = Counter((row.licence or UNKNOWN, row.kind, row.source or UNKNOWN) for row in rows)
    return [LicenceUse(*key, count=count) for key, count in sorted(counts.items())]


def hub_licence(rows: Sequence[AssetRow]) -> str:
    """Return the one licence that all assets share, as the Hugging Face Hub calls it, else ``other``.

    Args:
        rows: of the asset table; without any, the clips are our own work and Apache-2.0 like the code.
    """
    names = {row.licence.lower() for row in rows}
    if not names:
        return "apache-2.0"
    only = names.pop() if len(names) == 1 else OTHER
    return only if only in HUB_LICENCES else OTHER


def licence_address(licence: str) -> str:
    """Return where a licence can be read, or its name where we do not know."""
    name = licence.lower()
    if name in ADDRESSES:
        return ADDRESSES[name]
    if name.startswith("cc-by"):
        kind, _, version = name.removeprefix("cc-").rpartition("-")
        return f"https://creativecommons.org/licenses/{kind}/{version}/"
    return licence


def licence_link(licence: str) -> str:
    """Return the address to link a licence to; empty where there is none that is safe inside Markdown."""
    address = licence_address(licence)
    return address if _SAFE_ADDRESS.fullmatch(address) else ""
