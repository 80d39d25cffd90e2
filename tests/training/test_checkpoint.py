from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from smile_synth.errors import CheckpointError, WeightsError, in_one_line
from smile_synth.model.weights import read_file
from smile_synth.training import checkpoint
from smile_synth.training.checkpoint import (
    Checkpoints,
    read_checkpoint,
    write_checkpoint,
)


def state(step: int = 1) -> dict[str, Any]:
    return {
        "model": {"weight": torch.arange(4.0)},
        "optimizer": {},
        "step": step,
        "stage": "train",
        "stage_step": step,
        "ema": None,
        "loader": {"epoch": 0, "offset": 0, "data": "d"},
        "recipe": {"seed": 0},
        "canvas": {"height": 8, "width": 8, "frames": 2},
        "stages": [["train", 5]],
        "watch": {"losses": [], "first_ranks": {}},
    }


def test_checkpoint_is_read_back_without_running_anything(tmp_path: Path) -> None:
    path = Checkpoints(tmp_path / "c").save(state())
    assert read_checkpoint(path)["step"] == 1
    assert torch.equal(torch.load(path, weights_only=True)["model"]["weight"], torch.arange(4.0))


def test_crash_while_writing_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1))

    def crash(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

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
    write_checkpoint({**state(), "format": "smile-synth checkpoint", "version": 2}, tmp_path / "new.pt")
    with pytest.raises(CheckpointError, match="has version 2, this smile-synth reads 1"):
        read_checkpoint(tmp_path / "new.pt")


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


def test_full_disk_while_saving_names_the_error_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class FullDisk:
        room = 300

        def __init__(self, file: Any) -> None:
            self._file = file

        def write(self, content: Any) -> int:
            self.room -= len(content)
            if self.room < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return int(self._file.write(content))

    written = checkpoint._Written
    monkeypatch.setattr(checkpoint, "_Written", lambda file: written(FullDisk(file)))  # type: ignore[arg-type]
    with pytest.raises(OSError, match="No space left on device") as caught:
        Checkpoints(tmp_path).save(state())
    assert in_one_line(caught.value) == (
        f"{tmp_path / 'latest.pt'}: no space left on device; free some space, or name another place"
    )
    assert not list(tmp_path.iterdir()), "no unfinished file is left"
    assert capfd.readouterr() == ("", "")


def test_damaged_latest_falls_back_to_the_newest_whole_one(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 3):
        checkpoints.save(state(step), milestone=True)
        os.utime(tmp_path / f"step-0000000{step}.pt", ns=(step, step))
    assert checkpoints.newest_whole()[1] == ""
    for name in ("latest.pt", "step-00000003.pt"):
        (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / name).write_bytes(b"torn")
    os.utime(tmp_path / "step-00000003.pt", ns=(3, 3))
    found, note = checkpoints.newest_whole()
    assert found["step"] == 2
    assert note.endswith("resuming from step-00000002.pt, update 2")
    for path in tmp_path.glob("step-*.pt"):
        path.unlink()
    with pytest.raises(CheckpointError, match="damaged or not a checkpoint"):
        checkpoints.newest_whole()


def _with(key: str, value: Any) -> dict[str, Any]:
    return {**state(), "format": "smile-synth checkpoint", "version": 1, key: value}


@pytest.mark.parametrize("key", [key for key in state() if key != "stores"])
def test_every_documented_key_is_required(tmp_path: Path, key: str) -> None:
    content = _with("version", 1)
    del content[key]
    torch.save(content, tmp_path / "latest.pt")
    with pytest.raises(CheckpointError, match=rf"does not hold what one holds \({key}: Field required"):
        read_checkpoint(tmp_path / "latest.pt")


@pytest.mark.parametrize("key", ["model", "ema", "optimizer", "student", "stores", "watch", *state()])
def test_documented_table_names_what_is_read(key: str) -> None:
    assert f"``{key}``" in str(checkpoint.__doc__)
    assert key in checkpoint._Content.model_fields


MOMENT = {"exp_avg": torch.zeros(4), "exp_avg_sq": torch.zeros(4), "step": torch.tensor(1.0)}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", None),
        ("version", [1]),
        ("model", {}),
        ("model", [torch.zeros(4)]),
        ("model", {"weight": 3}),
        ("model", {1: torch.zeros(4)}),
        ("model", {"weight": torch.zeros(4, dtype=torch.int64)}),
        ("model", {"weight": torch.eye(4).to_sparse()}),
        ("ema", {"weight": torch.zeros(5)}),
        ("optimizer", {"weight": {**MOMENT, "exp_avg": torch.zeros(5)}}),
        ("optimizer", {"weight": {"exp_avg": torch.zeros(4)}}),
        ("optimizer", {"stranger": MOMENT}),
        ("step", "1"),
        ("step", -1),
        ("step", 10**30),
        ("step", 2),
        ("step", float("nan")),
        ("stage", "elsewhere"),
        ("stage_step", 6),
        ("loader", {"epoch": 0}),
        ("loader", {"epoch": 0, "offset": -1, "data": "d"}),
        ("recipe", "seed: 0"),
        ("canvas", None),
        ("stages", []),
        ("stages", [["train", 5], ["train", 5]]),
        ("stages", "train"),
        ("stores", "digest"),
        ("watch", {"losses": ["0.5"], "first_ranks": {}}),
    ],
)
def test_crafted_content_is_refused_in_one_line(tmp_path: Path, key: str, value: Any) -> None:
    torch.save(_with(key, value), tmp_path / "latest.pt")
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(tmp_path / "latest.pt")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
