"""The loader: order, ranks, resuming, mixing, damage."""

from __future__ import annotations

import gc
import itertools
import logging
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from hypothesis import assume, given
from hypothesis import strategies as st
from tiny import TinyDataset

from smile_synth.errors import DamagedStoreError, LoaderError
from smile_synth.loader.batch import Batch
from smile_synth.loader.loader import Loader
from smile_synth.loader.order import epoch_order, epoch_quotas
from smile_synth.recipe.dataset import MotionParams
from smile_synth.store import Store, render_store
from smile_synth.store.layout import shard_file


def make_store(path: Path, clips: int = 50, seed: int = 7, size: int = 8) -> Store:
    dataset = TinyDataset(clips=clips, seed=seed, size=size)
    return render_store(dataset, path, recipe=dataset.recipe())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("loader") / "clips")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("loader") / "other", clips=20, seed=8)


def take(loader: Loader, count: int) -> list[Batch]:
    return list(itertools.islice(loader, count))


def clips_of(batches: list[Batch]) -> list[int]:
    return [clip for batch in batches for clip in batch.clips_B.tolist()]


def global_clips(
    stores: list[Store], world_size: int, steps: int, batch_size: int = 24, **options: object
) -> list[int]:
    """Return what all ranks together see, in the order of the global batches."""
    ranks = []
    for rank in range(world_size):
        with Loader(stores, batch_size=24, seed=3, rank=rank, world_size=world_size, **options) as loader:  # type: ignore[arg-type]
            ranks.append([batch.clips_B.tolist() for batch in take(loader, steps)])
    return [clip for step in zip(*ranks, strict=True) for part in step for clip in part]


def test_batches_hold_what_the_store_holds(store: Store) -> None:
    with Loader([store], batch_size=8, seed=1) as loader:
        for batch in take(loader, 4):
            clips = batch.clips_B.numpy()
            np.testing.assert_array_equal(batch.frames_BTHWC.numpy(), store.read_frames(clips))
            np.testing.assert_array_equal(batch.boxes_BKT4.numpy(), store.column("boxes")[clips])
            assert batch.frames_BTHWC.dtype == torch.uint8
            assert batch.boxes_BKT4.dtype == torch.float32


def test_motion_comes_in_the_batches_where_it_is_asked_for(tmp_path: Path) -> None:
    store = make_store(tmp_path / "clips", clips=12, size=16)
    with Loader([store], batch_size=4, seed=1) as loader:
        assert next(iter(loader)).motion_BTHW2 is None
    held = np.asarray(zarr.open_group(store.path, mode="r")["motion"])
    with Loader([store], batch_size=4, seed=1, motion=True) as loader:
        for batch in take(loader, 5):
            assert batch.motion_BTHW2 is not None
            assert batch.motion_BTHW2.dtype == torch.float32
            np.testing.assert_array_equal(batch.motion_BTHW2.numpy(), held[batch.clips_B.numpy()])


def test_damaged_motion_is_skipped_with_its_clip(tmp_path: Path) -> None:
    store = make_store(tmp_path / "clips", clips=8, size=16)
    path = store.path / shard_file(store.layout.array("motion"), 0)
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    held = np.asarray(zarr.open_group(make_store(tmp_path / "whole", clips=8, size=16).path, mode="r")["motion"])
    with Loader([store], batch_size=8, seed=1, motion=True, on_error="skip") as loader:
        batch = next(iter(loader))
        assert [clip for _, clip in loader.skipped] == [0]
        assert batch.motion_BTHW2 is not None
        np.testing.assert_array_equal(batch.motion_BTHW2.numpy(), held[batch.clips_B.numpy()])


def test_motion_that_no_store_holds_is_an_error_that_says_how_to_render_it(tmp_path: Path, store: Store) -> None:
    still = TinyDataset(clips=8, motion=None)
    without = render_store(still, tmp_path / "without", recipe=still.recipe())
    with pytest.raises(LoaderError, match=r"without holds none; render it again with --set dataset.store.motion"):
        Loader([store, without], batch_size=4, seed=0, motion=True)


