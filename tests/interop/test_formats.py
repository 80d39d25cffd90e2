"""Students from and to files: round trips through every form."""

from __future__ import annotations

import argparse
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_student import GRID, PARAMS, some_frames, tiny_student

import smile_synth
from smile_synth.errors import WeightsError
from smile_synth.interop.formats import EXPORT_FORMATS, ExportFormat, export, read_student
from smile_synth.interop.stored_student import StoredStudent
from smile_synth.model import Student, build_student, normalise
from smile_synth.model.student import ExtraHeads


@pytest.fixture(scope="module")
def student() -> Student:
    return tiny_student()


def file_of(folder: Path, form: ExportFormat) -> Path:
    return folder / {"videomae": "student.pth", "huggingface": "folder", "safetensors": "encoder.safetensors"}[form]


@pytest.mark.parametrize("form", EXPORT_FORMATS)
def test_every_export_loads_back_to_the_same_features(student: Student, tmp_path: Path, form: ExportFormat) -> None:
    path = file_of(tmp_path, form)
    export(StoredStudent.of(student), path, form)
    encoder = smile_synth.load_encoder(path)
    tokens, pooled = encoder(some_frames())
    torch.testing.assert_close(tokens, student.encode(normalise(some_frames())), atol=1e-6, rtol=0)
    torch.testing.assert_close(pooled, tokens.mean(dim=1))
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_separable_positions_are_kept_or_refused(tmp_path: Path) -> None:
    student = tiny_student(positions="separable")
    export(StoredStudent.of(student), tmp_path / "encoder.safetensors", "safetensors")
    tokens = smile_synth.load_encoder(tmp_path / "encoder.safetensors")(some_frames()).tokens
    torch.testing.assert_close(tokens, student.encode(normalise(some_frames())), atol=1e-6, rtol=0)
    for form in ("videomae", "huggingface"):
        with pytest.raises(WeightsError, match=r"has separable positions.* export with --format safetensors"):
            export(StoredStudent.of(student), tmp_path / form, form)
        assert not (tmp_path / form).exists()


def test_a_published_file_that_we_write_keeps_every_weight(student: Student, tmp_path: Path) -> None:
    export(StoredStudent.of(student), tmp_path / "student.pth", "videomae")
    published = torch.load(tmp_path / "student.pth", weights_only=True)["model"]
    assert published.keys() == student.state_dict().keys()
    again = read_student(tmp_path / "student.pth").build_student()
    assert again.shape == student.shape
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in student.state_dict().items())


@pytest.mark.parametrize("key", ["model", "module"])
@pytest.mark.parametrize("prefix", [True, False])
def test_published_files_are_read(student: Student, tmp_path: Path, key: str, prefix: bool) -> None:
    weights = dict(student.state_dict())
    if not prefix:
        weights = {n.removeprefix("encoder."): v for n, v in weights.items() if n.startswith("encoder.")}
    settings = argparse.Namespace(model="pretrain_videomae", num_frames=8, input_size=48, lr=1.5e-4)
    torch.save({key: weights, "epoch": 7, "args": settings}, tmp_path / "published.pth")
    encoder = smile_synth.load_encoder(tmp_path / "published.pth", image_size=(48, 64))
    expected = student.encode(normalise(some_frames()))
    torch.testing.assert_close(encoder(some_frames()).tokens, expected, atol=1e-6, rtol=0)


def test_a_checkpoint_of_a_run_is_read_and_its_moving_average_preferred(student: Student, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    state: dict[str, Any] = {"student": student.shape.to_dict(), "model": student.state_dict(), "ema": None, "step": 3}
    torch.save(state, folder / "latest.pt")
    plain = smile_synth.load_encoder(tmp_path / "run")(some_frames()).tokens
    torch.testing.assert_close(plain, student.encode(normalise(some_frames())), atol=1e-6, rtol=0)
    state["ema"] = {name: value * 0.5 for name, value in student.state_dict().items()}
    torch.save(state, folder / "step-00000003.pt")
    averaged = read_student(folder / "step-00000003.pt").weights
    torch.testing.assert_close(averaged["mask_token"], student.mask_token.detach() * 0.5)


@pytest.mark.parametrize(("target_dim", "heads"), [(10, ExtraHeads(2, 2, 2)), (0, ExtraHeads(2, 2))])
def test_exports_hold_what_published_students_hold_and_nothing_else(
    tmp_path: Path, target_dim: int, heads: ExtraHeads
) -> None:
    student = build_student(PARAMS, GRID, target_dim, heads)
    export(StoredStudent.of(student), tmp_path / "student.pth", "videomae")
    found = read_student(tmp_path / "student.pth")
    published = build_student(PARAMS, GRID, 10).state_dict()
    expected = set(published) if target_dim else {name for name in published if name.startswith("encoder.")}
    assert set(found.weights) == expected
    assert found.has_decoder == bool(target_dim)
    if target_dim:
        found.build_student()
    tokens = smile_synth.load_encoder(tmp_path / "student.pth")(some_frames()).tokens
    torch.testing.assert_close(tokens, student.encode(normalise(some_frames())), atol=1e-6, rtol=0)


def test_other_folders_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is neither a run"):
        read_student(tmp_path)
    save_file({"conv.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"holds no VideoMAE encoder .* it has encoder.conv.weight"):
        read_student(tmp_path / "other.safetensors")
    save_file({"x": torch.zeros(2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(WeightsError, match="describes no VideoMAE model, it describes 'bert'"):
        read_student(tmp_path)


@pytest.mark.parametrize("form", EXPORT_FORMATS)
def test_an_export_is_readable_by_whoever_the_umask_allows(
    student: Student, tmp_path: Path, form: ExportFormat
) -> None:
    old = os.umask(0o022)
    try:
        files = export(StoredStudent.of(student), file_of(tmp_path, form), form)
    finally:
        os.umask(old)
    assert {file.stat().st_mode & 0o777 for file in files} == {0o644}


@pytest.mark.parametrize("form", EXPORT_FORMATS)
def test_a_full_disk_is_named_and_the_old_export_kept(
    student: Student, tmp_path: Path, form: ExportFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    files = export(StoredStudent.of(student), file_of(tmp_path, form), form)
    before = [file.read_bytes() for file in files]
    monkeypatch.setattr("smile_synth.files.sync_file", full)
    with pytest.raises(WeightsError, match=r"cannot write the export: .*no space left on device; free some space"):
        export(StoredStudent.of(tiny_student(positions="flat")), file_of(tmp_path, form), form)
    assert [file.read_bytes() for file in files] == before
    assert not [file for file in tmp_path.rglob("*") if "unfinished" in file.name]
