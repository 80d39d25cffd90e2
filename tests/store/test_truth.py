"""Dense truth in stores: what the renderer's library says, under names and with words that explain it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from pydantic import ValidationError
from tiny import TinyDataset
from typer.testing import CliRunner

from smile_synth.cli import app
from smile_synth.recipe.dataset import DatasetParams
from smile_synth.render import tracks, truth
from smile_synth.scene import Canvas
from smile_synth.store import Store, render_store
from smile_synth.store.truth import track_queries
from smile_synth.store.verify import rerender, verify_store

KINDS = ("flow", "visibility", "tracks")


def with_truth(*kinds: str) -> TinyDataset:
    dataset = TinyDataset(clips=5, size=32, frames=3)
    dataset.params = dataset.params.model_copy(
        update={"store": dataset.params.store.model_copy(update={"truth": kinds})}
    )
    return dataset


def test_store_holds_the_truth_of_every_clip(tmp_path: Path) -> None:
    dataset = with_truth(*KINDS)
    store = render_store(dataset, tmp_path / "clips", recipe=dataset.recipe())
    held = zarr.open_group(store.path, mode="r")["truth"]
    assert sorted(held.array_keys()) == [
        "flow_backward", "flow_forward", "track_points", "track_visible", "visibility"
    ]  # fmt: skip
    for clip in range(5):
        scene = dataset.sample(clip)
        expected = truth(scene)
        np.testing.assert_array_equal(held["flow_forward"][clip], expected.flow_forward_THW2.astype(np.float16))
        np.testing.assert_array_equal(held["flow_backward"][clip], expected.flow_backward_THW2.astype(np.float16))
        np.testing.assert_array_equal(held["visibility"][clip], expected.layer_THW)
        followed = tracks(scene, track_queries(scene.canvas))
        np.testing.assert_array_equal(held["track_points"][clip], followed.points_NT2)
        np.testing.assert_array_equal(held["track_visible"][clip], followed.is_visible_NT)
    assert all(array.attrs["meaning"] for _, array in held.arrays())
    assert verify_store(store, threads=1) == []
    assert rerender(store, dataset, 5) == []
    assert store.truth == KINDS


def test_only_the_truth_that_is_named_is_kept(tmp_path: Path) -> None:
    dataset = with_truth("visibility")
    store = render_store(dataset, tmp_path / "clips", recipe=dataset.recipe())
    assert list(zarr.open_group(store.path, mode="r")["truth"].array_keys()) == ["visibility"]
    plain = TinyDataset()
    assert "truth" not in zarr.open_group(render_store(plain, tmp_path / "plain", recipe=plain.recipe()).path, mode="r")


def test_tracked_points_are_a_grid_over_the_first_frame() -> None:
    assert track_queries(Canvas(8, 8, 2)).tolist() == [[0, 4, 4]]
    assert track_queries(Canvas(16, 40, 2)).tolist() == [[0, 10, 8], [0, 30, 8]]
    assert len(track_queries(Canvas(224, 224, 16))) == 196


@pytest.mark.parametrize("kinds", [["depth"], ["flow", "flow"]])
def test_unknown_or_repeated_kinds_are_refused(kinds: list[str]) -> None:
    with pytest.raises(ValidationError, match="flow"):
        DatasetParams.model_validate({"store": {"truth": kinds}})


def test_the_command_line_asks_for_truth(tmp_path: Path) -> None:
    options = ["--set", "dataset.clips=2", "--set", "dataset.canvas.height=32", "--set", "dataset.canvas.width=32"]
    out = str(tmp_path / "clips.zarr")
    result = CliRunner().invoke(
        app, ["render", "demo", "--out", out, "--workers", "0", "--truth", "flow,tracks", *options]
    )
    assert result.exit_code == 0, result.output
    assert Store.open(out).truth == ("flow", "tracks")
    assert "flow, tracks" in CliRunner().invoke(app, ["info", out]).output