def test_motion_in_cells_of_two_sizes_is_not_mixed(tmp_path: Path) -> None:
    stores = []
    for cell_px in (4, 8):
        dataset = TinyDataset(clips=8, motion=MotionParams(cell_px=cell_px))
        stores.append(render_store(dataset, tmp_path / str(cell_px), recipe=dataset.recipe()))
    with pytest.raises(LoaderError, match="cells of one size"):
        Loader(stores, batch_size=4, seed=0, motion=True)


def test_batches_that_are_kept_are_not_overwritten(store: Store) -> None:
    with Loader([store], batch_size=5, seed=1, prefetch=1) as loader:
        batches = take(loader, 10)
        kept = [batch.frames_BTHWC[:2] for batch in batches]
        clips = [batch.clips_B[:2].numpy() for batch in batches]
        del batches
        gc.collect()
        take(loader, 10)
        for frames, numbers in zip(kept, clips, strict=True):
            np.testing.assert_array_equal(frames.numpy(), store.read_frames(numbers))


def test_every_clip_comes_exactly_once_an_epoch(store: Store) -> None:
    with Loader([store], batch_size=10, seed=1) as loader:
        assert loader.steps_per_epoch == 5
        epochs = [clips_of(take(loader, 5)) for _ in range(3)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_order_depends_on_seed_and_epoch_only(store: Store) -> None:
    orders = []
    for prefetch, threads in ((0, 1), (1, 4), (5, 2)):
        with Loader([store], batch_size=10, seed=1, prefetch=prefetch, threads=threads) as loader:
            orders.append(clips_of(take(loader, 12)))
    assert orders[0] == orders[1] == orders[2]
    with Loader([store], batch_size=10, seed=2) as loader:
        assert clips_of(take(loader, 12)) != orders[0]


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_ranks_split_the_same_order_without_overlap(store: Store, world_size: int) -> None:
    assert global_clips([store], world_size, steps=5) == global_clips([store], 1, steps=5)
    with Loader([store], batch_size=24, seed=3, rank=world_size - 1, world_size=world_size) as loader:
        assert take(loader, 1)[0].first == 24 * (world_size - 1) // world_size


@pytest.mark.parametrize("before", [1, 2, 3, 8])
@pytest.mark.parametrize("after", [1, 2, 3, 8])
@pytest.mark.parametrize("last", ["drop", "pad"])
def test_resume_at_any_step_on_another_number_of_ranks(store: Store, before: int, after: int, last: str) -> None:
    options = {"last": last, "prefetch": 1}
    whole = global_clips([store], 1, steps=7, **options)
    for done in (1, 2, 3, 4):
        with Loader([store], batch_size=24, seed=3, rank=before - 1, world_size=before, **options) as loader:  # type: ignore[arg-type]
            position = take(loader, done)[-1].position
        ranks = []
        for rank in range(after):
            with Loader([store], batch_size=24, seed=3, rank=rank, world_size=after, **options) as loader:  # type: ignore[arg-type]
                loader.load_position(position)
                ranks.append([batch.clips_B.tolist() for batch in take(loader, 7 - done)])
        resumed = [clip for step in zip(*ranks, strict=True) for part in step for clip in part]
        assert resumed == whole[24 * done :]


def test_position_survives_a_checkpoint(store: Store, tmp_path: Path) -> None:
    with Loader([store], batch_size=24, seed=3) as loader:
        position = take(loader, 3)[-1].position
        assert loader.position == position
    torch.save(position, tmp_path / "position.pt")
    assert torch.load(tmp_path / "position.pt", weights_only=True) == position


def test_last_batch_is_dropped_or_padded(store: Store) -> None:
    with Loader([store], batch_size=24, seed=3, last="drop") as loader:
        assert loader.steps_per_epoch == 2
        assert [batch.epoch for batch in take(loader, 5)] == [0, 0, 1, 1, 2]
    with Loader([store], batch_size=24, seed=3, last="pad") as loader:
        assert loader.steps_per_epoch == 3
        batches = take(loader, 4)
    assert [(batch.epoch, batch.step) for batch in batches] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    clips = clips_of(batches[:3])
    assert sorted(clips[:50]) == list(range(50))
    assert clips[50:] == clips[:22], "the epoch's beginning pads its end"


def test_batch_larger_than_the_store(store: Store) -> None:
    with pytest.raises(LoaderError, match="a batch of 64 needs at least as many clips, the stores have 50"):
        Loader([store], batch_size=64, seed=0)
    with Loader([store], batch_size=64, seed=0, last="pad") as loader:
        assert sorted(set(clips_of(take(loader, 1)))) == list(range(50))


def test_stores_together_without_weights_come_once_each(store: Store, other: Store) -> None:
    with Loader([store, other], batch_size=10, seed=0) as loader:
        seen = [
            pair
            for batch in take(loader, 7)
            for pair in zip(batch.store_B.tolist(), batch.clips_B.tolist(), strict=True)
        ]
        assert loader.steps_per_epoch == 7
    assert sorted(seen) == [(0, clip) for clip in range(50)] + [(1, clip) for clip in range(20)]


def test_weights_decide_over_shares(store: Store, other: Store) -> None:
    with Loader([store, other], batch_size=10, seed=0, weights=[1, 1]) as loader:
        batches = take(loader, 14)
    counts = np.bincount(torch.cat([batch.store_B for batch in batches[:7]]).numpy())
    assert counts.tolist() == [35, 35]
    of_other = [
        clip
        for batch in batches[:4]
        for place, clip in zip(batch.store_B.tolist(), batch.clips_B.tolist(), strict=True)
        if place == 1
    ]
    assert len(set(of_other)) > 10
    for batch in batches:
        for row, (place, clip) in enumerate(zip(batch.store_B.tolist(), batch.clips_B.tolist(), strict=True)):
            expected = (store, other)[place].read_frames([clip])[0]
            np.testing.assert_array_equal(batch.frames_BTHWC[row].numpy(), expected)


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    weights=st.lists(st.floats(0.1, 10), min_size=4, max_size=4),
    seed=st.integers(0, 2**31),
)
def test_small_stores_repeat_only_after_all_their_clips(sizes: list[int], weights: list[float], seed: int) -> None:
    used = weights[: len(sizes)]
    assume(min(used) * sum(sizes) >= sum(used))  # every store has a clip of an epoch
    quotas = epoch_quotas(sizes, used)
    assert sum(quotas) == sum(sizes)
    assert min(quotas) >= 1
    bounds = np.cumsum([0, *sizes])
    seen = np.concatenate([epoch_order(seed, epoch, sizes, quotas) for epoch in range(5)])
    for store, size in enumerate(sizes):
        times = np.bincount(seen, minlength=bounds[-1])[bounds[store] : bounds[store] + size]
        assert times.max() - times.min() <= 1


