from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from smile_synth.errors import CheckpointError, WeightsError
from smile_synth.model.weights import read_file
from smile_synth.training.checkpoint import (
    Checkpoints,
    load_model_state,
    model_state,
    read_checkpoint,
    write_atomically,
)


def state(step: int = 1) -> dict[str, Any]:
    return {
        "model": {"weight": torch.arange(4.0)},
        "optimizer": {},
        "step": step,
        "stage": "train",
        "stage_step": step,
        "loader": {"epoch": 0},
        "recipe": {"seed": 0},
        "canvas": {"height": 8},
        "stages": [["train", 5]],
    }


def test_checkpoint_is_read_back_without_running_anything(tmp_path: Path) -> None:
    path = Checkpoints(tmp_path / "c").save(state())
    assert read_checkpoint(path)["step"] == 1
    assert torch.equal(torch.load(path, weights_only=True)["model"]["weight"], torch.arange(4.0))


def test_crash_while_writing_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1))

    def crash(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(OSError, match="no space left"):
        checkpoints.save(state(2))
    assert read_checkpoint(checkpoints.latest)["step"] == 1


def test_milestone_stays_as_it_was_when_the_latest_goes_on(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1), milestone=True)
    checkpoints.save(state(2))
    assert read_checkpoint(tmp_path / "step-00000001.pt")["step"] == 1
    assert read_checkpoint(checkpoints.latest)["step"] == 2


def test_milestones_are_copied_where_links_are_not_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("links are not supported")

    monkeypatch.setattr(os, "link", refuse)
    Checkpoints(tmp_path).save(state(1), stage_end="objects")
    assert read_checkpoint(tmp_path / "stage-objects.pt")["step"] == 1


def test_absent_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*latest\.pt"):
        read_checkpoint(tmp_path / "latest.pt")


@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_cut_checkpoint_is_refused(tmp_path: Path, keep: float) -> None:
    path = Checkpoints(tmp_path).save(state())
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep >= 1 else keep * len(data))])
    with pytest.raises(CheckpointError, match="damaged or not a checkpoint"):
        read_checkpoint(path)


def test_foreign_file_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="is not a checkpoint of smile-synth"):
        read_checkpoint(tmp_path / "other.pt")


def test_checkpoint_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    write_atomically({**state(), "format": "smile-synth checkpoint", "version": 2}, tmp_path / "new.pt")
    with pytest.raises(CheckpointError, match="has version 2, this smile-synth reads 1"):
        read_checkpoint(tmp_path / "new.pt")


def test_weights_of_another_shape_are_refused() -> None:
    other = {"weight": torch.zeros(3, 2), "bias": torch.zeros(3)}
    with pytest.raises(CheckpointError, match=r"'weight' has shape \(3, 2\) in the checkpoint and \(2, 3\)"):
        load_model_state(torch.nn.Linear(3, 2), other)


def test_weights_under_other_names_are_refused() -> None:
    with pytest.raises(CheckpointError, match="'bias', which the checkpoint does not have"):
        load_model_state(torch.nn.Linear(3, 2), {"weight": torch.zeros(2, 3)})


def test_weights_come_back_to_the_bit() -> None:
    one, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    load_model_state(other, model_state(one))
    assert torch.equal(one.weight, other.weight)


def test_a_flipped_byte_in_a_weight_is_found(tmp_path: Path) -> None:
    path = tmp_path / "latest.pt"
    torch.save({"model": {"weight": torch.full((4096,), 1.0)}}, path)
    content = bytearray(path.read_bytes())
    content[content.index(np.full(64, 1.0, np.float32).tobytes()) + 100] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)  # torch itself does not see it
    with pytest.raises(CheckpointError, match="fails its checksum"):
        read_checkpoint(path)
    with pytest.raises(WeightsError, match="fails its checksum"):
        read_file(path)
