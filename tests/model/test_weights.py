"""Weights on disk: every format, and files that would run code."""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from smile_synth.errors import WeightsError
from smile_synth.model.weights import load_strictly, read_file, read_weights

WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


class Dangerous:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_code_in_a_pickle_does_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "was_run"
    torch.save({"model": WEIGHTS, "args": Dangerous(trace)}, path)
    with pytest.raises(WeightsError, match=r"evil.pth was not read: besides weights it holds .*could run code"):
        read_file(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists(), "the file is as dangerous as it is meant to be"


def test_code_in_a_bare_pickle_does_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "evil.pkl", tmp_path / "was_run"
    path.write_bytes(pickle.dumps(Dangerous(trace), protocol=2))
    with pytest.raises(WeightsError, match="was not read"):
        read_file(path)
    assert not trace.exists()


class Shell:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 3",)


def test_the_refusal_names_what_was_found_and_gives_no_bad_advice(tmp_path: Path) -> None:
    torch.save({"model": WEIGHTS, "args": Shell()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"besides weights it holds (posix|nt)\.system, and unpickling") as caught:
        read_file(tmp_path / "evil.pth")
    assert "weights_only" not in str(caught.value)


def test_a_namespace_of_settings_is_read_as_data(tmp_path: Path) -> None:
    settings = argparse.Namespace(lr=np.float64(1e-3), opt_betas=[0.9, 0.95], output_dir=Path("runs"), window=(8, 14))
    torch.save({"model": WEIGHTS, "args": settings}, tmp_path / "published.pth")
    assert vars(read_file(tmp_path / "published.pth")["args"])["window"] == (8, 14)
    assert torch.equal(read_weights(tmp_path / "published.pth", "model")["a.bias"], torch.ones(2))


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("form", ["plain", "nested", "legacy", "safetensors"])
def test_every_form_gives_the_same_weights(tmp_path: Path, form: str, prefix: str) -> None:
    held = {f"{prefix}{name}": value for name, value in WEIGHTS.items()}
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pth")
    if form == "safetensors":
        save_file(held, path)
    else:
        nested = {"epoch": 3, "module": held} if form == "nested" else held
        torch.save(nested, path, _use_new_zipfile_serialization=form != "legacy")
    found = read_weights(path, "model", "module")
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(found[name], value) for name, value in WEIGHTS.items())


@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("pth"):
        torch.save(WEIGHTS, path)
    else:
        save_file(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(WeightsError, match=rf"cannot read the weights in .*{name}"):
        read_file(path)


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.pth").write_text("not weights at all\n")
    with pytest.raises(
        WeightsError, match=r"cannot read the weights in .*notes.pth: it is damaged, or no file of weig"
    ):
        read_file(tmp_path / "notes.pth")


def test_an_absent_file_and_one_without_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no file of weights at .*none.pth; nothing was downloaded"):
        read_file(tmp_path / "none.pth")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(WeightsError, match="holds no weights by name, it holds: epoch"):
        read_weights(tmp_path / "empty.pth", "model")


def test_weights_load_completely_or_not_at_all() -> None:
    module = torch.nn.Linear(3, 2)
    with pytest.raises(WeightsError, match=r"x.pth does not fit the model: 1 missing \(bias\); 1 unknown \(b\); check"):
        load_strictly(module, {"weight": torch.ones(2, 3), "b": torch.ones(2)}, "x.pth")
    with pytest.raises(WeightsError, match=r"weight is \(3, 2\), the model wants \(2, 3\)"):
        load_strictly(module, {"weight": torch.ones(3, 2), "bias": torch.ones(2)}, "x.pth")
    load_strictly(module, {"weight": torch.ones(2, 3).half(), "bias": torch.ones(2)}, "x.pth")
    assert module.weight.dtype == torch.float32
