"""Targets and losses: the published numbers, and flat clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from smile_synth.errors import ModelError
from smile_synth.masking.grid import TokenGrid
from smile_synth.model.patches import patchify
from smile_synth.recipe.pretrain import TargetParams
from smile_synth.teachers.backbone import Backbone
from smile_synth.teachers.teacher import Teacher
from smile_synth.training.objective import Objective, build_objective, error, pixel_target, standardise

GRID = TokenGrid(8, 4, 4, 2, 16)
# Targets that the public SMILE implementation (commit ba5c369) computed.
GOLDEN = Path(__file__).parents[1] / "golden" / "targets.npz"


class MeanColour(Backbone):
    """Gives the mean colour of every 16 x 16 pixels, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__((0.0,) * 3, (1.0,) * 3, None)
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.calls = 0

    def forward(self, images_BCHW: Tensor) -> Tensor:
        self.calls += 1
        return torch.nn.functional.avg_pool2d(images_BCHW, 16)


def mean_colour_teacher() -> Teacher:
    return Teacher(MeanColour(), GRID, image_size=(64, 64))


def some_frames(clips: int = 2) -> Tensor:
    return torch.randint(0, 256, (clips, 16, 64, 64, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def first_tokens(clips: int, masked: int = 96) -> Tensor:
    return (torch.arange(GRID.num_tokens) < masked).expand(clips, -1)


def test_published_feature_targets_are_met() -> None:
    with np.load(GOLDEN) as arrays:
        found = standardise(torch.from_numpy(arrays["features_BND"]), "channel")
        torch.testing.assert_close(found, torch.from_numpy(arrays["feature_target_BND"]), atol=1e-4, rtol=0)


def test_published_pixel_targets_are_met() -> None:
    with np.load(GOLDEN) as arrays:
        video = torch.from_numpy(arrays["video01_BCTHW"]).float()
        target = pixel_target(patchify(video.permute(0, 2, 3, 4, 1), GRID))
        expected = torch.from_numpy(arrays["pixel_target_first_16_tokens"])
        torch.testing.assert_close(target[0, :16], expected, atol=1e-4, rtol=0)
        assert float(target.abs().mean()) == pytest.approx(float(arrays["pixel_target_mean_abs"]), abs=1e-4)


@pytest.mark.parametrize(("how", "dim"), [("channel", 1), ("token", 2)])
def test_standardised_features_have_mean_0_and_deviation_1(how: str, dim: int) -> None:
    features = standardise(torch.randn(3, 128, 24) * 5 + 2, how)
    torch.testing.assert_close(features.mean(dim), torch.zeros_like(features.mean(dim)), atol=1e-5, rtol=0)
    torch.testing.assert_close(features.std(dim), torch.ones_like(features.std(dim)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("how", ["channel", "token"])
@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1234.567])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_features_that_do_not_vary_become_zero(how: str, value: float, dtype: torch.dtype) -> None:
    assert not standardise(torch.full((2, 128, 24), value, dtype=dtype), how).any()


def test_flat_black_clips_have_a_finite_target() -> None:
    objective = build_objective(TargetParams(kind="both"), mean_colour_teacher(), GRID)
    targets = objective.targets(torch.zeros(1, 16, 64, 64, 3, dtype=torch.uint8))
    prediction = torch.randn(1, 96, objective.prediction_dim, requires_grad=True)
    loss, _ = objective.loss(prediction, targets, first_tokens(1))
    loss.backward()
    assert loss.isfinite()
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()


def test_a_perfect_prediction_has_no_loss() -> None:
    objective = build_objective(TargetParams(kind="both"), mean_colour_teacher(), GRID)
    frames, is_masked = some_frames(), first_tokens(2)
    targets = objective.targets(frames)
    assert targets.features_BND is not None
    assert targets.patches_BNPC is not None
    prediction = torch.cat([targets.features_BND, pixel_target(targets.patches_BNPC)], dim=2)[:, :96]
    loss, parts = objective.loss(prediction, targets, is_masked)
    assert float(loss) == 0
    assert {name: float(value) for name, value in parts.items()} == {"features": 0, "pixels": 0}


def test_parts_are_weighted() -> None:
    params = TargetParams(kind="both", feature_weight=2.0, pixel_weight=0.5)
    objective = build_objective(params, mean_colour_teacher(), GRID)
    prediction = torch.zeros(2, 96, objective.prediction_dim)
    loss, parts = objective.loss(prediction, objective.targets(some_frames()), first_tokens(2))
    torch.testing.assert_close(loss, 2 * parts["features"] + 0.5 * parts["pixels"])


def test_several_masks_share_one_teacher_pass() -> None:
    teacher = mean_colour_teacher()
    backbone = teacher.backbone
    assert isinstance(backbone, MeanColour)
    objective = Objective(TargetParams(), teacher, GRID)
    before = backbone.calls
    targets = objective.targets(some_frames())
    for masked in (96, 64):
        objective.loss(torch.zeros(2, masked, 3), targets, first_tokens(2, masked), masked)
    assert backbone.calls == before + 1


def test_losses_are_what_their_names_say() -> None:
    predicted, target = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[3.0, 0.0]]])
    assert float(error(predicted, target, "mse")) == 8.0
    assert float(error(predicted, target, "smooth_l1")) == 1.75
    assert float(error(predicted, target, "cosine")) == pytest.approx(0.4)


def test_a_prediction_of_another_size_is_refused() -> None:
    objective = build_objective(TargetParams(kind="pixels"), None, GRID)
    with pytest.raises(ModelError, match=r"predictions must be \(2, 96, 1536\), got \(2, 96, 7\)"):
        objective.loss(torch.zeros(2, 96, 7), objective.targets(some_frames()), first_tokens(2))


def test_a_teacher_must_be_there_when_needed_and_only_then() -> None:
    with pytest.raises(ModelError, match="needs a teacher"):
        build_objective(TargetParams(), None, GRID)
    with pytest.raises(ModelError, match="has no use for a teacher"):
        build_objective(TargetParams(kind="pixels"), mean_colour_teacher(), GRID)
