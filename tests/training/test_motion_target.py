"""Training on motion: alone and with pixels, resumed, on several ranks, exported, and without motion in the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny_training import assert_same_bits, run_tiny, timeless_rows, tiny_recipe, tiny_store, weights

import smile_synth
from smile_synth.errors import TrainingError
from smile_synth.interop.formats import read_student
from smile_synth.store import Store
from smile_synth.training.checkpoint import read_checkpoint
from smile_synth.training.estimate import estimate
from smile_synth.training.metrics import read_rows

EVERYTHING: dict[str, Any] = {
    "target": {"kind": "pixels", "motion": {"weight": 2.0}},
    "mask": {"kind": "motion", "ratio": 0.5, "masks_per_clip": 2},
    "ema_decay": 0.9,
}


def _is_part(key: str) -> bool:
    return key.startswith("loss_") and key != "loss_of_mean"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tiny_store(tmp_path_factory.mktemp("moving"))


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ({"kind": "motion"}, ["motion_hidden", "motion_visible"]),
        ({"kind": "motion", "motion": {"tokens": "hidden", "head": "decoder"}}, []),
        ({"kind": "motion", "motion": {"tokens": "visible"}}, []),
        ({"kind": "pixels", "motion": {"head": "decoder"}}, ["pixels", "motion_hidden", "motion_visible"]),
    ],
)
def test_every_kind_of_motion_target_trains_and_tells_its_parts(
    store: Store, tmp_path: Path, target: dict[str, Any], parts: list[str]
) -> None:
    recipe = tiny_recipe(target=target, mask={"kind": "tube", "ratio": 0.5}, watch={"pictures_every_steps": 6})
    run_tiny(store, tmp_path / "run", recipe)
    row = read_rows(tmp_path / "run" / "metrics.jsonl")[-1]
    assert [key.removeprefix("loss_") for key in row if _is_part(key)] == parts
    picture = Image.open(tmp_path / "run" / "pictures" / "step-00000006.png")
    assert picture.height >= 5 * 4 * 32, "input, visible, error, true and predicted motion, four times enlarged"
    assert smile_synth.load_encoder(tmp_path / "run").width == 24


def test_a_run_resumed_anywhere_ends_bit_exact(store: Store, tmp_path: Path) -> None:
    recipe = tiny_recipe(**EVERYTHING)
    run_tiny(store, tmp_path / "whole", recipe)
    first = tiny_recipe(**EVERYTHING, checkpoint={"milestone_every_steps": 3})
    run_tiny(store, tmp_path / "parts", first)
    (tmp_path / "parts" / "checkpoints" / "step-00000003.pt").replace(tmp_path / "parts" / "checkpoints" / "latest.pt")
    run_tiny(store, tmp_path / "parts", recipe, resume=True)
    assert_same_bits(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert timeless_rows(tmp_path / "whole") == timeless_rows(tmp_path / "parts")


def test_the_unit_of_motion_is_that_of_the_run(store: Store, tmp_path: Path) -> None:
    recipe = tiny_recipe(**EVERYTHING, checkpoint={"milestone_every_steps": 3})
    run_tiny(store, tmp_path, recipe)
    state = read_checkpoint(tmp_path / "checkpoints" / "step-00000003.pt")
    assert 0 < state["motion_std"] < 2
    assert f"motion is predicted in units of {state['motion_std']:.6g} px a frame" in (tmp_path / "log.txt").read_text()
    torch.save({**state, "motion_std": 123.0}, tmp_path / "checkpoints" / "latest.pt")
    run_tiny(store, tmp_path, recipe, resume=True)
    assert read_checkpoint(tmp_path / "checkpoints" / "latest.pt")["motion_std"] == 123.0


def test_micro_batches_sum_up_to_the_whole_batch(store: Store, tmp_path: Path) -> None:
    for name, runtime in (("whole", {}), ("halves", {"micro_batch": 1})):
        run_tiny(store, tmp_path / name, tiny_recipe(**EVERYTHING, max_steps=3, runtime=runtime))
    for name, value in weights(tmp_path / "whole").items():
        torch.testing.assert_close(value, weights(tmp_path / "halves")[name], atol=1e-4, rtol=1e-3)


def test_bfloat16_learns_motion_as_float32_does(store: Store, tmp_path: Path) -> None:
    for precision in ("float32", "bfloat16"):
        run_tiny(store, tmp_path / precision, tiny_recipe(**EVERYTHING, runtime={"precision": precision}))
    exact, rounded = (read_rows(tmp_path / name / "metrics.jsonl") for name in ("float32", "bfloat16"))
    for key in ("loss_motion_hidden", "loss_motion_visible", "loss_pixels"):
        first, second = [row[key] for row in exact], [row[key] for row in rounded]
        assert first != second, "the student computes in bfloat16"
        assert second == pytest.approx(first, rel=0.05)


def test_exports_leave_the_motion_out(store: Store, tmp_path: Path) -> None:
    run_tiny(store, tmp_path, tiny_recipe(**EVERYTHING))
    stored = read_student(tmp_path)
    assert {"motion_head.weight", "visible_head.weight"} <= set(stored.weights)
    plain = stored.published
    assert not any("motion" in name or "visible" in name for name in plain.weights)
    plain.build_student()


def test_stores_without_motion_are_refused_with_the_command_that_renders_it(tmp_path: Path) -> None:
    still = tiny_store(tmp_path, motion=None)
    with pytest.raises(
        TrainingError,
        match=r"trains on motion, but .*clips.zarr holds no motion; render it again: "
        r"smile-synth render RECIPE --out NEW.zarr --set dataset.store.motion.cell_px=8",
    ):
        run_tiny(still, tmp_path / "run", tiny_recipe(target={"kind": "motion"}))
    assert not (tmp_path / "run").exists()


def test_cells_that_do_not_fit_quarters_are_refused(store: Store, tmp_path: Path) -> None:
    recipe = tiny_recipe(target={"kind": "motion", "motion": {"cells": 4}})
    with pytest.raises(TrainingError, match=r"cells of 8 px, which do not divide quarters .*cell_px=4"):
        run_tiny(store, tmp_path / "run", recipe)


def test_the_estimate_knows_of_motion(store: Store, tmp_path: Path) -> None:
    rows = dict(estimate(tiny_recipe(**EVERYTHING), [store], tmp_path, resume=False, device="cpu"))
    assert rows["target"].startswith("pixels and motion of all tokens, in units of ")
    assert rows["teacher"] == "none"
