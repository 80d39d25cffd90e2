from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from smile_synth.errors import CheckpointError
from smile_synth.training.optimizer import build_adamw
from smile_synth.training.state import (
    MovingAverage,
    check_moments,
    check_weights,
    load_model_state,
    load_optimizer_state,
    model_state,
    optimizer_state,
)


def adamw(model: nn.Module) -> torch.optim.AdamW:
    return build_adamw(model, learning_rate=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.05)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_weights_of_another_shape_are_refused() -> None:
    other = {"weight": torch.zeros(3, 2), "bias": torch.zeros(3)}
    with pytest.raises(CheckpointError, match=r"'weight' has shape \(3, 2\) in the checkpoint and \(2, 3\)"):
        check_weights(nn.Linear(3, 2), other)


def test_weights_under_other_names_are_refused() -> None:
    with pytest.raises(CheckpointError, match="'bias', which the checkpoint does not have"):
        check_weights(nn.Linear(3, 2), {"weight": torch.zeros(2, 3)})


def test_weights_come_back_bit_for_bit() -> None:
    one, other = nn.Linear(3, 2), nn.Linear(3, 2)
    load_model_state(other, model_state(one))
    assert torch.equal(one.weight, other.weight)


def test_moments_come_back_by_name_and_change_no_weight() -> None:
    model, copy = nn.Linear(3, 2), nn.Linear(3, 2)
    optimizer, other = adamw(model), adamw(copy)
    step(model, optimizer)
    load_model_state(copy, model_state(model))
    before = copy.weight.detach().clone()
    load_optimizer_state(copy, other, deepcopy(optimizer_state(model, optimizer)))
    assert torch.equal(copy.weight, before)
    assert torch.equal(other.state[copy.weight]["exp_avg"], optimizer.state[model.weight]["exp_avg"])
    assert other.state[copy.bias]["step"] == 1
    step(model, optimizer)
    step(copy, other)
    assert torch.equal(copy.weight, model.weight)


def test_an_optimizer_that_did_nothing_has_no_moments_and_counts_no_step() -> None:
    model = nn.Linear(3, 2)
    optimizer = adamw(model)
    assert optimizer_state(model, optimizer) == {}
    step(model, optimizer)
    assert optimizer.state[model.bias]["step"] == 1


def test_moments_of_another_model_are_refused() -> None:
    with pytest.raises(CheckpointError, match="lacks 2 parameters, such as 'bias'"):
        check_moments(nn.Linear(3, 2), {})


def test_moving_average_follows_under_the_same_names() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    average = MovingAverage(model, 0.75)
    before = model_state(average)["0.weight"].clone()
    with torch.no_grad():
        model[0].weight.add_(1.0)
    average.follow(model)
    state = model_state(average)
    assert list(state) == list(model.state_dict())
    torch.testing.assert_close(state["0.weight"], before + 0.25)
