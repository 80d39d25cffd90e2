from __future__ import annotations

import pytest
import torch
from torch import nn

from smile_synth.training.optimizer import build_adamw, decays


def adamw(model: nn.Module) -> torch.optim.AdamW:
    return build_adamw(model, learning_rate=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.05)


def test_biases_and_vectors_are_spared_from_decay() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    assert [decays(name, p) for name, p in model.named_parameters()] == [True, False, False, False]
    groups = adamw(model).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(1, 0.05), (3, 0.0)]


def test_update_equals_adamw_written_out() -> None:
    model = nn.Linear(1, 1, bias=False)
    start = model.weight.item()
    optimizer = adamw(model)
    (3 * model.weight).sum().backward()
    optimizer.step()
    # First update: both moments are unbiased to g and g squared, so the step is the sign of g.
    assert model.weight.item() == pytest.approx(start * (1 - 0.1 * 0.05) - 0.1, abs=1e-6)
