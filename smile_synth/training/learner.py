"""The student with its objective: what one update does to them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from smile_synth.masking.grid import TokenGrid, num_masked
from smile_synth.masking.masks import draw_masks
from smile_synth.model.patches import normalise
from smile_synth.model.student import Prediction, Student, build_student
from smile_synth.recipe.pretrain import MaskParams, PretrainParams
from smile_synth.training.cost import StudentCost, count_flops
from smile_synth.training.distributed import World
from smile_synth.training.objective import Objective, Targets, pixel_target
from smile_synth.training.stages import MaskedStage
from smile_synth.training.trainable import Trainable, shards, update_seed


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


class Learner(Trainable[MaskedStage, DeviceBatch]):
    """A student that learns what is hidden from it.

    Args:
        params: the recipe's section ``pretrain``.
        objective: targets and loss; on the device.
        world: the processes that train together.
        seed: of the run; the first weights and every update's randomness come from it.
    """

    def __init__(self, params: PretrainParams, objective: Objective, world: World, seed: int) -> None:
        self.params, self.objective = params, objective
        self.grid = objective.grid
        torch.manual_seed(update_seed(seed, "weights", 0, 0))
        student = build_student(params.student, self.grid, objective.prediction_dim, objective.heads)
        self.student: Student = student.to(world.device)
        is_large = params.student.size in ("large", "huge")
        super().__init__(
            self.student,
            world,
            params.runtime,
            seed,
            ema_decay=params.ema_decay,
            shard=shards(params.runtime, world, is_large=is_large),
        )

    def _accumulate(self, clips: DeviceBatch, stage: MaskedStage, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum the gradients of all masks and micro-batches; equal shares make the sum that of one large batch."""
        mask = stage.mask
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

    def cost(self, mask: MaskParams) -> StudentCost:
        """Return what the student costs for one masked clip."""
        objective, hidden = self.objective, num_masked(mask, self.grid)
        return StudentCost(self.params.student, self.grid, hidden, objective.prediction_dim, objective.heads)

    def flops_per_clip(self, stage: MaskedStage) -> float:
        """Return the FLOPs of a clip with all its masks: student forward and backward, and the teacher if it runs."""
        mask = stage.mask
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
