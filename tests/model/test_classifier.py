"""The fine-tuned form of a student."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from smile_synth.masking.grid import TokenGrid
from smile_synth.model import StudentShape
from smile_synth.model.classifier import Classifier
from smile_synth.recipe.student import Transformer

GOLDEN = Path(__file__).parents[1] / "golden"
GRID = TokenGrid(8, 4, 4, 2, 16)
# The student whose numbers the public SMILE implementation (commit ba5c369) computed.
PUBLISHED = StudentShape(Transformer(96, 3, 3), Transformer(48, 2, 3), 4.0, GRID, 40)


def test_published_classifier_logits_are_met() -> None:
    with np.load(GOLDEN / "student_tiny_io.npz") as arrays:
        video = torch.from_numpy(arrays["video_BCTHW"])
    with np.load(GOLDEN / "classifier_tiny_io.npz") as arrays:
        head = {name: torch.from_numpy(array) for name, array in arrays.items()}
    weights = load_file(GOLDEN / "student_tiny.safetensors")
    weights = {name.removeprefix("encoder."): value for name, value in weights.items() if name.startswith("encoder.")}
    weights |= {name: head[name] for name in head if name != "logits"}
    classifier = Classifier(PUBLISHED, num_classes=7)
    classifier.load_state_dict({name: value for name, value in weights.items() if not name.startswith("norm.")})
    torch.testing.assert_close(classifier(video), head["logits"], atol=1e-5, rtol=0)
