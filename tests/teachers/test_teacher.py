"""Teachers: frozen, on the student's grid, seeing the frames and the pixels that they are told to."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from smile_synth.errors import ModelError
from smile_synth.masking.grid import TokenGrid
from smile_synth.model.patches import IMAGENET_MEAN
from smile_synth.recipe.pretrain import TeacherParams
from smile_synth.teachers.backbone import CLIP_MEAN
from smile_synth.teachers.teacher import Teacher, build_teacher

GRID = TokenGrid(2, 4, 4, 2, 16)
TINY_CLIP = "test-tiny-quickgelu"


def some_frames(grid: TokenGrid = GRID, clips: int = 2) -> Tensor:
    canvas = grid.canvas
    size = (clips, canvas.num_frames, canvas.height, canvas.width, 3)
    return torch.randint(0, 256, size, generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.fixture(scope="module")
def lite0() -> Teacher:
    return build_teacher(TeacherParams(library="efficientnet_lite0"), GRID)


def test_efficientnet_lite0_at_stride_16_meets_the_students_grid(lite0: Teacher) -> None:
    assert lite0.width == 112
    assert lite0(some_frames()).shape == (2, 32, 112)


def test_a_teacher_is_frozen(lite0: Teacher) -> None:
    assert not lite0.train().training
    assert not any(parameter.requires_grad for parameter in lite0.parameters())
    assert not lite0(some_frames()).requires_grad


def test_the_first_the_middle_or_all_frames_of_a_tubelet_are_seen(lite0: Teacher) -> None:
    frames = some_frames()
    of = {"image_size": (64, 64)}
    first, middle, average = (Teacher(lite0.backbone, GRID, frames=how, **of) for how in ("first", "middle", "average"))
    both = (first(frames) + middle(frames)) / 2
    torch.testing.assert_close(average(frames), both)
    assert torch.equal(middle(frames), first(frames.roll(-1, dims=1)))


def test_another_normalisation_is_a_named_choice() -> None:
    own, other = (
        build_teacher(TeacherParams(library="timm", model="resnet18", pretrained="random", normalisation=kind), GRID)
        for kind in ("own", "clip")
    )
    torch.testing.assert_close(own.mean.flatten(), torch.tensor(IMAGENET_MEAN))
    torch.testing.assert_close(other.mean.flatten(), torch.tensor(CLIP_MEAN))


def test_features_of_another_grid_are_resized_or_refused() -> None:
    params = TeacherParams(library="timm", model="resnet18", pretrained="random")
    teacher = build_teacher(params, GRID)
    frames = some_frames()
    assert teacher(frames).shape == (2, 32, 512)
    exact = params.model_copy(update={"grid": "exact"})
    with pytest.raises(ModelError, match=r"sees 64 x 64 pixels as 2 x 2 tokens, the student has 4 x 4: set"):
        build_teacher(exact, GRID)
    fitting = exact.model_copy(update={"image_size": 128})
    assert build_teacher(fitting, GRID)(frames).shape == (2, 32, 512)


def test_bfloat16_is_close_to_float32() -> None:
    params = TeacherParams(library="efficientnet_lite0")
    whole, half = (
        build_teacher(params.model_copy(update={"precision": kind}), GRID)(some_frames()).float()
        for kind in ("float32", "bfloat16")
    )
    assert torch.nn.functional.cosine_similarity(whole, half, dim=-1).mean() > 0.99


def test_clips_of_another_length_are_refused(lite0: Teacher) -> None:
    with pytest.raises(ModelError, match="clips must have 4 frames, got 6"):
        lite0(torch.zeros(1, 6, 64, 64, 3, dtype=torch.uint8))


def test_a_model_that_cannot_serve_says_what_to_change() -> None:
    params = TeacherParams(library="timm", model="hiera_tiny_224", pretrained="random")
    with pytest.raises(ModelError, match=r"cannot give features .*: choose another teacher.image_size, or name a"):
        build_teacher(params, GRID)


def test_frames_are_fitted_to_the_teachers_stride() -> None:
    params = TeacherParams(library="timm", model="resnet18", pretrained="random")
    grid = TokenGrid(2, 7, 5, 2, 16)
    assert build_teacher(params, grid).image_size == (128, 96)
    with pytest.raises(ModelError, match="must be a multiple of 32, the teacher's stride, got 100"):
        build_teacher(params.model_copy(update={"image_size": 100}), grid)
