"""What clips depend on is digested part by part, and a change is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import TinyDataset

from smile_synth.errors import StoreError
from smile_synth.store import code, render_store
from smile_synth.store.manifest import Manifest, first_difference


@pytest.mark.parametrize("part", [*code.PARTS, "generator"])
def test_a_change_of_code_is_named_and_refuses_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    dataset = TinyDataset()
    render_store(dataset, tmp_path / "clips", recipe=dataset.recipe())
    real = code.code_digests(dataset.generator)
    monkeypatch.setattr("smile_synth.store.manifest.code_digests", lambda generator: {**real, part: "00"})
    with pytest.raises(StoreError, match=rf"the code of (the )?{part} is another now"):
        render_store(dataset, tmp_path / "clips", recipe=dataset.recipe())


@pytest.mark.parametrize("package", ["smile-synth", "python"])
def test_versions_that_change_no_pixel_do_not_refuse(package: str) -> None:
    dataset = TinyDataset()
    ours = Manifest.of(dataset, {})
    theirs = ours.model_copy(update={"versions": {**ours.versions, package: "99"}})
    assert first_difference(ours, theirs) == ""


def test_a_version_that_may_change_pixels_is_named() -> None:
    ours = Manifest.of(TinyDataset(), {})
    theirs = ours.model_copy(update={"versions": {**ours.versions, "numpy": "99"}})
    assert "versions.numpy is " in first_difference(ours, theirs)


def test_every_module_that_makes_pixels_is_digested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(code.__file__).parents[1]
    digested = {file for places in code.PARTS.values() for place in places for file in code._sources(root / place)}
    for name in ("sampling/motion.py", "sampling/textures.py", "assets/images.py", "render/kernel.py", "scene.py"):
        assert root / name in digested
    assert all(file.is_file() for file in digested)
