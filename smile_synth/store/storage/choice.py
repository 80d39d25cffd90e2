"""Which storage a location has."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from smile_synth.store.storage.contract import Storage
from smile_synth.store.storage.local import LocalStorage
from smile_synth.store.storage.location import StoreUrl, locate


def storage_of(location: str | Path | StoreUrl) -> Storage:
    """Return the storage of a store.

    Args:
        location: of the store.

    Raises:
        StoreError: the location is not valid, or the package for object stores is not installed.
    """
    place = locate(location)
    return LocalStorage(place) if isinstance(place, Path) else _object_storage(place)


@lru_cache(maxsize=64)
def _object_storage(url: StoreUrl) -> Storage:
    from smile_synth.store.storage.objects import ObjectStorage

    return ObjectStorage(url)


def forget_clients() -> None:
    """Have the environment looked at again: it leads to another server now."""
    from smile_synth.store.storage.client import forget

    forget()
    _object_storage.cache_clear()
