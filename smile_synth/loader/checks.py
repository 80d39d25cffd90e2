"""What a loader refuses before it reads anything."""

from __future__ import annotations

from collections.abc import Sequence

from smile_synth.errors import LoaderError
from smile_synth.loader.batch import ClipFeatures
from smile_synth.store import Store
from smile_synth.store.rendering import ClipReader
from smile_synth.store.stream import MOST_CLIPS, Stream


def check_streams(stores: Sequence[Store], weights: Sequence[float] | None, first_clip: int) -> None:
    """Refuse a stream beside others, and what has no meaning for stores or streams."""
    streams = [store for store in stores if isinstance(store, Stream)]
    if streams and len(stores) > 1:
        raise LoaderError(
            f"{streams[0].path} is a stream, which cannot be mixed with other data; mix generators in its recipe "
            f"(generator: mixture), or render it into a store"
        )
    if streams and weights is not None:
        raise LoaderError(f"weights mix several stores, {streams[0].path} is one stream; leave loading.weights out")
    if first_clip and not streams:
        raise LoaderError(f"first_clip says where a stream starts, got {first_clip} for a store")
    if not 0 <= first_clip < MOST_CLIPS:
        raise LoaderError(f"first_clip must be 0 to {MOST_CLIPS - 1}, got {first_clip}")


def check_stores(stores: Sequence[Store]) -> None:
    """Refuse what cannot be mixed: no store at all, or clips of several shapes."""
    if not stores:
        raise LoaderError("a loader needs at least one store, got none")
    shapes = {store.layout.array("frames").item_shape for store in stores}
    if len(shapes) > 1:
        found = "; ".join(f"{store.path}: {store.layout.array('frames').item_shape}" for store in stores)
        raise LoaderError(f"stores must have clips of one shape (T, H, W, 3) to be mixed, got {found}")


def check_motion(stores: Sequence[Store]) -> None:
    """Refuse stores without motion, or with motion in cells of several sizes."""
    cells = [store.motion_cell_px for store in stores]
    if None in cells:
        store = stores[cells.index(None)]
        raise LoaderError(
            f"motion needs stores that keep it, but {store.path} holds none; render it again with "
            "--set dataset.store.motion.cell_px=8, or another size that divides the canvas"
        )
    if len(set(cells)) > 1:
        found = "; ".join(f"{store.path}: {cell_px} px" for store, cell_px in zip(stores, cells, strict=True))
        raise LoaderError(f"stores must have motion in cells of one size to be mixed, got {found}")


def motion_readers(stores: Sequence[Store]) -> list[ClipReader]:
    """Return what reads each store's motion."""
    check_motion(stores)
    return [store.reader("motion") for store in stores]


def check_features(features: Sequence[ClipFeatures], num_stores: int) -> None:
    if features and len(features) != num_stores:
        raise LoaderError(f"every store needs its cached features, got {len(features)} for {num_stores} stores")
    shapes = sorted({cache.shape for cache in features})
    if len(shapes) > 1:
        raise LoaderError(f"cached features must have one shape (N, D) to be mixed, got {shapes}")


def check_split(batch_size: int, rank: int, world_size: int) -> None:
    if world_size < 1 or not 0 <= rank < world_size:
        raise LoaderError(f"rank must be 0 to world_size - 1, got rank {rank} of {world_size}")
    if batch_size < 1 or batch_size % world_size:
        raise LoaderError(
            f"batch_size is over all ranks and must be a multiple of their number, got {batch_size} for {world_size}"
        )


def check_choices(last: str, on_error: str, prefetch: int, threads: int | None, render_workers: int | None) -> None:
    if last not in ("drop", "pad"):
        raise LoaderError(f"last must be 'drop' or 'pad', got {last!r}")
    if on_error not in ("stop", "skip"):
        raise LoaderError(f"on_error must be 'stop' or 'skip', got {on_error!r}")
    if prefetch < 0 or (threads is not None and threads < 1):
        raise LoaderError(f"prefetch must be 0 or more and threads 1 or more, got {prefetch} and {threads}")
    if render_workers is not None and render_workers < 1:
        raise LoaderError(f"render_workers must be 1 or more, got {render_workers}")
