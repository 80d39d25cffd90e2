"""The student: the published numbers, any size, and what must not change them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from smile_synth.errors import ModelError
from smile_synth.masking.grid import TokenGrid
from smile_synth.model import Student, StudentShape, build_student
from smile_synth.model.student import EXTRA_WEIGHTS, ExtraHeads
from smile_synth.recipe.student import StudentParams, Transformer
from smile_synth.scene import Canvas

GOLDEN = Path(__file__).parents[1] / "golden"
GRID = TokenGrid(8, 4, 4, 2, 16)
# The student whose numbers the public SMILE implementation (commit ba5c369) computed.
PUBLISHED = StudentShape(Transformer(96, 3, 3), Transformer(48, 2, 3), 4.0, GRID, 40)
TINY = StudentParams(size="tiny", width=48, depth=3, heads=3, decoder_width=24, decoder_depth=1, decoder_heads=2)


@pytest.fixture
def published() -> Student:
    student = Student(PUBLISHED)
    student.load_state_dict(load_file(GOLDEN / "student_tiny.safetensors"), strict=True)
    return student


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(GOLDEN / "student_tiny_io.npz") as arrays:
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


def random_mask(clips: int, grid: TokenGrid, masked: int) -> Tensor:
    order = torch.rand(clips, grid.num_tokens, generator=torch.Generator().manual_seed(0)).argsort(dim=1)
    return order < masked


def test_published_weights_load_without_a_stray_or_missing_key() -> None:
    assert set(Student(PUBLISHED).state_dict()) == set(load_file(GOLDEN / "student_tiny.safetensors"))


def test_published_outputs_loss_and_gradients_are_met(published: Student, golden: dict[str, Tensor]) -> None:
    video, is_masked = golden["video_BCTHW"], golden["is_masked_BN"]
    torch.testing.assert_close(published.encode(video, is_masked), golden["encoder_out"], atol=1e-5, rtol=0)
    prediction = published(video, is_masked).hidden_BMD
    torch.testing.assert_close(prediction, golden["prediction"], atol=1e-5, rtol=0)
    loss = ((prediction - golden["target"]) ** 2).mean()
    assert float(loss.detach()) == pytest.approx(float(golden["loss"]), abs=1e-6)
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in published.named_parameters()}
    checked = [name.removeprefix("grad.") for name in golden if name.startswith("grad.")]
    assert len(checked) == 6
    for name in checked:
        torch.testing.assert_close(gradients[name], golden[f"grad.{name}"], atol=1e-5, rtol=0)


def test_gathering_before_the_embedding_equals_a_3d_convolution(published: Student, golden: dict[str, Tensor]) -> None:
    embed = published.encoder.patch_embed
    convolved = embed.proj(golden["video_BCTHW"]).flatten(2).transpose(1, 2)
    published.encoder.blocks, published.encoder.norm = torch.nn.ModuleList(), torch.nn.Identity()
    visible = published.encode(golden["video_BCTHW"], golden["is_masked_BN"])
    expected = (convolved + published.encoder.positions_1ND)[~golden["is_masked_BN"]].view_as(visible)
    torch.testing.assert_close(visible, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("size", "millions"), [("tiny", 5.6), ("small", 22.0), ("base", 86.2), ("large", 303.9), ("huge", 631.7)]
)
def test_encoders_have_the_usual_number_of_parameters(size: str, millions: float) -> None:
    grid = TokenGrid.of(Canvas(224, 224, 16), tubelet_size=2, patch_size=16)
    with torch.device("meta"):
        student = Student(StudentShape.of(StudentParams(size=size), grid, 768))
    counted = sum(parameter.numel() for parameter in student.encoder.parameters())
    assert counted / 1e6 == pytest.approx(millions, rel=0.02)


@pytest.mark.parametrize(
    ("canvas", "tubelet", "patch"),
    [(Canvas(24, 40, 6), 3, 8), (Canvas(14, 28, 4), 1, 7), (Canvas(32, 32, 8), 8, 16), (Canvas(96, 64, 2), 2, 32)],
)
def test_any_patch_tubelet_frame_count_and_size_trains(canvas: Canvas, tubelet: int, patch: int) -> None:
    grid = TokenGrid.of(canvas, tubelet_size=tubelet, patch_size=patch)
    params = StudentParams(**TINY.model_dump() | {"tubelet_size": tubelet, "patch_size": patch})
    student = build_student(params, grid, target_dim=5)
    masked = grid.num_tokens // 2
    video = torch.randn(2, 3, canvas.num_frames, canvas.height, canvas.width)
    prediction = student(video, random_mask(2, grid, masked), masked).hidden_BMD
    assert prediction.shape == (2, masked, 5)
    prediction.square().mean().backward()
    assert all(parameter.grad is not None for parameter in student.parameters())


def test_activation_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        params = StudentParams(**TINY.model_dump() | {"activation_checkpointing": checkpointing})
        student = build_student(params, GRID, target_dim=5)
        student(torch.ones(2, 3, 16, 64, 64), random_mask(2, GRID, 100)).hidden_BMD.square().mean().backward()
        gradients.append([parameter.grad for parameter in student.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_hidden_pixels_do_not_reach_the_encoder() -> None:
    student = build_student(TINY, GRID, target_dim=5)
    is_masked, video = random_mask(1, GRID, 100), torch.randn(1, 3, 16, 64, 64)
    hidden = is_masked.view(8, 4, 4).repeat_interleave(2, 0).repeat_interleave(16, 1).repeat_interleave(16, 2)
    other = torch.where(hidden, torch.randn_like(video), video)
    assert torch.equal(student.encode(video, is_masked), student.encode(other, is_masked))


def test_shape_survives_as_plain_values() -> None:
    assert StudentShape.from_dict(PUBLISHED.to_dict()) == PUBLISHED
    with pytest.raises(ModelError, match="not the shape of a student"):
        StudentShape.from_dict({"encoder": {"width": 3}})


def test_masks_that_hide_different_numbers_are_refused() -> None:
    is_masked = torch.zeros(2, GRID.num_tokens, dtype=torch.bool)
    is_masked[0, :5] = True
    with pytest.raises(ModelError, match="the same number of tokens, between 1 and 127, got 0, 5"):
        build_student(TINY, GRID, 5)(torch.zeros(2, 3, 16, 64, 64), is_masked)


def test_a_video_of_another_size_is_refused() -> None:
    with pytest.raises(ModelError, match=r"video must be \(B, 3, 16, 64, 64\), got \(1, 3, 16, 64, 32\)"):
        build_student(TINY, GRID, 5).encode(torch.zeros(1, 3, 16, 64, 32))


def test_drop_path_grows_evenly_with_depth() -> None:
    student = build_student(StudentParams(**TINY.model_dump() | {"drop_path": 0.5}), GRID, target_dim=5)
    assert [block.drop_path for block in student.encoder.blocks] == [0.0, 0.25, 0.5]
    assert [block.drop_path for block in student.decoder.blocks] == [0.0]


def test_unknown_positions_of_a_file_are_refused() -> None:
    values = PUBLISHED.to_dict()
    assert StudentShape.from_dict(values) == PUBLISHED
    with pytest.raises(ModelError, match="positions are flat or separable, got 'rotary'"):
        StudentShape.from_dict(values | {"positions": "rotary"})


@pytest.mark.parametrize(
    ("target_dim", "heads", "absent"),
    [
        (5, ExtraHeads(visible_dim=2, motion_dim=2), {"motion_decoder"}),
        (5, ExtraHeads(motion_dim=8, motion_decoder_depth=2), {"visible_head", "motion_head"}),
        (0, ExtraHeads(visible_dim=2, motion_dim=2), {"motion_decoder"}),
        (0, ExtraHeads(visible_dim=2, motion_dim=2, motion_decoder_depth=2), {"decoder", "motion_head"}),
        (0, ExtraHeads(visible_dim=2), {"decoder", "motion_decoder", "motion_head"}),
    ],
)
def test_extra_heads_predict_what_they_are_for_and_nothing_is_idle(
    target_dim: int, heads: ExtraHeads, absent: set[str]
) -> None:
    student = build_student(TINY, GRID, target_dim, heads)
    prediction = student(torch.randn(2, 3, 16, 64, 64), random_mask(2, GRID, 100), 100)
    shapes = [None if part is None else tuple(part.shape) for part in prediction]
    expected = [(2, 100, target_dim), (2, 100, heads.motion_dim), (2, 28, heads.visible_dim)]
    assert shapes == [shape if shape[2] else None for shape in expected]
    torch.cat([part.flatten() for part in prediction if part is not None]).square().mean().backward()
    assert [name for name, p in student.named_parameters() if p.grad is None] == []
    parts = {name.split(".")[0] for name in student.state_dict()}
    assert not parts & absent
    assert StudentShape.from_dict(student.shape.to_dict()) == student.shape


def test_extra_heads_leave_published_names_and_sizes_as_they_are() -> None:
    students = []
    for heads in (ExtraHeads(), ExtraHeads(2, 2, 2)):
        torch.manual_seed(0)
        students.append(build_student(TINY, GRID, 5, heads).state_dict())
    plain, extra = students
    assert {name for name in extra if not name.startswith(EXTRA_WEIGHTS)} == set(plain)
    assert all(value.shape == extra[name].shape for name, value in plain.items())


def test_shapes_of_earlier_versions_have_no_extra_heads() -> None:
    values = PUBLISHED.to_dict()
    del values["heads"]
    assert StudentShape.from_dict(values) == PUBLISHED
