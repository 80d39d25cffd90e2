"""The student with its objective and AdamW: what one update does to them."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from smile_synth.errors import CheckpointError
from smile_synth.masking.grid import TokenGrid, num_masked
from smile_synth.masking.masks import draw_masks
from smile_synth.model.patches import normalise
from smile_synth.model.student import Prediction, Student, build_student
from smile_synth.recipe.pretrain import MaskParams, PretrainParams, RuntimeParams
from smile_synth.training.cost import StudentCost, count_flops
from smile_synth.training.device import pick_precision
from smile_synth.training.distributed import World
from smile_synth.training.objective import Objective, Targets, pixel_target
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


@dataclass(frozen=True)
class DeviceBatch:
    """Our share of a batch, on the device.

    Args:
        frames_BTHWC: uint8.
        boxes_BKT4: float32.
        first: place of our first clip in the global batch.
        motion_BTHW2: displacements to the next frame, as the store has them; None where nobody asks for them.
        features_BND: the teacher's cached features; None where the teacher is run, or there is none.
    """

    frames_BTHWC: Tensor
    boxes_BKT4: Tensor
    first: int
    motion_BTHW2: Tensor | None = None
    features_BND: Tensor | None = None

    def part(self, start: int, stop: int) -> DeviceBatch:
        """Return some of the clips."""
        motion = None if self.motion_BTHW2 is None else self.motion_BTHW2[start:stop]
        features = None if self.features_BND is None else self.features_BND[start:stop]
        frames, boxes = self.frames_BTHWC[start:stop], self.boxes_BKT4[start:stop]
        return DeviceBatch(frames, boxes, self.first + start, motion, features)

    def masks(self, params: MaskParams, grid: TokenGrid, *, seed: int, step: int) -> Tensor:
        """Return all masks of these clips, bool (masks, B, N)."""
        return draw_masks(
            params, grid, self.boxes_BKT4, seed=seed, step=step, first=self.first, motion_BTHW2=self.motion_BTHW2
        )


@dataclass(frozen=True)
class Outcome:
    """What an update measured on this rank; tensors stay on the device until somebody looks.

    Args:
        loss: mean over our masked clips.
        gradient_norm: over all parameters and ranks, before clipping.
        parts: the loss's named parts, where it has several.
    """

    loss: Tensor
    gradient_norm: Tensor
    parts: dict[str, Tensor]


@dataclass(frozen=True)
class Look:
    """What the student made of some clips.

    Args:
        frames_BTHWC: uint8 clips.
        is_masked_BN: what was hidden.
        tokens_BVD: the encoder's tokens of what was visible.
        prediction: what was predicted.
        targets: what was to be predicted.
        motion_BND: predicted motion of every token, NaN where none was predicted; None where motion is no target.
    """

    frames_BTHWC: Tensor
    is_masked_BN: Tensor
    tokens_BVD: Tensor
    prediction: Prediction
    targets: Targets
    motion_BND: Tensor | None

    @property
    def target_BND(self) -> Tensor:
        """What was to be predicted of every token: features first, then pixels; motion where it is the only target."""
        features, patches, motion = self.targets
        pixels = None if patches is None else pixel_target(patches)
        parts = [part for part in (features, pixels) if part is not None]
        if not parts and motion is not None:
            return motion.nan_to_num(nan=0.0)
        return torch.cat(parts, dim=2)

    @property
    def error_BN(self) -> Tensor:
        """Mean squared error of every hidden token, 0 for the visible ones and where motion is the only target."""
        error_BN = torch.zeros(self.is_masked_BN.shape, device=self.is_masked_BN.device)
        predicted_BMD = self.prediction.hidden_BMD
        if predicted_BMD is not None:
            expected_BMD = self.target_BND[self.is_masked_BN].view_as(predicted_BMD)
            error_BN[self.is_masked_BN] = (predicted_BMD.float() - expected_BMD).square().mean(dim=2).flatten()
        return error_BN


class Learner:
    """Holds what training changes: weights, their moving average, and AdamW's moments.

    Args:
        params: the recipe's section ``pretrain``.
        objective: targets and loss; on the device.
        world: the processes that train together.
        seed: of the run; the first weights and every update's randomness come from it.
    """

    def __init__(self, params: PretrainParams, objective: Objective, world: World, seed: int) -> None:
        self.params, self.objective, self.world, self.seed = params, objective, world, seed
        self.grid = objective.grid
        torch.manual_seed(_update_seed(seed, "weights", 0, 0))
        student = build_student(params.student, self.grid, objective.prediction_dim, objective.heads)
        self.student: Student = student.to(world.device)
        self.precision = pick_precision(params.runtime.precision, world.device)
        self._forward = distribute(self.student, world, params)
        self._average = MovingAverage(self.student, params.ema_decay) if params.ema_decay else None
        self.optimizer: torch.optim.AdamW | None = None

    def start_stage(self, stage: Stage) -> None:
        """Begin a stage with fresh moments."""
        how = stage.optimizer
        self.optimizer = build_adamw(
            self.student, learning_rate=stage.rate(0), betas=how.betas, eps=how.eps, weight_decay=how.weight_decay
        )

    def update(self, clips: DeviceBatch, stage: Stage, stage_step: int, step: int) -> Outcome:
        """Train on one batch.

        Args:
            clips: our share of it.
            stage: masks, learning rates and clipping.
            stage_step: updates done in this stage.
            step: updates done in all.

        Returns:
            Loss and gradient norm; the loss is this rank's own.
        """
        optimizer = cast(torch.optim.AdamW, self.optimizer)
        set_learning_rate(optimizer, stage.rate(stage_step))
        torch.manual_seed(_update_seed(self.seed, stage.name, step, clips.first))
        self.student.train()
        loss, parts = self._accumulate(clips, stage.mask, step)
        norm = self._clip(stage.optimizer.clip_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if self._average is not None:
            self._average.follow(self.student)
        return Outcome(loss, norm, parts)

    def _accumulate(self, clips: DeviceBatch, mask: MaskParams, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum the gradients of all masks and micro-batches; equal shares make the sum that of one large batch."""
        masks_MBN = clips.masks(mask, self.grid, seed=self.seed, step=step)
        count = len(clips.frames_BTHWC)
        size = min(self.params.runtime.micro_batch or count, count)
        weight = size / count / len(masks_MBN)
        hidden = num_masked(mask, self.grid)
        loss, parts = torch.zeros((), device=self.world.device), dict[str, Tensor]()
        for start in range(0, count, size):
            part = clips.part(start, start + size)
            target = self.objective.targets(part.frames_BTHWC, part.motion_BTHW2, part.features_BND)
            # Autocast would round the pixels alike later; now it saves half of their memory.
            video = normalise(part.frames_BTHWC, dtype=self.precision)
            for number, is_masked_BN in enumerate(masks_MBN[:, start : start + size]):
                is_last = start + size >= count and number == len(masks_MBN) - 1
                with self._syncing(is_last):
                    with self.autocast():
                        prediction = self._forward(video, is_masked_BN, hidden)
                    one, one_parts = self.objective.loss(prediction, target, is_masked_BN, hidden)
                    (one * weight).backward()  # type: ignore[no-untyped-call]
                loss += weight * one.detach()
                for name, value in one_parts.items():
                    parts[name] = parts.get(name, 0) + weight * value.detach()
        return loss, parts

    def autocast(self) -> torch.autocast:
        """Return the context in which the student computes."""
        return torch.autocast(
            self.world.device.type, dtype=torch.bfloat16, enabled=self.precision == torch.bfloat16, cache_enabled=True
        )

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
        parameters = [p for p in self.student.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([cast(Tensor, p.grad) for p in parameters])
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        if largest is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, largest, norm)
        return norm

    def state(self) -> dict[str, Any]:
        """Return weights, moving average and moments, whole, on the first rank's CPU; every rank must call it."""
        optimizer = self.optimizer
        return self.weights() | {
            "optimizer": optimizer_state(self.student, optimizer) if optimizer is not None else {},
        }

    def weights(self) -> dict[str, Any]:
        """Return weights and moving average, whole, on the first rank's CPU; every rank must call it."""
        average = self._average
        return {"model": model_state(self.student), "ema": model_state(average) if average is not None else None}

    def check_state(self, state: Mapping[str, Any], *, with_moments: bool) -> None:
        """Refuse what ``load_weights`` and ``load_moments`` could not take; for the first rank.

        Raises:
            CheckpointError: it belongs to another student.
        """
        check_weights(self.student, state["model"])
        if self._average is not None and state["ema"] is None:
            raise CheckpointError("the checkpoint has no moving average, and the recipe asks for one (ema_decay)")
        if with_moments:
            check_moments(self.student, state["optimizer"])

    def load_weights(self, state: Mapping[str, Any]) -> None:
        """Set weights and moving average from the first rank's ``state``; every rank must call it."""
        load_model_state(self.student, state.get("model", {}))
        if self._average is not None:
            load_model_state(self._average, state.get("ema", {}))

    def load_moments(self, state: Mapping[str, Any]) -> None:
        """Set AdamW's moments from the first rank's ``state``; after ``start_stage``, on every rank."""
        load_optimizer_state(self.student, cast(torch.optim.AdamW, self.optimizer), state.get("optimizer", {}))

    @property
    def num_parameters(self) -> int:
        """Parameters of the student."""
        return sum(p.numel() for p in self.student.parameters())

    def cost(self, mask: MaskParams) -> StudentCost:
        """Return what the student costs for one masked clip."""
        objective, hidden = self.objective, num_masked(mask, self.grid)
        return StudentCost(self.params.student, self.grid, hidden, objective.prediction_dim, objective.heads)

    def flops_per_clip(self, mask: MaskParams) -> float:
        """Return the FLOPs of a clip with all its masks: student forward and backward, and the teacher if it runs."""
        return self.cost(mask).training_flops * mask.masks_per_clip + self._target_flops

    @cached_property
    def _target_flops(self) -> float:
        teacher, canvas = self.objective.teacher, self.grid.canvas
        if teacher is None:
            return 0.0
        shape = (1, canvas.num_frames, canvas.height, canvas.width, 3)
        return count_flops(teacher, torch.zeros(shape, dtype=torch.uint8, device=self.world.device))

    @torch.no_grad()
    def look(self, clips: DeviceBatch, mask: MaskParams, step: int) -> Look:
        """Look at some clips without learning from them; every rank must call it.

        Args:
            clips: a few.
            mask: as in training.
            step: decides the masks.
        """
        is_masked_BN = clips.masks(mask, self.grid, seed=self.seed, step=step)[0]
        self.student.eval()
        video, hidden = normalise(clips.frames_BTHWC, dtype=self.precision), num_masked(mask, self.grid)
        targets = self.objective.targets(clips.frames_BTHWC, clips.motion_BTHW2, clips.features_BND)
        # A few clips are not worth compiling for; sharded weights come together only in the wrapped call.
        forward = self._forward if isinstance(self._forward, FSDPModule) else self.student.forward
        with self.autocast():
            tokens = self.student.encode(video, is_masked_BN, hidden)
            prediction = forward(video, is_masked_BN, hidden)
        motion = self.objective.predicted_motion(prediction, is_masked_BN)
        return Look(clips.frames_BTHWC, is_masked_BN, tokens, prediction, targets, motion)


