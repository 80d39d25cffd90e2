"""A model with AdamW and a moving average: what one update does to them, whatever the loss is."""

from __future__ import annotations

import hashlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from inspect import signature
from typing import Any, Generic, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from smile_synth.errors import CheckpointError
from smile_synth.recipe.pretrain import RuntimeParams
from smile_synth.training.device import pick_precision
from smile_synth.training.distributed import World
from smile_synth.training.optimizer import build_adamw, set_learning_rate
from smile_synth.training.stages import Stage
from smile_synth.training.state import (
    MovingAverage,
    check_moments,
    check_weights,
    load_model_state,
    load_optimizer_state,
    model_state,
    optimizer_state,
)


class Clips(Protocol):
    """Our share of a batch, on the device."""

    @property
    def first(self) -> int:
        """Place of our first clip in the global batch."""


StageT = TypeVar("StageT", bound=Stage)
ClipsT = TypeVar("ClipsT", bound=Clips)


@dataclass(frozen=True)
class Outcome:
    """What an update measured on this rank; tensors stay on the device until somebody looks.

    Args:
        loss: mean over our clips.
        gradient_norm: over all parameters and ranks, before clipping.
        parts: the loss's named parts, where it has several.
    """

    loss: Tensor
    gradient_norm: Tensor
    parts: dict[str, Tensor]


class Trainable(ABC, Generic[StageT, ClipsT]):
    """Holds what training changes: weights, their moving average, and AdamW's moments.

    Args:
        model: on the device; the same weights on all ranks. Its own names of weights stay as they are.
        world: the processes that train together.
        runtime: how the arithmetic is done.
        seed: of the run; every update's randomness comes from it.
        ema_decay: of the moving average per update; None for none.
        shard: whether weights and moments are divided over the ranks.
    """

    def __init__(
        self,
        model: nn.Module,
        world: World,
        runtime: RuntimeParams,
        seed: int,
        *,
        ema_decay: float | None,
        shard: bool,
    ) -> None:
        self.model, self.world, self.runtime, self.seed = model, world, runtime, seed
        self.precision = pick_precision(runtime.precision, world.device)
        self._forward = distribute(model, world, runtime, shard=shard)
        self._average = MovingAverage(model, ema_decay) if ema_decay else None
        self.optimizer: torch.optim.AdamW | None = None

    @abstractmethod
    def _accumulate(self, clips: ClipsT, stage: StageT, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Add up the gradients of all of ``clips``; returns the mean loss and its named parts, detached."""

    @abstractmethod
    def flops_per_clip(self, stage: StageT) -> float:
        """Return the FLOPs that training on one clip takes, forward and backward."""

    def build_optimizer(self, stage: StageT) -> torch.optim.AdamW:
        """Return AdamW as a stage wants it."""
        how = stage.optimizer
        return build_adamw(
            self.model, learning_rate=stage.rate(0), betas=how.betas, eps=how.eps, weight_decay=how.weight_decay
        )

    def start_stage(self, stage: StageT) -> None:
        """Begin a stage with fresh moments."""
        self.optimizer = self.build_optimizer(stage)

    def update(self, clips: ClipsT, stage: StageT, stage_step: int, step: int) -> Outcome:
        """Train on one batch.

        Args:
            clips: our share of it.
            stage: learning rates, clipping, and what else the loss wants to know.
            stage_step: updates done in this stage.
            step: updates done in all.

        Returns:
            Loss and gradient norm; the loss is this rank's own.
        """
        optimizer = cast(torch.optim.AdamW, self.optimizer)
        set_learning_rate(optimizer, stage.rate(stage_step))
        seed_torch(update_seed(self.seed, stage.name, step, clips.first), self.world.device)
        self.model.train()
        loss, parts = self._accumulate(clips, stage, step)
        norm = self._clip(stage.optimizer.clip_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if self._average is not None:
            self._average.follow(self.model)
        return Outcome(loss, norm, parts)

    def autocast(self) -> torch.autocast:
        """Return the context in which the model computes."""
        return torch.autocast(
            self.world.device.type, dtype=torch.bfloat16, enabled=self.precision == torch.bfloat16, cache_enabled=True
        )

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the model the weights of its moving average for a while, where there is one; on every rank."""
        self._swap_average()
        try:
            yield
        finally:
            self._swap_average()

    def _swap_average(self) -> None:
        if self._average is None:
            return
        if isinstance(self._forward, FSDPModule):
            # A forward pass without a backward one leaves the outermost weights whole.
            self._forward.reshard()
        self._average.swap(self.model)

    @contextmanager
    def _syncing(self, is_last: bool) -> Iterator[None]:
        """Exchange gradients between ranks in the last backward pass of an update only."""
        pause: AbstractContextManager[Any] = nullcontext()
        if isinstance(self._forward, DistributedDataParallel) and not is_last:
            pause = self._forward.no_sync()
        elif isinstance(self._forward, FSDPModule):
            self._forward.set_requires_gradient_sync(is_last)
        with pause:
            yield

    def _clip(self, largest: float | None) -> Tensor:
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([cast(Tensor, p.grad) for p in parameters])
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        if largest is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, largest, norm)
        return norm

    def state(self) -> dict[str, Any]:
        """Return weights, moving average and moments, whole, on the first rank's CPU; every rank must call it."""
        optimizer = self.optimizer
        return self.weights() | {
            "optimizer": optimizer_state(self.model, optimizer) if optimizer is not None else {},
        }

    def weights(self) -> dict[str, Any]:
        """Return weights and moving average, whole, on the first rank's CPU; every rank must call it."""
        average = self._average
        return {"model": model_state(self.model), "ema": model_state(average) if average is not None else None}

    def check_state(self, state: Mapping[str, Any], *, with_moments: bool) -> None:
        """Refuse what ``load_weights`` and ``load_moments`` could not take; for the first rank.

        Raises:
            CheckpointError: it belongs to another model.
        """
        check_weights(self.model, state["model"])
        if self._average is not None and state["ema"] is None:
            raise CheckpointError("the checkpoint has no moving average, and the recipe asks for one (ema_decay)")
        if with_moments:
            check_moments(self.model, state["optimizer"])

    def load_weights(self, state: Mapping[str, Any]) -> None:
        """Set weights and moving average from the first rank's ``state``; every rank must call it."""
        load_model_state(self.model, state.get("model", {}))
        if self._average is not None:
            load_model_state(self._average, state.get("ema", {}))

    def load_moments(self, state: Mapping[str, Any]) -> None:
        """Set AdamW's moments from the first rank's ``state``; after ``start_stage``, on every rank."""
        load_optimizer_state(self.model, cast(torch.optim.AdamW, self.optimizer), state.get("optimizer", {}))

    @property
    def num_parameters(self) -> int:
        """Parameters of the model."""
        return sum(p.numel() for p in self.model.parameters())


