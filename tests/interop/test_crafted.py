"""Weights that were made to do harm, or damaged: each is one clear error, before anything is allocated."""

from __future__ import annotations

import json
import os
import pickle
import random
import resource
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_student import tiny_student

from smile_synth.errors import SmileSynthError, WeightsError, in_one_line
from smile_synth.interop.formats import export, read_student
from smile_synth.interop.stored_student import StoredStudent
from smile_synth.model.weights import read_weights

NEW_VALUES: tuple[Any, ...] = (
    None, -1, 0, 2**70, 1e308, "x", "\x1b[2J\n", [], {}, float("nan"), True, [1, 2, 3], {"a": 1}, 2**31, 0.5,
)  # fmt: skip


@pytest.fixture(scope="module")
def student() -> StoredStudent:
    return StoredStudent.of(tiny_student())


def checkpoint(student: StoredStudent) -> dict[str, Any]:
    return {"student": student.shape.to_dict(), "model": dict(student.weights), "ema": None, "step": 3}


def refusal(path: Path) -> str:
    """Return the one line with which a path is refused, without a warning before it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SmileSynthError) as caught:
            read_student(path)
    line = in_one_line(caught.value)
    assert line.isprintable()
    assert len(line) < 1000
    return line


def changed(value: Any, rng: random.Random) -> Any:
    """Return a copy of nested dictionaries in which one value, somewhere, is another or gone."""
    if not isinstance(value, dict) or not value:
        new = rng.choice(NEW_VALUES)
        return torch.zeros(3) if isinstance(value, torch.Tensor) and rng.random() < 0.5 else new
    copy = dict(value)
    key = rng.choice(list(copy))
    if rng.random() < 0.7:
        copy[key] = changed(copy[key], rng)
    elif rng.random() < 0.6:
        del copy[key]
    else:
        copy[key] = rng.choice(NEW_VALUES)
    return copy


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return bytes of which some are flipped, cut or zeroed; mostly at the start, where formats say what follows."""
    content = bytearray(data)
    place = rng.randrange(len(content) if rng.random() < 0.4 else min(len(content), 4000))
    match rng.randrange(3):
        case 0:
            content[place] ^= 1 << rng.randrange(8)
        case 1:
            del content[place:]
        case 2:
            content[place : place + 16] = bytes(len(content[place : place + 16]))
    return bytes(content)


def mutate_checkpoint(student: StoredStudent, path: Path, rng: random.Random) -> Path:
    torch.save(changed(checkpoint(student), rng), path / "crafted.pt")
    return path / "crafted.pt"


def mutate_videomae(student: StoredStudent, path: Path, rng: random.Random) -> Path:
    torch.save(changed({"model": student.weights, "args": {"input_size": 48}}, rng), path / "crafted.pth")
    return path / "crafted.pth"


def mutate_safetensors(student: StoredStudent, path: Path, rng: random.Random) -> Path:
    file = path / "crafted.safetensors"
    weights, shape = changed(dict(student.encoder_weights), rng), changed(student.shape.to_dict(), rng)
    weights = {name: value for name, value in weights.items() if isinstance(value, torch.Tensor)}
    save_file({name: value.clone() for name, value in weights.items()}, file, {"smile_synth": json.dumps(shape)})
    return file


def mutate_huggingface(student: StoredStudent, path: Path, rng: random.Random) -> Path:
    export(student, path / "hf", "huggingface")
    config = path / "hf" / "config.json"
    config.write_text(json.dumps(changed(json.loads(config.read_text()), rng)))
    if rng.random() < 0.5:
        weights = changed(load_file(path / "hf" / "model.safetensors"), rng)
        weights = {name: value for name, value in weights.items() if isinstance(value, torch.Tensor)}
        save_file(weights, path / "hf" / "model.safetensors")
    return path / "hf"


def mutate_bytes(student: StoredStudent, path: Path, rng: random.Random) -> Path:
    name, form = rng.choice((("e.pth", "videomae"), ("e.safetensors", "safetensors")))
    export(student, path / name, form)
    (path / name).write_bytes(damaged((path / name).read_bytes(), rng))
    return path / name


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutate", [mutate_checkpoint, mutate_videomae, mutate_safetensors, mutate_huggingface, mutate_bytes]
)
def test_mutated_files_are_read_or_refused_in_one_line(
    student: StoredStudent, tmp_path: Path, mutate: Callable[[StoredStudent, Path, random.Random], Path]
) -> None:
    lines = []
    for seed in range(60):
        folder = tmp_path / str(seed)
        folder.mkdir()
        path = mutate(student, folder, random.Random(seed))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            lines.append(outcome(path, folder / "again.safetensors"))
    refusals = [line for line in lines if line]
    assert len(refusals) > 10
    assert all(line.isprintable() and len(line) < 1500 for line in refusals)


