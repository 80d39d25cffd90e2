"""Stores as datasets of PyTorch, for a DataLoader, Lightning, or the Trainer of Hugging Face."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from smile_synth.errors import LoaderError, nearest
from smile_synth.generator.labels import LabelSpec, join_specs
from smile_synth.loader.checks import check_motion, check_stores
from smile_synth.loader.order import epoch_order, epoch_quotas
from smile_synth.store import Store
from smile_synth.store.reader import NoSuchClipError, StoreLike
from smile_synth.store.storage import StoreUrl

Item = dict[str, Any]


class ClipReading:
    """What an item holds of a clip; the same for both kinds of dataset.

    Args:
        stores: finished stores of one canvas, opened or by path.
        labels: names of labels per clip or object; None for all, in the order of their names.
        boxes: whether items hold boxes.
        motion: whether items hold motion; every store must keep it.
        transform: changes an item, in the worker: renames keys, normalises, crops.

    Raises:
        LoaderError: the stores do not go together, or lack what is asked for.
    """

    def __init__(
        self,
        stores: StoreLike | Sequence[StoreLike],
        *,
        labels: Sequence[str] | None,
        boxes: bool,
        motion: bool,
        transform: Callable[[Item], Any] | None,
    ) -> None:
        several = [stores] if isinstance(stores, Store | str | Path | StoreUrl) else list(stores)
        opened = [store if isinstance(store, Store) else Store.open(store) for store in several]
        check_stores(opened)
        if motion:
            check_motion(opened)
        self.specs = join_specs({str(store.path): store.label_specs for store in opened})
        self.labels = sorted(self.specs) if labels is None else list(labels)
        for name in self.labels:
            if name not in self.specs:
                raise LoaderError(
                    f"the stores have no label {name!r}.{nearest(name, self.specs)} Known: {', '.join(self.specs)}"
                )
        self.sizes = tuple(len(store) for store in opened)
        self._boxes, self._motion, self._transform = boxes, motion, transform
        self._num_slots = max(store.layout.array("boxes").item_shape[0] for store in opened)
        self._opened: tuple[int, list[Store]] = (os.getpid(), opened)

    @property
    def stores(self) -> list[Store]:
        """The stores, opened in this process."""
        owner, opened = self._opened
        if owner != os.getpid():
            opened = [store.reopened() for store in opened]
            self._opened = (os.getpid(), opened)
        return opened

    def item(self, number: int) -> Any:
        """Return a clip, counted over all stores."""
        place = int(np.searchsorted(np.cumsum(self.sizes), number, side="right"))
        store, clip = self.stores[place], number - sum(self.sizes[:place])
        item: Item = {
            "frames": torch.from_numpy(store.read_frames([clip])[0]),
            "labels": {name: self._label(store, name, clip) for name in self.labels},
            "clip": clip,
            "store": place,
        }
        if self._boxes:
            item["boxes"] = self._padded(torch.from_numpy(store.column("boxes")[clip].copy()), float("nan"))
        if self._motion:
            item["motion"] = torch.from_numpy(store.read_motion([clip])[0])
        return item if self._transform is None else self._transform(item)

    def _label(self, store: Store, name: str, clip: int) -> torch.Tensor:
        joint = self.specs[name]
        undefined: float = -1 if joint.kind == "class" else float("nan")
        dtype = torch.int64 if joint.kind == "class" else torch.float32
        own = store.label_specs.get(name)
        if own is None:
            shape = (self._num_slots,) if joint.per == "object" else ()
            return torch.full(shape, undefined, dtype=dtype)
        value = np.asarray(store.column(f"labels/{name}")[clip])
        if joint.kind == "class":
            value = np.array([*(joint.classes.index(each) for each in own.classes), -1])[value]
        label = torch.tensor(value, dtype=dtype)
        return self._padded(label, undefined) if joint.per == "object" else label

    def _padded(self, values: torch.Tensor, fill: float) -> torch.Tensor:
        """Return values of object slots with as many slots as the store with most has."""
        missing = self._num_slots - len(values)
        return values if not missing else torch.cat([values, values.new_full((missing, *values.shape[1:]), fill)])


class ClipDataset(Dataset[Any]):
    """The clips of stores, by number; shuffling and batching are the DataLoader's.

    An item is a dictionary: ``frames``, uint8 (T, H, W, 3); ``labels``, a dictionary of int64 class numbers (-1 where
    undefined) and float32 numbers (NaN where undefined), () or (K,); ``clip`` and ``store``, their numbers; and, where
    asked for, ``boxes``, float32 (K, T, 4), and ``motion``, float32 (T, H / cell, W / cell, 2). A DataLoader puts them
    into batches without further ado.

    Args:
        stores: finished stores of one canvas, opened or by path.
        labels: names of labels per clip or object; None for all.
        boxes: whether items hold boxes.
        motion: whether items hold motion; every store must keep it.
        transform: changes an item, in the worker: renames keys, normalises, crops.

    Raises:
        LoaderError: the stores do not go together, or lack what is asked for.

    Examples:
        >>> from torch.utils.data import DataLoader
        >>> clips = ss.ClipDataset("clips.zarr", labels=["direction", "num_objects"], boxes=True)
        >>> batch = next(iter(DataLoader(clips, batch_size=4)))
        >>> batch["frames"].shape, batch["labels"]["direction"].shape, batch["boxes"].shape
        (torch.Size([4, 8, 32, 32, 3]), torch.Size([4, 2]), torch.Size([4, 2, 8, 4]))
        >>> clips.label_specs["direction"].classes[:2]
        ('right', 'down-right')
    """

    def __init__(
        self,
        stores: StoreLike | Sequence[StoreLike],
        *,
        labels: Sequence[str] | None = None,
        boxes: bool = False,
        motion: bool = False,
        transform: Callable[[Item], Any] | None = None,
    ) -> None:
        self._reading = ClipReading(stores, labels=labels, boxes=boxes, motion=motion, transform=transform)

    @property
    def label_specs(self) -> dict[str, LabelSpec]:
        """What each label means, and the names of its classes; joint for all stores."""
        return self._reading.specs

    def __len__(self) -> int:
        return sum(self._reading.sizes)

    def __getitem__(self, number: int) -> Any:
        if not -len(self) <= number < len(self):
            raise NoSuchClipError(f"clip must be 0 to {len(self) - 1}, got {number}")
        return self._reading.item(int(number) % len(self))


class ClipStream(IterableDataset[Any]):
    """The clips of stores in the shuffled order of ``Loader``, one by one, shared out over the DataLoader's workers.

    Items are those of ``ClipDataset``. Each worker reads every so-many-th clip of the order, so an epoch has every clip
    once, whatever their number. Nothing but (seed, epoch) decides the order: call ``set_epoch`` before each epoch, as
    the Trainer of Hugging Face does, or let ``epochs`` be None and stop by steps. Processes that train together must do
    the latter: ranks and workers can have a clip more than others, and so a batch.

    Args:
        stores, labels, boxes, motion, transform: as for ``ClipDataset``.
        seed: decides the order.
        epochs: epochs of one iteration, in different orders; None for an endless stream.
        weights: share of each store in an epoch, above 0; None: every clip once.
        rank, world_size: which share of the clips this process reads, where nobody else shares them out.

    Raises:
        LoaderError: the stores do not go together, or lack what is asked for.

    Examples:
        >>> from torch.utils.data import DataLoader
        >>> stream = ss.ClipStream("clips.zarr", labels=["num_objects"], seed=0)
        >>> numbers = [int(clip) for batch in DataLoader(stream, batch_size=16) for clip in batch["clip"]]
        >>> len(numbers), sorted(numbers) == list(range(64)), numbers == sorted(numbers)
        (64, True, False)
    """

    def __init__(
        self,
        stores: StoreLike | Sequence[StoreLike],
        *,
        labels: Sequence[str] | None = None,
        boxes: bool = False,
        motion: bool = False,
        transform: Callable[[Item], Any] | None = None,
        seed: int = 0,
        epochs: int | None = 1,
        weights: Sequence[float] | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._reading = ClipReading(stores, labels=labels, boxes=boxes, motion=motion, transform=transform)
        if epochs is not None and epochs < 1:
            raise LoaderError(f"epochs must be 1 or more, or None for an endless stream, got {epochs}")
        if not 0 <= rank < world_size:
            raise LoaderError(f"rank must be 0 to world_size - 1, got rank {rank} of {world_size}")
        self._seed, self._epochs, self._rank, self._world_size = seed, epochs, rank, world_size
        self._quotas = epoch_quotas(self._reading.sizes, weights)
        # Shared, so that workers that live on see the epoch too.
        self._epoch: torch.Tensor = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    @property
    def label_specs(self) -> dict[str, LabelSpec]:
        """What each label means, and the names of its classes; joint for all stores."""
        return self._reading.specs

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration begin with this epoch, counted from 0."""
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        mine, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
        first, step = self._rank * count + mine, self._world_size * count
        epoch = int(self._epoch)
        end = None if self._epochs is None else epoch + self._epochs
        while end is None or epoch < end:
            order = epoch_order(self._seed, epoch, self._reading.sizes, self._quotas)
            for number in order[first::step].tolist():
                yield self._reading.item(number)
            epoch += 1
