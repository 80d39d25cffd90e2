"""``smile-synth export`` through the real command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_student import some_frames, tiny_student
from typer.testing import CliRunner

import smile_synth
from smile_synth.cli import app
from smile_synth.model import normalise


@pytest.fixture
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    student = tiny_student()
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    state = {"student": student.shape.to_dict(), "model": student.state_dict(), "ema": None}
    torch.save(state, tmp_path / "run" / "checkpoints" / "latest.pt")
    return tmp_path / "run"


def test_heads_are_told_where_a_file_does_not_tell(run_folder: Path) -> None:
    assert CliRunner().invoke(app, ["export", "run", "--format", "videomae"]).exit_code == 0
    heads = str(tiny_student().shape.encoder.heads)
    told = ["export", "run.videomae.pth", "--heads", heads, "--out", "again.safetensors"]
    done = CliRunner().invoke(app, told)
    assert done.exit_code == 0, done.stderr
    tokens = [smile_synth.load_encoder(path)(some_frames()).tokens for path in ("run", "again.safetensors")]
    torch.testing.assert_close(*tokens)


@pytest.mark.parametrize(
    ("form", "out"),
    [("videomae", "run.videomae.pth"), ("huggingface", "run.huggingface"), ("safetensors", "my.safetensors")],
)
def test_a_run_is_exported_and_the_next_step_named(run_folder: Path, form: str, out: str) -> None:
    named = ("--out", out) if out.startswith("my") else ()
    done = CliRunner().invoke(app, ["export", "run", "--format", form, *named])
    assert done.exit_code == 0, done.stderr
    assert "wrote" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("next: ")
    tokens = smile_synth.load_encoder(run_folder.parent / out)(some_frames()).tokens
    torch.testing.assert_close(tokens, tiny_student().encode(normalise(some_frames())), atol=1e-6, rtol=0)


def test_a_folder_that_is_no_run_gives_one_line(run_folder: Path) -> None:
    done = CliRunner().invoke(app, ["export", str(run_folder.parent)])
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "is neither a run" in done.stderr


def test_what_lies_there_is_replaced_only_when_told(run_folder: Path) -> None:
    target = run_folder.parent / "run.safetensors"
    target.write_text("precious")
    done = CliRunner().invoke(app, ["export", "run"])
    assert done.exit_code == 2
    assert "exists already: name another place with --out, or add --overwrite" in done.stderr
    assert target.read_text() == "precious"
    assert CliRunner().invoke(app, ["export", "run", "--overwrite"]).exit_code == 0
    assert smile_synth.load_encoder(target).width == 192


def test_sizes_of_exports_are_told_in_bytes(run_folder: Path) -> None:
    done = CliRunner().invoke(app, ["export", "run"])
    size = (run_folder.parent / "run.safetensors").stat().st_size
    assert f"wrote {run_folder.parent / 'run.safetensors'} ({size:,} bytes)" in done.stdout
