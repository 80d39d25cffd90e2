from __future__ import annotations

import pytest
import torch
from torch import nn

from smile_synth.errors import CheckpointError
from smile_synth.training.optimizer import build_adamw, decays, load_optimizer_state, optimizer_state


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


def test_moments_come_back_by_name() -> None:
    model = nn.Linear(3, 2)
    optimizer = adamw(model)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = optimizer_state(model, optimizer)
    other = adamw(model)
    load_optimizer_state(model, other, state)
    assert torch.equal(other.state[model.weight]["exp_avg"], optimizer.state[model.weight]["exp_avg"])
    assert other.state[model.bias]["step"] == 1


def test_moments_of_another_model_are_refused() -> None:
    with pytest.raises(CheckpointError, match="lacks 2 parameters, such as 'bias'"):
        load_optimizer_state(nn.Linear(3, 2), adamw(nn.Linear(3, 2)), {})
