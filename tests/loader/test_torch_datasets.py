"""Stores in a DataLoader, with workers, and in the frameworks that people train with."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import TinyDataset
from torch import nn
from torch.utils.data import DataLoader

from smile_synth.errors import LoaderError
from smile_synth.loader.loader import Loader
from smile_synth.loader.torch_datasets import ClipDataset, ClipStream, Item
from smile_synth.store import Store, render_store

SPAWN: dict[str, Any] = {"num_workers": 2, "multiprocessing_context": "spawn"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return render_store(TinyDataset(clips=21, size=16), tmp_path_factory.mktemp("data") / "s.zarr", recipe={})


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Store:
    dataset = TinyDataset(clips=7, size=16, seed=8)
    return render_store(dataset, tmp_path_factory.mktemp("data") / "t.zarr", recipe={})


def numbers(batches: Any) -> list[tuple[int, int]]:
    return [(int(s), int(c)) for batch in batches for s, c in zip(batch["store"], batch["clip"], strict=True)]


def test_an_item_holds_what_the_store_holds(store: Store) -> None:
    item = ClipDataset(store, boxes=True, motion=True)[5]
    assert np.array_equal(item["frames"], store[5].frames)
    assert np.array_equal(item["boxes"], store.column("boxes")[5], equal_nan=True)
    assert np.array_equal(item["motion"], store.read_motion([5])[0], equal_nan=True)
    assert item["labels"]["half"].dtype == torch.int64
    assert int(item["labels"]["half"]) == store.column("labels/half")[5]
    assert np.array_equal(item["labels"]["speed"], store.column("labels/speed")[5], equal_nan=True)
    assert (item["clip"], item["store"]) == (5, 0)


def test_stores_stand_one_behind_the_other(store: Store, other: Store) -> None:
    both = ClipDataset([store.path, other], labels=["half"])
    assert len(both) == 28
    assert (both[21]["store"], both[21]["clip"]) == (1, 0)
    assert np.array_equal(both[-1]["frames"], other[6].frames)
    with pytest.raises(IndexError, match="0 to 27"):
        both[28]


def test_batches_carry_labels_and_can_be_shuffled(store: Store) -> None:
    batches = list(DataLoader(ClipDataset(store), batch_size=4, shuffle=True))
    assert batches[0]["frames"].shape == (4, 2, 16, 16, 3)
    assert set(batches[0]["labels"]) == {"half", "speed"}
    assert sorted(numbers(batches)) == [(0, clip) for clip in range(21)]


def test_what_does_not_fit_is_refused(store: Store, tmp_path: Path) -> None:
    small = render_store(TinyDataset(clips=2, size=8, motion=None), tmp_path / "small.zarr", recipe={})
    with pytest.raises(LoaderError, match=r"no label 'haf'. Did you mean 'half'\?"):
        ClipDataset(store, labels=["haf"])
    with pytest.raises(LoaderError, match="one shape"):
        ClipDataset([store, small])
    with pytest.raises(LoaderError, match="motion needs stores that keep it"):
        ClipDataset(small, motion=True)
    with pytest.raises(LoaderError, match="at least one store"):
        ClipDataset([])
    with pytest.raises(LoaderError, match="rank must be"):
        ClipStream(store, rank=2, world_size=2)
    with pytest.raises(LoaderError, match="epochs must be"):
        ClipStream(store, epochs=0)


def test_a_stream_has_the_order_of_the_loader(store: Store, other: Store) -> None:
    stores = [store, other]
    with Loader(stores, batch_size=7, seed=3) as loader:
        batches = [batch for batch, _ in zip(loader, range(8), strict=False)]
    wanted = [pair for b in batches for pair in zip(b.store_B.tolist(), b.clips_B.tolist(), strict=True)]
    stream = ClipStream(stores, labels=["half"], seed=3, epochs=2)
    assert [(item["store"], item["clip"]) for item in stream] == wanted
    stream = ClipStream(stores, labels=["half"], seed=3)
    stream.set_epoch(1)
    assert [(item["store"], item["clip"]) for item in stream] == wanted[28:]


def test_ranks_share_an_epoch_out(store: Store) -> None:
    parts = [ClipStream(store, labels=[], seed=1, rank=rank, world_size=4) for rank in range(4)]
    found = [item["clip"] for part in parts for item in part]
    assert sorted(found) == list(range(21))


def test_an_endless_stream_has_different_epochs(store: Store) -> None:
    items = iter(ClipStream(store, labels=[], epochs=None))
    first, second = ([next(items)["clip"] for _ in range(21)] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(21))
    assert first != second


def test_a_dataset_is_small_to_send(store: Store) -> None:
    data = ClipDataset(store)
    _ = store.column("boxes")
    assert len(pickle.dumps(data)) < 5_000
    again = pickle.loads(pickle.dumps(data))
    assert torch.equal(again[3]["frames"], data[3]["frames"])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_every_clip_once(store: Store, method: str) -> None:
    how: dict[str, Any] = {"batch_size": 4, "num_workers": 2, "multiprocessing_context": method}
    assert sorted(numbers(DataLoader(ClipDataset(store), **how))) == [(0, clip) for clip in range(21)]
    stream = DataLoader(ClipStream(store, seed=1), persistent_workers=True, **how)
    first = numbers(stream)
    assert sorted(first) == [(0, clip) for clip in range(21)]
    stream.dataset.set_epoch(1)  # type: ignore[attr-defined]
    second = numbers(stream)
    assert sorted(second) == sorted(first)
    assert second != first


class Classifier(nn.Module):
    """Tells which half an object starts in, from the mean frame; takes and returns what a Trainer expects."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16 * 16 * 3, 2)

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.linear(pixel_values.mean(1).flatten(1))
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def for_a_trainer(item: Item) -> dict[str, Any]:
    return {"pixel_values": item["frames"].float() / 255, "labels": item["labels"]["half"]}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [ClipDataset, ClipStream])
def test_lightning_trains_on_it(store: Store, tmp_path: Path, kind: Any) -> None:
    import lightning

    class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.classifier, self.losses = Classifier(), []

        def training_step(self, batch: dict[str, torch.Tensor], number: int) -> torch.Tensor:
            loss = self.classifier(**batch)["loss"]
            self.losses.append(loss.item())
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    loader = DataLoader(kind(store, transform=for_a_trainer), batch_size=7, **SPAWN)
    module = Module()
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, loader)
    # Each worker of a stream ends with a batch of its own: 11 and 10 clips in batches of 7.
    assert len(module.losses) == 2 * (4 if kind is ClipStream else 3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [ClipDataset, ClipStream])
def test_the_trainer_of_hugging_face_trains_on_it(store: Store, tmp_path: Path, kind: Any) -> None:
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=7,
        max_steps=6,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_steps=1,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        disable_tqdm=True,
    )
    trainer = Trainer(Classifier(), arguments, train_dataset=kind(store, transform=for_a_trainer))
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert len(losses) == 6
