"""AdamW with the published parameter groups, and its state by parameter name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

from smile_synth.errors import CheckpointError

STATE_TENSORS = ("exp_avg", "exp_avg_sq", "step")


def decays(name: str, parameter: torch.Tensor) -> bool:
    """Tell whether weight decay applies: not to biases nor to anything one-dimensional.

    Source: VideoMAE's parameter groups.
    """
    return parameter.ndim > 1 and not name.endswith(".bias")


def build_adamw(
    model: nn.Module, *, learning_rate: float, betas: tuple[float, float], eps: float, weight_decay: float
) -> torch.optim.AdamW:
    """Return AdamW over ``model`` in two groups, with and without weight decay; fused where the device has it.

    Args:
        model: its parameters that require gradients are trained.
        learning_rate: the first step's; the schedule sets it anew at every step.
        betas, eps, weight_decay: as in AdamW.
    """
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for n, p in named if decays(n, p)], "weight_decay": weight_decay},
        {"params": [p for n, p in named if not decays(n, p)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=learning_rate, betas=betas, eps=eps, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in one piece on the CPU, gathered from all ranks where it is sharded."""
    if isinstance(tensor, DTensor):
        tensor = tensor.full_tensor()
    return tensor.detach().cpu().clone()


def like(value: torch.Tensor, example: torch.Tensor) -> torch.Tensor:
    """Return a whole CPU tensor placed and sharded as ``example`` is."""
    if isinstance(example, DTensor):
        moved = value.to(example.device)
        return distribute_tensor(moved, example.device_mesh, example.placements, src_data_rank=None)
    return value.to(example.device, copy=True)


def optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, torch.Tensor]]:
    """Return AdamW's moments by parameter name, whole and on the CPU; every rank must call it."""
    return {
        name: {key: whole(value) for key, value in optimizer.state[p].items()}
        for name, p in model.named_parameters()
        if p in optimizer.state
    }


def load_optimizer_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Mapping[str, Any]]
) -> None:
    """Set AdamW's moments from ``optimizer_state``, sharded as the parameters are.

    Raises:
        CheckpointError: a parameter has no moments in ``state``, or there are some for none.
    """
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    _check_names(parameters, state)
    for name, values in state.items():
        p = parameters[name]
        optimizer.state[p] = {
            key: value.to(p.device, copy=True) if value.ndim == 0 else like(value, p) for key, value in values.items()
        }


def _check_names(known: Iterable[str], given: Iterable[str]) -> None:
    missing, stray = sorted(set(known) - set(given)), sorted(set(given) - set(known))
    if missing or stray:
        example = (missing or stray)[0]
        what = "lacks" if missing else "has too many"
        raise CheckpointError(
            f"the checkpoint's optimizer {what} {len(missing or stray)} parameters, such as {example!r}; "
            f"it belongs to another model"
        )
