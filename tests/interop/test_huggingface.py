"""Hugging Face folders: theirs and ours, old and new names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_student import PARAMS, some_frames, tiny_student

import smile_synth
from smile_synth.interop.formats import export
from smile_synth.interop.stored_student import StoredStudent
from smile_synth.masking.grid import TokenGrid
from smile_synth.model import Student, build_student, normalise


@pytest.fixture(scope="module")
def student() -> Student:
    return tiny_student()


def test_hugging_face_loads_our_folder_with_the_same_features(student: Student, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    export(StoredStudent.of(student), tmp_path / "hf", "huggingface")
    model, report = transformers.VideoMAEModel.from_pretrained(tmp_path / "hf", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    video = normalise(some_frames())
    with torch.no_grad():
        theirs = model.eval()(video.transpose(1, 2)).last_hidden_state
        torch.testing.assert_close(theirs, student.encode(video), atol=1e-5, rtol=0)


def test_a_folder_that_hugging_face_writes_is_read(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.VideoMAEConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, image_size=32, num_frames=4,
        use_mean_pooling=False, layer_norm_eps=1e-3,
    )  # fmt: skip
    model = transformers.VideoMAEModel(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(tmp_path)
    encoder = smile_synth.load_encoder(tmp_path)
    frames = some_frames(TokenGrid(2, 2, 2, 2, 16))
    with torch.no_grad():
        theirs = model(normalise(frames).transpose(1, 2)).last_hidden_state
    torch.testing.assert_close(encoder(frames).tokens, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("names", ["v4", "v5"])
def test_hugging_faces_old_and_new_bias_names_are_read(student: Student, tmp_path: Path, names: str) -> None:
    export(StoredStudent.of(student), tmp_path, "huggingface")
    weights = load_file(tmp_path / "model.safetensors")
    absent = ("query.bias", "value.bias") if names == "v4" else ("q_bias", "v_bias")
    weights = {f"videomae.{name}": value for name, value in weights.items() if not name.endswith(absent)}
    assert len(weights) == len(student.encoder.state_dict()) + 2 * PARAMS.encoder.depth
    save_file(weights, tmp_path / "model.safetensors")
    tokens = smile_synth.load_encoder(tmp_path)(some_frames()).tokens
    torch.testing.assert_close(tokens, student.encode(normalise(some_frames())), atol=1e-6, rtol=0)


def test_hugging_faces_processor_makes_of_frames_what_the_encoder_sees(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    frames = some_frames(TokenGrid(4, 3, 3, 2, 16))
    square = build_student(PARAMS, TokenGrid(4, 3, 3, 2, 16), target_dim=10)
    export(StoredStudent.of(square), tmp_path, "huggingface")
    processor = transformers.VideoMAEImageProcessor.from_pretrained(tmp_path)
    theirs = processor(list(frames[0].numpy()), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(theirs[0], normalise(frames)[0].transpose(0, 1), atol=1e-5, rtol=0)


def test_a_fine_tuned_folder_gives_the_pooled_features_before_its_head(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.VideoMAEConfig(
        hidden_size=48, num_hidden_layers=1, num_attention_heads=4, intermediate_size=96, image_size=32, num_frames=4,
        use_mean_pooling=True, num_labels=5,
    )  # fmt: skip
    model = transformers.VideoMAEForVideoClassification(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(tmp_path)
    frames = some_frames(TokenGrid(2, 2, 2, 2, 16))
    with torch.no_grad():
        theirs = model(normalise(frames).transpose(1, 2)).logits
        ours = model.classifier(smile_synth.load_encoder(tmp_path)(frames).pooled)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