def outcome(path: Path, out: Path) -> str:
    """Return the error in one line, or nothing where the file is read, exported and read again."""
    try:
        export(read_student(path), out, "safetensors")
        read_student(out).build_encoder()
    except SmileSynthError as error:
        return in_one_line(error)
    return ""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_mutated_torchscript_archives_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))).save(str(tmp_path / "a.pt"))
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    lines = []
    for seed in range(200):
        rng = random.Random(seed)
        # Whole archives, whose checksums are right: what is mutated is what they say.
        name = rng.choice([name for name in parts if name.endswith("/data.pkl")] * 4 + list(parts))
        with zipfile.ZipFile(tmp_path / "b.pt", "w") as archive:
            for part, content in parts.items():
                archive.writestr(part, damaged(content, rng) if part == name and content else content)
        lines.append(outcome_of_reading(tmp_path / "b.pt"))
    refusals = [line for line in lines if line]
    assert len(refusals) > 50
    assert all(line.isprintable() and len(line) < 1500 for line in refusals)


def outcome_of_reading(path: Path) -> str:
    """Return the error in one line, or nothing where the weights are read."""
    try:
        read_weights(path)
    except SmileSynthError as error:
        return in_one_line(error)
    return ""


def test_a_pickle_that_runs_code_is_refused_and_runs_none(student: StoredStudent, tmp_path: Path) -> None:
    witness = tmp_path / "witness"

    class Harm:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {witness}",)

    torch.save({"model": student.weights, "args": Harm()}, tmp_path / "zip.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"model": Harm()}, protocol=2))
    torch.save({"model": student.weights, "x": Harm()}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for file in ("zip.pth", "plain.pth", "old.pth"):
        assert "unpickling that could run code" in refusal(tmp_path / file)
    assert not witness.exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_code_of_a_torchscript_archive_never_runs(tmp_path: Path) -> None:
    witness = tmp_path / "written-by-the-archive"

    class Writes(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(3))

        @torch.jit.export
        def __getstate__(self) -> tuple[torch.Tensor, bool]:
            return self.weight, self.training

        @torch.jit.export
        def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
            self.weight = state[0]
            self.training = state[1]
            torch.save([self.weight], "written-by-the-archive")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    path = tmp_path / "module.pt"
    torch.jit.script(Writes()).save(str(path))
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        torch.jit.load(str(path))
        assert witness.exists(), "the archive does what it was made for"
        witness.unlink()
        with pytest.raises(WeightsError):
            read_weights(path)
    finally:
        os.chdir(before)
    assert not witness.exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_torchscript_archive_gives_the_weights_that_torch_reads(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2).half())
    torch.jit.script(module).save(str(tmp_path / "module.pt"))
    found = read_weights(tmp_path / "module.pt")
    assert found.keys() == module.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("encoder", "depth"), 10**9, "encoder.depth: input should be less than or equal to 512"),
        (("encoder", "width"), 2**40, "encoder.width: input should be less"),
        (("grid", "rows"), 2**14, "a clip of 262,144 tokens is declared, at most 131,072"),
        (("encoder", "width"), "192", "encoder.width: input should be a valid integer, got '192'"),
        (("encoder", "heads"), 0, "encoder.heads: input should be greater"),
        (("positions",), "learned", "positions: input should be 'flat' or 'separable', got 'learned'"),
        (("mlp_ratio",), float("nan"), "mlp_ratio"),
        (
            ("encoder", "depth"),
            3,
            "of embedding dimension 192 and 3 blocks, its weights have 192 and 2",
        ),
    ],
)
def test_sizes_that_a_file_declares_are_checked_before_anything_is_made(
    student: StoredStudent, tmp_path: Path, place: tuple[str, ...], value: Any, said: str
) -> None:
    state = checkpoint(student)
    inner = state["student"]
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    torch.save(state, tmp_path / "crafted.pt")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = refusal(tmp_path / "crafted.pt")
    assert said in line
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("hidden_size", "768", "hidden_size: input should be a valid integer, got '768'"),
        ("num_hidden_layers", 10**12, "num_hidden_layers: input should be less than or equal to 512"),
        ("hidden_size", None, "hidden_size: input should be a valid integer, got null"),
        ("image_size", [224], "image_size"),
        ("hidden_act", "relu", "hidden_act: input should be 'gelu', got 'relu'"),
        ("intermediate_size", ..., "'intermediate_size' is missing"),
    ],
)
def test_a_hugging_face_config_is_checked_key_by_key(
    student: StoredStudent, tmp_path: Path, key: str, value: Any, said: str
) -> None:
    export(student, tmp_path, "huggingface")
    config = json.loads((tmp_path / "config.json").read_text())
    config[key] = value
    (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))
    assert said in refusal(tmp_path)


def test_tensors_larger_than_their_file_are_refused(student: StoredStudent, tmp_path: Path) -> None:
    name = "encoder.patch_embed.proj.weight"
    torch.save({"model": {**student.weights, name: torch.zeros(1).expand(2**20, 2**20)}}, tmp_path / "expanded.pth")
    assert "is declared as (1048576, 1048576) and its file holds only 4 bytes" in refusal(tmp_path / "expanded.pth")
    torch.save({"model": {**student.weights, name: torch.zeros(3).to_sparse()}}, tmp_path / "sparse.pth")
    assert "must be a dense tensor of real numbers, got sparse_coo on cpu" in refusal(tmp_path / "sparse.pth")


def test_an_archive_that_would_expand_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(200 * 2**20))
    assert "it would expand to 209,715,200 bytes" in refusal(tmp_path / "bomb.pth")
