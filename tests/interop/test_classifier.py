"""Fine-tuned classifiers from and to files: the same logits and the names of the classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_student import PARAMS, some_frames

from smile_synth.errors import WeightsError
from smile_synth.interop.formats import EXPORT_FORMATS, export, read_student
from smile_synth.interop.stored_student import Sizes, StoredStudent
from smile_synth.masking.grid import TokenGrid
from smile_synth.model import StudentShape, normalise
from smile_synth.model.classifier import Classifier

CLASSES = ("waving", "a, b and c", "falling")
SQUARE = TokenGrid(4, 3, 3, 2, 16)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    torch.manual_seed(0)
    made = Classifier(StudentShape.of(PARAMS, SQUARE, 1), len(CLASSES), head_norm=True).eval()
    for name, parameter in made.named_parameters():
        # Biases start at zero: a form that loses them must be caught. A variance is positive.
        torch.nn.init.uniform_(parameter, 0.5, 2.0) if name.endswith("var") else torch.nn.init.normal_(
            parameter, std=0.1
        )
    return made


@pytest.fixture
def run(classifier: Classifier, tmp_path: Path) -> Path:
    """A checkpoint as fine-tuning writes it."""
    shape = StudentShape.of(PARAMS, SQUARE, 1)
    state = {"student": shape.to_dict(), "model": classifier.state_dict(), "ema": None, "classes": list(CLASSES)}
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    torch.save(state, tmp_path / "run" / "checkpoints" / "latest.pt")
    return tmp_path / "run"


def logits(stored: StoredStudent) -> torch.Tensor:
    with torch.no_grad():
        return stored.build_classifier().eval()(normalise(some_frames(SQUARE)))


@pytest.mark.parametrize("form", EXPORT_FORMATS)
def test_every_export_loads_back_to_the_same_logits_and_names(
    classifier: Classifier, run: Path, tmp_path: Path, form: str
) -> None:
    with torch.no_grad():
        wanted = classifier(normalise(some_frames(SQUARE)))
    stored = read_student(run)
    torch.testing.assert_close(logits(stored), wanted, atol=1e-5, rtol=0)
    target = tmp_path / {"videomae": "c.pth", "huggingface": "folder", "safetensors": "c.safetensors"}[form]
    export(stored, target, form)  # type: ignore[arg-type]
    again = read_student(target)
    assert again.classes == CLASSES
    torch.testing.assert_close(logits(again), wanted, atol=1e-5, rtol=0)


def test_transformers_gives_the_same_logits_and_names(classifier: Classifier, run: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    export(read_student(run), tmp_path / "folder", "huggingface")
    model = transformers.VideoMAEForVideoClassification.from_pretrained(tmp_path / "folder").eval()
    assert model.config.id2label == dict(enumerate(CLASSES))
    frames = some_frames(SQUARE)
    with torch.no_grad():
        theirs, ours = model(normalise(frames).transpose(1, 2)).logits, classifier(normalise(frames))
        # transformers adds 1e-5 to the variance before the head, published models 1e-6: nothing else may differ.
        model.fc_norm.eps = classifier.fc_norm.eps
        alike = model(normalise(frames).transpose(1, 2)).logits
    torch.testing.assert_close(alike, ours, atol=1e-5, rtol=0)
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=0)


def test_a_fine_tuned_file_of_others_is_read_without_names(classifier: Classifier, tmp_path: Path) -> None:
    plain = Classifier(StudentShape.of(PARAMS, SQUARE, 1), 3).eval()
    torch.save({"module": plain.state_dict()}, tmp_path / "theirs.pth")
    stored = read_student(tmp_path / "theirs.pth", Sizes(None, 8, 48))
    assert (stored.classes, stored.num_classes) == ((), 3)
    with torch.no_grad():
        wanted = plain(normalise(some_frames(SQUARE)))
    torch.testing.assert_close(logits(stored), wanted, atol=1e-6, rtol=0)


def test_what_is_no_classifier_is_not_taken_for_one(run: Path, tmp_path: Path) -> None:
    state = torch.load(run / "checkpoints" / "latest.pt", weights_only=True)
    state["classes"] = ["one"]
    torch.save(state, tmp_path / "wrong.pt")
    with pytest.raises(WeightsError, match="names 1 classes, its head has 3"):
        read_student(tmp_path / "wrong.pt").build_classifier()
    state["classes"] = [1, 2, 3]
    torch.save(state, tmp_path / "numbers.pt")
    with pytest.raises(WeightsError, match="names of the classes must be a list of texts"):
        read_student(tmp_path / "numbers.pt")
