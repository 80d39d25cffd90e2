"""Batch norms folded into convolutions."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from smile_synth.recipe.pretrain import TeacherParams
from smile_synth.teachers.batch_norm import fold_batch_norms
from smile_synth.teachers.libraries import build_backbone


def with_statistics(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    for tensor in (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data):
        tensor.uniform_(0.5, 2.0)
    return norm


def test_the_function_stays_the_same_and_no_norm_is_left() -> None:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv2d(6, 4, 1), with_statistics(nn.BatchNorm2d(4)), nn.ReLU())
    network = nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), with_statistics(nn.BatchNorm2d(6)), inner).eval()
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        expected = network(images)
        fold_batch_norms(network)
        torch.testing.assert_close(network(images), expected, atol=1e-5, rtol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_the_offline_teacher_has_its_norms_folded(tmp_path: Path) -> None:
    backbone = build_backbone(TeacherParams(library="efficientnet_lite0"), folder=tmp_path)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())