def test_weight_that_leaves_a_store_without_a_clip_is_refused() -> None:
    with pytest.raises(
        LoaderError, match=r"weight 0\.01 gives store 1 no clip of an epoch's 20 .* leave the store out"
    ):
        epoch_quotas([10, 10], [0.01, 1])


@given(size=st.integers(1, 300), seed=st.integers(0, 2**31), epoch=st.integers(0, 1000))
def test_order_of_one_store_is_a_permutation(size: int, seed: int, epoch: int) -> None:
    assert sorted(epoch_order(seed, epoch, [size], [size])) == list(range(size))


def test_position_of_other_data_is_refused(store: Store, other: Store) -> None:
    with Loader([store], batch_size=10, seed=0) as loader:
        position = take(loader, 1)[0].position
    for stores, seed in (([other], 0), ([store, other], 0), ([store], 1)):
        with Loader(stores, batch_size=10, seed=seed) as loader, pytest.raises(LoaderError, match="other stores"):
            loader.load_position(position)


@pytest.mark.parametrize("wrong", [{"offset": -1}, {"offset": 10**9}, {"epoch": -3}])
def test_position_outside_of_an_epoch_is_refused(store: Store, wrong: dict[str, int]) -> None:
    with Loader([store], batch_size=10, seed=0) as loader:
        position = {**loader.position, **wrong}
        with pytest.raises(LoaderError, match="a position must lie within an epoch of 50 clips"):
            loader.load_position(position)


