"""The store: clips as a sharded Zarr group, sealed shard by shard; a rendering killed at any moment can be resumed."""

from smile_synth.store.reader import Store
from smile_synth.store.writer import render_store

__all__ = ["Store", "render_store"]