def update_seed(seed: int, purpose: str, step: int, first: int) -> int:
    """Return a seed for torch that depends on nothing but its arguments, so that no random state need be saved."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{step}/{first}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_torch(seed: int, device: torch.device) -> None:
    """Seed torch's global generators of the CPU and of ``device``.

    ``torch.manual_seed`` does it for all devices, and formats a stack trace for each that was never used.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def distribute(model: nn.Module, world: World, runtime: RuntimeParams, *, shard: bool) -> nn.Module:
    """Prepare a model for its processes and compile it where asked; returns what to call in training.

    Args:
        model: on the device; the same weights on all ranks. Where it is sharded, ``model.blocks`` are its parts.
        world: the processes.
        runtime: says how.
        shard: whether to divide weights and moments over the ranks.
    """
    if shard:
        return _shard(model, world, runtime)
    if _compiles(runtime, world):
        model.compile()
    if world.size == 1:
        return model
    devices = [world.device] if world.device.type == "cuda" else None
    # The model's buffers never change. PyTorch has given this option another name, and warns of the old one.
    known = signature(DistributedDataParallel.__init__).parameters
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {buffers: False}
    return DistributedDataParallel(model, device_ids=devices, gradient_as_bucket_view=True, **options)


def shards(runtime: RuntimeParams, world: World, *, is_large: bool) -> bool:
    """Tell whether weights and moments are divided over the ranks; ``auto`` divides large models on CUDA."""
    if runtime.sharding == "auto":
        return world.size > 1 and world.device.type == "cuda" and is_large
    return runtime.sharding == "shard" and world.size > 1


def _compiles(runtime: RuntimeParams, world: World) -> bool:
    return world.device.type == "cuda" if runtime.compile is None else runtime.compile


def _shard(model: nn.Module, world: World, runtime: RuntimeParams) -> nn.Module:
    # Nothing here changes the model's output in place, which is what this warning is about.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    mesh = torch.distributed.device_mesh.init_device_mesh(world.device.type, (world.size,))
    # Weights travel in the type that they are multiplied in; gradients are summed over the ranks in float32.
    is_low = pick_precision(runtime.precision, world.device) == torch.bfloat16
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16 if is_low else None, reduce_dtype=torch.float32)
    for block in cast(Any, model.blocks):
        if _compiles(runtime, world):
            block.compile()
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    if hasattr(model, "encode"):
        register_fsdp_forward_method(model, "encode")
    return model
