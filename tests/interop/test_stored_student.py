"""Students apart from any file format."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_student import tiny_student

from smile_synth.errors import WeightsError
from smile_synth.interop.formats import export, read_student
from smile_synth.interop.stored_student import Sizes, StoredStudent
from smile_synth.model import Student

GOLDEN = Path(__file__).parents[1] / "golden" / "student_tiny.safetensors"


@pytest.fixture(scope="module")
def student() -> Student:
    return tiny_student()


def test_the_golden_student_is_read_without_our_metadata() -> None:
    stored = read_student(GOLDEN, Sizes(heads=3, image_size=64))
    assert stored.shape.encoder == (96, 3, 3)
    assert (stored.shape.decoder.width, stored.shape.decoder.depth, stored.shape.target_dim) == (48, 2, 40)
    with pytest.raises(WeightsError, match="its encoder of embedding dimension 96 has: give heads"):
        read_student(GOLDEN)


def test_an_encoder_alone_cannot_be_trained_on(student: Student, tmp_path: Path) -> None:
    export(StoredStudent.of(student), tmp_path / "encoder.safetensors", "safetensors")
    with pytest.raises(WeightsError, match="holds an encoder without its decoder"):
        read_student(tmp_path / "encoder.safetensors").build_student()