def _update_seed(seed: int, purpose: str, step: int, first: int) -> int:
    """Return a seed for torch that depends on nothing but its arguments, so that no random state need be saved."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{step}/{first}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def is_sharded(params: PretrainParams, world: World) -> bool:
    """Tell whether weights and moments are divided over the ranks."""
    rule = params.runtime.sharding
    if rule == "auto":
        return world.size > 1 and world.device.type == "cuda" and params.student.size in ("large", "huge")
    return rule == "shard" and world.size > 1


def distribute(student: Student, world: World, params: PretrainParams) -> nn.Module:
    """Prepare the student for its processes and compile it where asked; returns what to call in training.

    Args:
        student: on the device; the same weights on all ranks. Its own names of weights stay as they are.
        world: the processes.
        params: says how.
    """
    if is_sharded(params, world):
        return _shard(student, world, params.runtime)
    if _compiles(params.runtime, world):
        student.compile()
    if world.size == 1:
        return student
    devices = [world.device] if world.device.type == "cuda" else None
    # The student's buffers never change. PyTorch has given this option another name, and warns of the old one.
    known = signature(DistributedDataParallel.__init__).parameters
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {buffers: False}
    return DistributedDataParallel(student, device_ids=devices, gradient_as_bucket_view=True, **options)


def _compiles(runtime: RuntimeParams, world: World) -> bool:
    return world.device.type == "cuda" if runtime.compile is None else runtime.compile


def _shard(student: Student, world: World, runtime: RuntimeParams) -> nn.Module:
    # Nothing here changes the student's output in place, which is what this warning is about.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    mesh = torch.distributed.device_mesh.init_device_mesh(world.device.type, (world.size,))
    # Weights travel in the type that they are multiplied in; gradients are summed over the ranks in float32.
    is_low = pick_precision(runtime.precision, world.device) == torch.bfloat16
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16 if is_low else None, reduce_dtype=torch.float32)
    for block in student.blocks:
        if _compiles(runtime, world):
            block.compile()
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(student, mesh=mesh, mp_policy=policy)
    register_fsdp_forward_method(student, "encode")
    return student
