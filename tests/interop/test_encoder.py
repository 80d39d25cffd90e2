"""Encoders for use: loading, pooling, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_student import some_frames, tiny_student

import smile_synth
from smile_synth.errors import ModelError
from smile_synth.interop.encoder import random_like
from smile_synth.interop.formats import export
from smile_synth.interop.stored_student import StoredStudent
from smile_synth.model import Student, normalise
from smile_synth.model.classifier import Classifier


@pytest.fixture(scope="module")
def student() -> Student:
    return tiny_student()


def test_a_fine_tuned_file_gives_the_pooled_features_before_its_head(student: Student, tmp_path: Path) -> None:
    classifier = Classifier(student.shape, num_classes=5)
    torch.nn.init.normal_(classifier.fc_norm.weight)
    torch.save({"module": classifier.state_dict()}, tmp_path / "fine-tuned.pth")
    encoder = smile_synth.load_encoder(tmp_path / "fine-tuned.pth", num_frames=8, image_size=(48, 64))
    scores = classifier.head(encoder(some_frames()).pooled)
    torch.testing.assert_close(scores, classifier(normalise(some_frames())))


def test_random_like_is_the_same_network_untrained(student: Student, tmp_path: Path) -> None:
    export(StoredStudent.of(student), tmp_path / "encoder.safetensors", "safetensors")
    trained = smile_synth.load_encoder(tmp_path / "encoder.safetensors")
    one, same, other = (random_like(trained, seed=seed)(some_frames()).tokens for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.shape == trained(some_frames()).tokens.shape


def test_clips_of_another_size_are_refused_with_the_way_out(student: Student, tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    export(StoredStudent.of(student), path, "safetensors")
    with pytest.raises(ModelError, match=r"takes clips \(T, H, W\) of \(8, 48, 64\), got \(16, 64, 64\): resize"):
        smile_synth.load_encoder(path)(torch.zeros(1, 16, 64, 64, 3, dtype=torch.uint8))
    larger = smile_synth.load_encoder(path, num_frames=16, image_size=64)
    assert larger(torch.zeros(1, 16, 64, 64, 3, dtype=torch.uint8)).tokens.shape == (1, 128, 192)
