"""AdamW with the published parameter groups."""

from __future__ import annotations

import torch
from torch import nn


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
        learning_rate: the first step's; the schedule sets it at every step.
        betas, eps, weight_decay: as in AdamW.
    """
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for n, p in named if decays(n, p)], "weight_decay": weight_decay},
        {"params": [p for n, p in named if not decays(n, p)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=learning_rate, betas=betas, eps=eps, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group: ``rate``, times the group's ``lr_scale`` where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
