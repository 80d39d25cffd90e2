"""The store: clips as a sharded Zarr group, written so that it can be killed at any moment."""

from smile_synth.store.reader import Store
from smile_synth.store.writer import render_store

__all__ = ["Store", "render_store"]
