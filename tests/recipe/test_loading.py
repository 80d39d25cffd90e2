"""What a recipe says of reading stores reaches the training."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_training import assert_same_bits, run_tiny, timeless_rows, tiny_recipe, tiny_store, weights

from smile_synth.errors import DamagedStoreError, LoaderError
from smile_synth.store.layout import shard_file

VIEWS = {"augment": {"flip_probability": 0.5, "crop_area": [0.5, 1.0]}}


def test_flips_and_crops_change_the_training_the_same_way_each_time(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    for name, loading in (("one", VIEWS), ("two", VIEWS), ("plain", {})):
        run_tiny(store, tmp_path / name, tiny_recipe(max_steps=3, loading=loading))
    assert_same_bits(weights(tmp_path / "one"), weights(tmp_path / "two"))
    with pytest.raises(AssertionError):
        assert_same_bits(weights(tmp_path / "one"), weights(tmp_path / "plain"))


def test_weights_must_fit_the_stores(tmp_path: Path) -> None:
    with pytest.raises(LoaderError, match="weights must be 1 numbers"):
        run_tiny(tiny_store(tmp_path), tmp_path / "run", tiny_recipe(max_steps=3, loading={"weights": [1, 2]}))


def test_damaged_clip_stops_or_is_skipped(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    file = store.path / shard_file(store.layout.array("frames"), 1)
    file.write_bytes(b"\0" + file.read_bytes()[1:])
    with pytest.raises(DamagedStoreError, match="shard 1, clip 4"):
        run_tiny(store, tmp_path / "stops", tiny_recipe(max_steps=3))
    summary = run_tiny(store, tmp_path / "skips", tiny_recipe(max_steps=3, loading={"on_error": "skip"}))
    assert summary.finished
    assert "a damaged clip was skipped, the first was" in (tmp_path / "skips" / "log.txt").read_text()
    # What a stopped run needs to resume may change.
    recipe = tiny_recipe(max_steps=3, loading={"on_error": "skip", "prefetch_batches": 1})
    assert run_tiny(store, tmp_path / "stops", recipe, resume=True).finished


@pytest.mark.parametrize(("last", "steps"), [("drop", 2 * 2), ("pad", 2 * 3)])
def test_the_last_batch_is_dropped_or_padded(tmp_path: Path, last: str, steps: int) -> None:
    recipe = tiny_recipe(max_steps=None, epochs=2, loading={"last": last})
    summary = run_tiny(tiny_store(tmp_path, clips=11), tmp_path / "run", recipe)
    assert summary.finished
    assert summary.steps == steps
    assert timeless_rows(tmp_path / "run")[-1]["epoch"] == 2
