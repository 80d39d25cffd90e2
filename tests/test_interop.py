"""Students from and to files: round trips through every form."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import smile_synth
from smile_synth.encoder import random_like
from smile_synth.errors import ModelError, WeightsError
from smile_synth.grid import TokenGrid
from smile_synth.interop import EXPORT_FORMATS, ExportFormat, export, read_student
from smile_synth.model import Student, build_student, normalise
from smile_synth.model.classifier import Classifier
from smile_synth.pretrain_params import StudentParams
from smile_synth.stored_student import Sizes, StoredStudent

GRID = TokenGrid(4, 3, 4, 2, 16)
PARAMS = StudentParams(size="tiny", depth=2, decoder_depth=1)
GOLDEN = Path(__file__).parent / "golden" / "student_tiny.safetensors"


@pytest.fixture(scope="module")
def student() -> Student:
    torch.manual_seed(0)
    student = build_student(PARAMS, GRID, target_dim=10)
    for parameter in student.parameters():
        # Biases start at zero: a form that loses them must be caught.
        torch.nn.init.normal_(parameter, std=0.1)
    return student


def some_frames(grid: TokenGrid = GRID) -> Tensor:
    canvas = grid.canvas
    size = (2, canvas.num_frames, canvas.height, canvas.width, 3)
    return torch.randint(0, 256, size, generator=torch.Generator().manual_seed(0)).to(torch.uint8)


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


def test_the_golden_student_is_read_without_our_metadata() -> None:
    stored = read_student(GOLDEN, Sizes(heads=3, image_size=64))
    assert stored.shape.encoder == (96, 3, 3)
    assert (stored.shape.decoder.width, stored.shape.decoder.depth, stored.shape.target_dim) == (48, 2, 40)
    with pytest.raises(WeightsError, match="how many attention heads its encoder of width 96 has: give heads"):
        read_student(GOLDEN)


def test_a_fine_tuned_file_gives_the_pooled_features_before_its_head(student: Student, tmp_path: Path) -> None:
    classifier = Classifier(student.shape, num_classes=5)
    torch.nn.init.normal_(classifier.fc_norm.weight)
    torch.save({"module": classifier.state_dict()}, tmp_path / "fine-tuned.pth")
    encoder = smile_synth.load_encoder(tmp_path / "fine-tuned.pth", num_frames=8, image_size=(48, 64))
    scores = classifier.head(encoder(some_frames()).pooled)
    torch.testing.assert_close(scores, classifier(normalise(some_frames())))


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


def test_an_encoder_alone_cannot_be_trained_on(student: Student, tmp_path: Path) -> None:
    export(StoredStudent.of(student), tmp_path / "encoder.safetensors", "safetensors")
    with pytest.raises(WeightsError, match="holds an encoder without its decoder"):
        read_student(tmp_path / "encoder.safetensors").build_student()


def test_other_folders_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is neither a run"):
        read_student(tmp_path)
    save_file({"conv.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"holds no VideoMAE encoder .* it has encoder.conv.weight"):
        read_student(tmp_path / "other.safetensors")
    save_file({"x": torch.zeros(2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(WeightsError, match="describes no VideoMAE model with all its sizes, it describes 'bert'"):
        read_student(tmp_path)
