"""Targets and losses: the published numbers, and flat clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from smile_synth.errors import ModelError
from smile_synth.masking.grid import TokenGrid
from smile_synth.model.patches import patchify
from smile_synth.model.student import Prediction
from smile_synth.recipe.pretrain import MotionTargetParams, TargetParams
from smile_synth.teachers.backbone import Backbone
from smile_synth.teachers.teacher import Teacher
from smile_synth.training.objective import (
    Objective,
    defined_error,
    distance_to_hidden,
    error,
    pixel_target,
    standardise,
)

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
def test_standardised_features_have_mean_0_and_standard_deviation_1(how: str, dim: int) -> None:
    features = standardise(torch.randn(3, 128, 24) * 5 + 2, how)
    torch.testing.assert_close(features.mean(dim), torch.zeros_like(features.mean(dim)), atol=1e-5, rtol=0)
    torch.testing.assert_close(features.std(dim), torch.ones_like(features.std(dim)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("how", ["channel", "token"])
@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1234.567])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_features_that_do_not_vary_become_zero(how: str, value: float, dtype: torch.dtype) -> None:
    assert not standardise(torch.full((2, 128, 24), value, dtype=dtype), how).any()


def test_flat_black_clips_have_a_finite_target() -> None:
    objective = Objective(TargetParams(kind="both"), mean_colour_teacher(), GRID)
    targets = objective.targets(torch.zeros(1, 16, 64, 64, 3, dtype=torch.uint8))
    prediction = torch.randn(1, 96, objective.prediction_dim, requires_grad=True)
    loss, _ = objective.loss(Prediction(prediction), targets, first_tokens(1))
    loss.backward()
    assert loss.isfinite()
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()


def test_a_perfect_prediction_has_no_loss() -> None:
    objective = Objective(TargetParams(kind="both"), mean_colour_teacher(), GRID)
    frames, is_masked = some_frames(), first_tokens(2)
    targets = objective.targets(frames)
    assert targets.features_BND is not None
    assert targets.patches_BNPC is not None
    prediction = torch.cat([targets.features_BND, pixel_target(targets.patches_BNPC)], dim=2)[:, :96]
    loss, parts = objective.loss(Prediction(prediction), targets, is_masked)
    assert float(loss) == 0
    assert {name: float(value) for name, value in parts.items()} == {"features": 0, "pixels": 0}


def test_parts_are_weighted() -> None:
    params = TargetParams(kind="both", feature_weight=2.0, pixel_weight=0.5)
    objective = Objective(params, mean_colour_teacher(), GRID)
    prediction = torch.zeros(2, 96, objective.prediction_dim)
    loss, parts = objective.loss(Prediction(prediction), objective.targets(some_frames()), first_tokens(2))
    torch.testing.assert_close(loss, 2 * parts["features"] + 0.5 * parts["pixels"])


def test_several_masks_share_one_teacher_pass() -> None:
    teacher = mean_colour_teacher()
    backbone = teacher.backbone
    assert isinstance(backbone, MeanColour)
    objective = Objective(TargetParams(), teacher, GRID)
    before = backbone.calls
    targets = objective.targets(some_frames())
    for masked in (96, 64):
        objective.loss(Prediction(torch.zeros(2, masked, 3)), targets, first_tokens(2, masked), masked)
    assert backbone.calls == before + 1


def test_losses_are_what_their_names_say() -> None:
    predicted, target = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[3.0, 0.0]]])
    assert float(error(predicted, target, "mse")) == 8.0
    assert float(error(predicted, target, "smooth_l1")) == 1.75
    assert float(error(predicted, target, "cosine")) == pytest.approx(0.4)


def test_a_prediction_of_another_size_is_refused() -> None:
    objective = Objective(TargetParams(kind="pixels"), None, GRID)
    with pytest.raises(ModelError, match=r"predictions must be \(2, 96, 1536\), got \(2, 96, 7\)"):
        objective.loss(Prediction(torch.zeros(2, 96, 7)), objective.targets(some_frames()), first_tokens(2))


def test_a_teacher_must_be_there_when_needed_and_only_then() -> None:
    with pytest.raises(ModelError, match="needs a teacher"):
        Objective(TargetParams(), None, GRID)
    with pytest.raises(ModelError, match="has no use for a teacher"):
        Objective(TargetParams(kind="pixels"), mean_colour_teacher(), GRID)


def some_motion(clips: int = 2) -> Tensor:
    motion = torch.randn(clips, 16, 8, 8, 2, generator=torch.Generator().manual_seed(1))
    motion[:, -1] = torch.nan
    return motion


def test_a_perfect_motion_has_no_loss_on_either_kind_of_token() -> None:
    params = TargetParams(kind="both", motion=MotionTargetParams(cells=4), visible_weight=0.5)
    objective = Objective(params, mean_colour_teacher(), GRID, 2.0)
    targets = objective.targets(some_frames(), some_motion())
    features, patches, motion = targets
    assert features is not None
    assert patches is not None
    assert motion is not None
    hidden = torch.cat([features, pixel_target(patches)], dim=2)[:, :96]
    visible = torch.cat([features, motion], dim=2)[:, 96:]
    assert objective.heads.visible_dim == visible.shape[2] == 3 + 8
    loss, parts = objective.loss(Prediction(hidden, motion[:, :96], visible), targets, first_tokens(2))
    assert float(loss) == 0
    assert list(parts) == ["features", "pixels", "motion_hidden", "motion_visible", "features_visible"]


def test_motion_losses_are_weighted_means_of_their_own_tokens() -> None:
    params = TargetParams(kind="pixels", pixel_weight=None, motion=MotionTargetParams(weight=3.0))
    objective = Objective(params, None, GRID, 0.5)
    targets = objective.targets(some_frames(), some_motion())
    assert targets.motion_BND is not None
    zeros = Prediction(torch.zeros(2, 96, 1536), torch.zeros(2, 96, 2), torch.zeros(2, 32, 2))
    loss, parts = objective.loss(zeros, targets, first_tokens(2))
    torch.testing.assert_close(parts["motion_hidden"], targets.motion_BND[:, :96].square().mean())
    torch.testing.assert_close(parts["motion_visible"], targets.motion_BND[:, 96:].square().mean())
    torch.testing.assert_close(loss, parts["pixels"] + 3 * (parts["motion_hidden"] + parts["motion_visible"]))


def test_undefined_motion_reaches_neither_loss_nor_gradient() -> None:
    target = torch.tensor([[[1.0, torch.nan], [torch.nan, torch.nan], [3.0, 5.0]]])
    predicted = torch.zeros(1, 3, 2, requires_grad=True)
    loss = defined_error(predicted, target, "mse")
    assert float(loss.detach()) == pytest.approx((1 + 9 + 25) / 3)
    loss.backward()
    assert predicted.grad is not None
    torch.testing.assert_close(predicted.grad, torch.tensor([[[-2.0, 0.0], [0.0, 0.0], [-6.0, -10.0]]]) / 3)
    nothing = defined_error(predicted, torch.full((1, 3, 2), torch.nan), "smooth_l1")
    nothing.backward()
    assert float(nothing.detach()) == 0


def test_motion_alone_needs_no_decoder_where_visible_tokens_predict_it() -> None:
    objective = Objective(TargetParams(kind="motion", motion=MotionTargetParams(tokens="visible")), None, GRID, 1.0)
    assert (objective.prediction_dim, objective.heads.motion_dim, objective.heads.visible_dim) == (0, 0, 2)
    targets = objective.targets(some_frames(), some_motion())
    _, parts = objective.loss(Prediction(visible_BVD=torch.zeros(2, 32, 2)), targets, first_tokens(2))
    assert list(parts) == ["motion_visible"]


def test_visible_features_count_less_far_from_what_is_hidden() -> None:
    grid = TokenGrid(1, 1, 5, 2, 16)
    visible, masked = torch.tensor([[1, 2, 3]]), torch.tensor([[0, 4]])
    assert distance_to_hidden(visible, masked, grid).tolist() == [[1, 2, 1]]
    found = []
    for falloff in ("none", "distance"):
        params = TargetParams(visible_weight=0.5, visible_falloff=falloff)
        objective = Objective(params, mean_colour_teacher(), GRID)
        targets = objective.targets(some_frames())
        zeros = Prediction(torch.zeros(2, 96, 3), None, torch.zeros(2, 32, 3))
        loss, parts = objective.loss(zeros, targets, first_tokens(2))
        torch.testing.assert_close(loss, parts["features"] + 0.5 * parts["features_visible"])
        found.append(float(parts["features_visible"]))
    assert found[1] < found[0]


def test_motion_that_is_not_given_is_asked_for() -> None:
    objective = Objective(TargetParams(kind="motion"), None, GRID, 1.0)
    with pytest.raises(ModelError, match="give the clips' motion beside their frames"):
        objective.targets(some_frames())
    with pytest.raises(ModelError, match="standard deviation must be given"):
        Objective(TargetParams(kind="motion"), None, GRID)


def test_predicting_the_mean_of_standardised_targets_loses_their_variance() -> None:
    frames, is_masked = some_frames(), first_tokens(2)
    pixels = Objective(TargetParams(kind="pixels"), None, GRID)
    assert float(pixels.loss_of_mean(pixels.targets(frames), is_masked, 96)) == pytest.approx(1, abs=3e-3)
    flat = torch.full_like(frames, 9)
    assert float(pixels.loss_of_mean(pixels.targets(flat), is_masked, 96)) == pytest.approx(0, abs=1e-6)
    both = Objective(TargetParams(kind="both", feature_weight=0.5, pixel_weight=3.0), mean_colour_teacher(), GRID)
    targets = both.targets(frames)
    hidden = targets.features_BND
    assert hidden is not None
    expected = 0.5 * float(hidden[:, :96].square().mean()) + 3 * (1 - 1 / 512)
    assert float(both.loss_of_mean(targets, is_masked, 96)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"loss": "smooth_l1", "standardise": "token"}, True),
        ({"standardise": "none"}, False),
        ({"loss": "cosine"}, False),
        ({"kind": "both", "loss": "cosine"}, False),
    ],
)
def test_zero_is_the_mean_of_standardised_features_alone(changes: dict[str, Any], expected: bool) -> None:
    assert Objective(TargetParams(**changes), mean_colour_teacher(), GRID).has_zero_mean is expected


def test_predicting_that_nothing_moves_loses_the_motions_variance_weighted() -> None:
    params = MotionTargetParams(tokens="all", weight=2.0)
    objective = Objective(TargetParams(kind="pixels", motion=params), None, GRID, motion_std=2.0)
    flat, motion = torch.zeros_like(some_frames()), torch.full((2, 16, 8, 8, 2), 4.0)
    found = objective.loss_of_mean(objective.targets(flat, motion), first_tokens(2), 96)
    # Hidden and visible tokens each lose (4 / 2)^2, times the weight; flat pixels lose nothing.
    assert float(found) == pytest.approx(2 * (4 + 4), abs=1e-3)
