"""What training a recipe's student costs, before there is a store or a GPU: by arithmetic on shapes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from smile_synth.loader.memory import batches_held
from smile_synth.masking.grid import TokenGrid, num_masked
from smile_synth.model.student import build_student
from smile_synth.recipe.pretrain import PretrainParams
from smile_synth.recipe.recipe import Recipe
from smile_synth.scene import Canvas
from smile_synth.teachers.backbone import RANDOM
from smile_synth.teachers.teacher import Teacher, build_teacher
from smile_synth.training.cost import StudentCost, count_flops, state_bytes
from smile_synth.training.objective import Objective
from smile_synth.training.stages import MaskedStage, plan_stages

BFLOAT16_NBYTES = 2


@dataclass(frozen=True)
class StageCost:
    """One stage of a training.

    Args:
        stage: its length and batch.
        flops: of a clip with all its masks, student forward and backward and teacher.
        activation_nbytes: what the backward pass keeps for one masked clip.
    """

    stage: MaskedStage
    flops: float
    activation_nbytes: float


@dataclass(frozen=True)
class TrainingCost:
    """What training takes, whatever it runs on.

    Args:
        recipe: name of the recipe.
        params: its section ``pretrain``.
        grid: the tokens of a clip.
        stages: in order.
        num_parameters: of the student.
        teacher_flops: of a clip.
        teacher_nbytes: its weights, in bfloat16.
    """

    recipe: str
    params: PretrainParams
    grid: TokenGrid
    stages: tuple[StageCost, ...]
    num_parameters: int
    teacher_flops: float
    teacher_nbytes: float

    @property
    def total_flops(self) -> float:
        """FLOPs of the whole training."""
        return sum(cost.flops * cost.stage.clips_per_batch * cost.stage.num_steps for cost in self.stages)

    @property
    def total_steps(self) -> int:
        """Updates of all stages."""
        return sum(cost.stage.num_steps for cost in self.stages)

    @property
    def clips_seen(self) -> int:
        """Clips read in all, repeats included."""
        return sum(cost.stage.num_steps * cost.stage.clips_per_batch for cost in self.stages)

    def is_sharded(self, ranks: int) -> bool:
        """Whether weights and moments are divided over the ranks, which are GPUs."""
        rule = self.params.runtime.sharding
        large = rule == "auto" and self.params.student.size in ("large", "huge")
        return ranks > 1 and (rule == "shard" or large)

    def share(self, ranks: int) -> int:
        """Return the clips that a rank takes at a time."""
        largest = max(cost.stage.clips_per_batch for cost in self.stages)
        return min(self.params.runtime.micro_batch or largest, -(-largest // ranks))

    def gpu_nbytes(self, ranks: int, clips_at_a_time: int | None = None) -> float:
        """Return the memory of a rank's GPU: state, teacher, and what ``clips_at_a_time`` clips need.

        Clips count as uint8 frames, as bfloat16 pixels, and with their activations.
        """
        share = clips_at_a_time or self.share(ranks)
        state = state_bytes(self.num_parameters, ema=self.params.ema_decay is not None)
        canvas = self.grid.canvas
        pixels = canvas.num_frames * canvas.height * canvas.width * 3
        a_clip = max(cost.activation_nbytes for cost in self.stages) + pixels * (1 + BFLOAT16_NBYTES)
        return state / (ranks if self.is_sharded(ranks) else 1) + self.teacher_nbytes + share * a_clip

    def host_nbytes(self, ranks: int, num_clips: int) -> float:
        """Return the memory of a rank on its host: batches read ahead, and the order of two epochs."""
        canvas = self.grid.canvas
        clip = canvas.num_frames * canvas.height * canvas.width * 3
        largest = max(cost.stage.clips_per_batch for cost in self.stages)
        held = batches_held(self.params.loading.prefetch_batches)
        return held * -(-largest // ranks) * clip + 2 * 8 * num_clips


def training_cost(recipe: Recipe, canvas: Canvas, num_clips: int) -> TrainingCost:
    """Return what a recipe's section ``pretrain`` costs on clips of a certain size; no weights are downloaded.

    Args:
        recipe: with a section ``pretrain``.
        canvas: size of the clips.
        num_clips: clips of the store.

    Raises:
        SmileSynthError: student or teacher do not fit the clips, or there is no such teacher.
    """
    params: PretrainParams = recipe.section("pretrain")
    student = params.student
    grid = TokenGrid.of(canvas, tubelet_size=student.tubelet_size, patch_size=student.patch_size)
    stages = plan_stages(params, num_clips)
    teacher = _untrained_teacher(params, grid)
    motion_std = None if params.target.motion_or_default is None else 1.0
    objective = Objective(params.target, teacher, grid, motion_std)
    with torch.device("meta"):
        model = build_student(student, grid, objective.prediction_dim, objective.heads)
    teacher_flops = 0.0 if teacher is None else _flops(teacher, canvas)

    def cost(stage: MaskedStage) -> StageCost:
        hidden = num_masked(stage.mask, grid)
        one = StudentCost(student, grid, hidden, objective.prediction_dim, objective.heads)
        flops = one.training_flops * stage.mask.masks_per_clip + teacher_flops
        return StageCost(stage, flops, one.activation_bytes(BFLOAT16_NBYTES))

    return TrainingCost(
        recipe=recipe.name,
        params=params,
        grid=grid,
        stages=tuple(cost(stage) for stage in stages),
        num_parameters=sum(p.numel() for p in model.parameters()),
        teacher_flops=teacher_flops,
        teacher_nbytes=0.0 if teacher is None else BFLOAT16_NBYTES * sum(p.numel() for p in teacher.parameters()),
    )


def _untrained_teacher(params: PretrainParams, grid: TokenGrid) -> Teacher | None:
    """Return the teacher with random weights: shapes are all that counts here."""
    teacher = params.teacher_or_default
    if teacher is None:
        return None
    return build_teacher(teacher.model_copy(update={"pretrained": RANDOM, "weights_file": None}), grid)


def _flops(teacher: Teacher, canvas: Canvas) -> float:
    """Return the FLOPs of a clip; on torch's device without memory nothing is computed."""
    shape = (1, canvas.num_frames, canvas.height, canvas.width, 3)
    with torch.device("meta"):
        return count_flops(teacher.to("meta"), torch.zeros(shape, dtype=torch.uint8))
