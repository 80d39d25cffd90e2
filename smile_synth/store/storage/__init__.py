"""Where a store's files lie: a folder of this machine, or an object store."""

from smile_synth.store.storage.choice import storage_of
from smile_synth.store.storage.contract import Storage, StoredFile
from smile_synth.store.storage.location import Location, StoreUrl, locate

__all__ = ["Location", "Storage", "StoreUrl", "StoredFile", "locate", "storage_of"]
