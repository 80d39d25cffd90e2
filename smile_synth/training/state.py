"""Weights, moving average and moments: gathered whole on the first rank's host, and set from there on every rank."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from smile_synth.errors import CheckpointError

Moments = Mapping[str, Mapping[str, Tensor]]


class MovingAverage(nn.Module):
    """A moving average of a model's parameters, under the same names and sharded alike.

    Args:
        model: on its device, and sharded where it will be; the average starts at its weights.
        decay: of the average, per update.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = decay
        for name, p in model.named_parameters():
            *path, leaf = name.split(".")
            module: nn.Module = self
            for part in path:
                if part not in module._modules:
                    module.add_module(part, nn.Module())
                module = module.get_submodule(part)
            module.register_parameter(leaf, nn.Parameter(p.detach().clone(), requires_grad=False))

    @torch.no_grad()
    def follow(self, model: nn.Module) -> None:
        """Take one step towards the model's weights."""
        mine = [local(p) for p in self.parameters()]
        theirs = dict(model.named_parameters())
        torch._foreach_lerp_(mine, [local(theirs[name]) for name, _ in self.named_parameters()], 1 - self.decay)

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Exchange the average and the model's weights; a second time puts both back, bit-exact."""
        theirs = dict(model.named_parameters())
        for name, p in self.named_parameters():
            mine, other = local(p), local(theirs[name])
            kept = other.clone()
            other.copy_(mine)
            mine.copy_(kept)


def local(tensor: Tensor) -> Tensor:
    """Return this rank's part of a tensor that may be sharded."""
    return cast(Tensor, tensor.to_local()) if hasattr(tensor, "to_local") else tensor


def model_state(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's weights by name, whole and on the CPU of the first rank; empty on the others.

    Every rank must call it. Without a process group the tensors may be the model's own.
    """
    return cast(dict[str, Tensor], get_model_state_dict(model, options=_gather()))


def load_model_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Set a model's weights on every rank from the first rank's ``state``; every rank must call it."""
    set_model_state_dict(model, dict(state), options=_spread())


def optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Tensor]]:
    """Return AdamW's moments by parameter name, whole and on the CPU of the first rank; empty on the others.

    Every rank must call it. An optimizer that has done no step has none.
    """
    if not optimizer.state:
        return {}  # torch would begin them by a step, which AdamW counts
    state = get_optimizer_state_dict(model, optimizer, options=_gather())
    return cast(dict[str, dict[str, Tensor]], state.get("state", {}))


def load_optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer, state: Moments) -> None:
    """Set AdamW's moments on every rank from the first rank's ``state``; every rank must call it."""
    names = {p: name for name, p in model.named_parameters()}
    groups = [{**group, "params": [names[p] for p in group["params"]]} for group in optimizer.param_groups]
    moments = {name: dict(values) for name, values in state.items()}
    full: dict[str, Any] = {"state": moments, "param_groups": groups}
    set_optimizer_state_dict(model, optimizer, full if _is_first() else {}, options=_spread())


def check_weights(model: nn.Module, state: Mapping[str, Tensor], what: str = "weight") -> None:
    """Refuse weights that are not this model's.

    Raises:
        CheckpointError: a name is absent, too many, or a tensor has another shape.
    """
    own = model.state_dict()
    odd = sorted(set(own) ^ set(state))
    if odd:
        where = "the checkpoint" if odd[0] in own else "the recipe's student"
        raise CheckpointError(f"{len(odd)} {what}s do not match, such as {odd[0]!r}, which {where} does not have")
    for name, value in own.items():
        if tuple(value.shape) != tuple(state[name].shape):
            raise CheckpointError(
                f"{what} {name!r} has shape {tuple(state[name].shape)} in the checkpoint and {tuple(value.shape)} "
                f"in the recipe's student; resume with the recipe that the run was started with"
            )


def check_moments(model: nn.Module, state: Iterable[str]) -> None:
    """Refuse moments that are not this model's; their shapes are those of the checkpoint's weights.

    Raises:
        CheckpointError: a parameter has no moments in ``state``, or there are some for none.
    """
    known, given = {name for name, p in model.named_parameters() if p.requires_grad}, set(state)
    missing, stray = sorted(known - given), sorted(given - known)
    if missing or stray:
        example = (missing or stray)[0]
        what = "lacks" if missing else "has too many"
        raise CheckpointError(
            f"the checkpoint's optimizer {what} {len(missing or stray)} parameters, such as {example!r}; "
            f"it belongs to another model"
        )


def _gather() -> StateDictOptions:
    return StateDictOptions(full_state_dict=True, cpu_offload=True)


def _spread() -> StateDictOptions:
    return StateDictOptions(full_state_dict=True, broadcast_from_rank0=dist.is_initialized())


def _is_first() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0
