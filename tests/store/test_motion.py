"""Motion in stores: what the renderer says, in every engine and reader, or none at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from tiny import TinyDataset

from smile_synth.recipe.dataset import MotionParams
from smile_synth.render import render
from smile_synth.store import Store, render_store
from smile_synth.store.layout import shard_file
from smile_synth.store.summary import store_sizes
from smile_synth.store.verify import repair_store, rerender, verify_store


def tiny(**options: Any) -> TinyDataset:
    return TinyDataset(clips=6, size=16, frames=4, **options)


def render_tiny(folder: Path, dataset: TinyDataset, workers: int = 0) -> Store:
    return render_store(dataset, folder / "clips", recipe=dataset.recipe(), workers=workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_store_holds_the_motion_of_every_clip_to_its_stated_error(tmp_path: Path, workers: int) -> None:
    dataset = tiny(motion=MotionParams(cell_px=4))
    store = render_tiny(tmp_path, dataset, workers)
    array = zarr.open_group(store.path, mode="r")["motion"]
    assert array.dtype == np.float16
    assert array.attrs["cell_px"] == 4
    assert store.motion_cell_px == 4
    for clip in range(6):
        expected = render(dataset.sample(clip), motion_cell_px=4).motion_THW2
        assert expected is not None
        assert np.isnan(expected[-1]).all()
        held = np.asarray(array[clip])
        np.testing.assert_array_equal(held, expected.astype(np.float16))
        np.testing.assert_allclose(held.astype(float), expected, rtol=1 / 2048, atol=0)


def test_motion_is_smaller_than_a_tenth_of_the_frames(tmp_path: Path) -> None:
    sizes = store_sizes(render_tiny(tmp_path, tiny()))
    assert sizes.motion_nbytes > 0
    assert sizes.motion_nbytes < 0.1 * sizes.raw_frames_nbytes


def test_motion_can_be_left_out(tmp_path: Path) -> None:
    store = render_tiny(tmp_path, tiny(motion=None))
    assert "motion" not in zarr.open_group(store.path, mode="r")
    assert store.motion_cell_px is None
    assert store_sizes(store).motion_nbytes == 0
    assert verify_store(store, threads=1) == []


def test_damaged_motion_is_found_and_repaired(tmp_path: Path) -> None:
    dataset = tiny()
    store = render_tiny(tmp_path, dataset)
    path = store.path / shard_file(store.layout.array("motion"), 0)
    whole = path.read_bytes()
    path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    findings = verify_store(store, threads=1)
    assert [(finding.array, finding.shard) for finding in findings] == [("motion", 0)]
    assert repair_store(store, dataset, findings) == []
    assert path.read_bytes() == whole


def test_rendering_again_compares_motion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = tiny()
    store = render_tiny(tmp_path, dataset)
    assert rerender(store, dataset, 6) == []

    def other(scene: Any, frames: Any, motion: Any = None) -> Any:
        boxes = render(scene).boxes_KT4
        frames[...], motion[...] = render(scene).frames_THWC, 1.0
        return boxes

    monkeypatch.setattr("smile_synth.store.clip_values.render_into", other)
    assert {finding.array for finding in rerender(store, dataset, 6)} == {"motion"}
