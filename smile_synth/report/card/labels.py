"""Which labels a card names."""

from __future__ import annotations

import numpy as np

from smile_synth.generator.labels import LabelSpec
from smile_synth.store import Store


def defined_labels(store: Store) -> dict[str, LabelSpec]:
    """Return the labels that have a value in at least one clip; the others would only raise hopes.

    Args:
        store: finished.

    Raises:
        DamagedStoreError: a shard of a label is damaged; names array and shard.
    """
    return {name: spec for name, spec in store.label_specs.items() if _has_value(store, name, spec)}


def _has_value(store: Store, name: str, spec: LabelSpec) -> bool:
    values = store.column(f"labels/{name}")
    return bool((values >= 0).any() if spec.kind == "class" else np.isfinite(values).any())
