"""``store[i]``: one clip with everything that the store knows of it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from tiny import TinyDataset

from smile_synth.api.render import render
from smile_synth.errors import SmileSynthError, UntrustedCodeError
from smile_synth.generator.scaffold import write_generator
from smile_synth.render import render as render_scene
from smile_synth.store import Store, render_store
from smile_synth.store.reader import open_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return render_store(TinyDataset(clips=12, size=16), tmp_path_factory.mktemp("clip") / "s.zarr", recipe={})


def test_a_clip_holds_what_was_rendered(store: Store) -> None:
    dataset = TinyDataset(clips=12, size=16)
    for clip in store:
        scene = dataset.sample(clip.number)
        made = render_scene(scene, store.motion_cell_px)
        assert np.array_equal(clip.frames, made.frames_THWC)
        assert np.array_equal(clip.boxes, made.boxes_KT4, equal_nan=True)
        assert clip.motion is not None
        assert np.allclose(clip.motion, made.motion_THW2, atol=0.01, equal_nan=True)
        assert clip.num_objects == len(scene.layers) == len(clip.labels["speed"])
        assert clip.labels["half"] == ("left", "right")[int(scene.labels["half"])]
        assert clip.labels["speed"] == pytest.approx(scene.labels["speed"])
        assert clip.background is not None
        assert clip.background.name == "noise"
        assert [row.name for row in clip.objects if row is not None] == ["confetti"] * len(scene.layers)
        assert clip.generator == "tiny"


def test_numbers_count_from_either_end(store: Store) -> None:
    assert len(list(store)) == len(store) == 12
    assert store[-1].number == 11
    assert np.array_equal(store[-1].frames, store[11].frames)
    for number in (12, -13):
        with pytest.raises(IndexError, match="clip must be 0 to 11"):
            store[number]
        with pytest.raises(SmileSynthError):
            store[number]


def test_a_store_without_motion_has_none(tmp_path: Path) -> None:
    store = render_store(TinyDataset(clips=2, motion=None), tmp_path / "s.zarr", recipe={})
    assert store[0].motion is None


def test_the_scene_is_sampled_again(tmp_path: Path) -> None:
    store = render("demo", tmp_path / "s.zarr", overrides=["dataset.clips=3"], workers=0)
    for clip in store:
        assert np.array_equal(render_scene(clip.scene).frames_THWC, clip.frames)


def test_a_scene_runs_no_code_that_no_package_registers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, _, recipe = write_generator("confetti", tmp_path)
    store = render(recipe, tmp_path / "s.zarr", overrides=["dataset.clips=2"], workers=0)
    with pytest.raises(UntrustedCodeError, match="confetti"):
        _ = store[0].scene
    trusted = open_store(store.path, folder=tmp_path, trust_code=True)
    assert np.array_equal(render_scene(trusted[1].scene).frames_THWC, store[1].frames)


def test_clips_of_a_virtual_store_are_those_of_a_full_one(tmp_path: Path) -> None:
    full, virtual = (
        render("demo", tmp_path / f"{kind}.zarr", overrides=["dataset.clips=4"], workers=0, virtual=kind == "virtual")
        for kind in ("full", "virtual")
    )
    assert virtual.is_virtual
    again = pickle.loads(pickle.dumps(virtual))
    for one, other in zip(full, again, strict=True):
        assert np.array_equal(one.frames, other.frames)
        assert np.array_equal(one.motion, other.motion, equal_nan=True)  # type: ignore[arg-type]
        assert one.scene.labels.keys() == other.scene.labels.keys()