def test_bad_arguments_are_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(LoaderError, match="at least one store"):
        Loader([], batch_size=1, seed=0)
    with pytest.raises(LoaderError, match="multiple of their number, got 10 for 3"):
        Loader([store], batch_size=10, seed=0, world_size=3)
    with pytest.raises(LoaderError, match="rank must be"):
        Loader([store], batch_size=10, seed=0, rank=2, world_size=2)
    with pytest.raises(LoaderError, match="weights must be 1 numbers above 0"):
        Loader([store], batch_size=10, seed=0, weights=[0])
    with pytest.raises(LoaderError, match=r"clips of one shape.*\(2, 8, 8, 3\).*\(2, 16, 16, 3\)"):
        Loader([store, make_store(tmp_path / "large", clips=4, size=16)], batch_size=4, seed=0)


def damage(store: Store, clip: int) -> None:
    shard, slot = divmod(clip, store.layout.clips_per_shard)
    spec = store.layout.array("frames")
    path = store.path / shard_file(spec, shard)
    offset = int(store.reader("frames").open_shard(shard).tail.index[slot][0])
    data = bytearray(path.read_bytes())
    data[offset + 5] ^= 16
    path.write_bytes(data)


def test_damaged_chunk_stops_the_run_by_name(tmp_path: Path) -> None:
    store = make_store(tmp_path / "clips", clips=20)
    damage(store, 13)
    with (
        Loader([store], batch_size=10, seed=0) as loader,
        pytest.raises(DamagedStoreError, match=rf"store {store.path}, array frames, shard 3, clip 13: .*checksum"),
    ):
        take(loader, 2)


def test_a_batch_that_could_not_be_read_is_not_lost(tmp_path: Path) -> None:
    store = make_store(tmp_path / "clips", clips=20)
    damage(store, 13)
    with Loader([store], batch_size=4, seed=0) as loader, Loader([store], batch_size=4, seed=0) as reference:
        good: list[Batch] = []
        for _ in range(2):
            with pytest.raises(DamagedStoreError, match="clip 13"):
                good += iter(loader)
        damage(store, 13)
        loader.load_position(loader.position)
        good += take(loader, 5 - len(good))
        assert clips_of(good) == clips_of(take(reference, 5))
        assert sorted(clips_of(good)) == list(range(20))


def test_damaged_chunk_is_skipped_counted_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = make_store(tmp_path / "clips", clips=20)
    damage(store, 13)
    with caplog.at_level(logging.WARNING), Loader([store], batch_size=10, seed=0, on_error="skip") as loader:
        batches = take(loader, 2)
        assert loader.skipped == [(str(store.path), 13)]
    assert "1 damaged clips were skipped" in caplog.text
    assert set(clips_of(batches)) == set(range(20)) - {13}
    for batch in batches:
        np.testing.assert_array_equal(batch.frames_BTHWC.numpy(), store.read_frames(batch.clips_B.numpy()))


def test_memory_does_not_grow(store: Store) -> None:
    with Loader([store], batch_size=10, seed=0) as loader:
        take(loader, 20)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in itertools.islice(loader, 200):
            pass
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    # Python's own caches grow a little; keeping the 200 batches would take four times as much.
    batch_nbytes = 10 * 2 * 8 * 8 * 3
    assert grown < 50 * batch_nbytes


def test_closing_stops_all_threads(store: Store) -> None:
    import threading

    with Loader([store], batch_size=10, seed=0) as loader:
        take(loader, 1)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("smile-synth-loader")]


@pytest.mark.gpu
def test_pinned_batches_reach_the_gpu_unharmed(store: Store) -> None:
    with Loader([store], batch_size=10, seed=0, pin=True) as loader:
        for batch in itertools.islice(loader, 50):
            assert batch.frames_BTHWC.is_pinned()
            on_device = batch.frames_BTHWC.to("cuda", non_blocking=True)
            expected = store.read_frames(batch.clips_B.numpy())
            np.testing.assert_array_equal(on_device.cpu().numpy(), expected)
