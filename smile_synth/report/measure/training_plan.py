"""What a recipe would do with a dataset: how often it shows a clip, and what its masks hide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from smile_synth.errors import ModelError
from smile_synth.masking.grid import TokenGrid
from smile_synth.recipe.pretrain import MaskParams, PretrainParams
from smile_synth.report.measure.mask_statistics import MaskSummary
from smile_synth.scene import Canvas


@dataclass(frozen=True)
class TrainingPlan:
    """The section ``pretrain`` of a recipe, as far as a report looks at it.

    Args:
        name: of the recipe.
        params: of pretraining.
    """

    name: str
    params: PretrainParams

    @property
    def teacher(self) -> str | None:
        """Name of the teacher, None where there is none."""
        teacher = self.params.teacher_or_default
        return None if teacher is None else f"{teacher.model_name} ({teacher.library})"

    @property
    def masks(self) -> list[tuple[str, MaskParams]]:
        """Name of every stage, and its masks."""
        return [(stage.name, stage.mask) for stage in self.params.plan]

    def epochs(self, num_clips: int) -> float:
        """Return how often the student sees each of ``num_clips`` clips, all stages together."""
        total = 0.0
        for stage in self.params.plan:
            clips_a_step = self.params.batch_size / stage.mask.masks_per_clip
            by_steps = None if stage.max_steps is None else stage.max_steps * clips_a_step / num_clips
            lengths = [length for length in (stage.epochs, by_steps) if length is not None]
            total += min(lengths)
        return total

    def grid(self, canvas: Canvas) -> TokenGrid:
        """Return the student's tokens.

        Raises:
            ModelError: patches or tubelets do not divide the canvas.
        """
        student = self.params.student
        return TokenGrid.of(canvas, tubelet_size=student.tubelet_size, patch_size=student.patch_size)

    def mask_summaries(self, canvas: Canvas, *, seed: int) -> list[MaskSummary]:
        """Return an empty summary for the masks of every stage.

        Raises:
            ModelError: masks do not fit the canvas.
        """
        grid = self.grid(canvas)
        return [MaskSummary(stage, mask, grid, seed=seed) for stage, mask in self.masks]


def plan_of_store(recipe: Mapping[str, Any], canvas: Canvas) -> TrainingPlan | None:
    """Return what the recipe inside a store says of training, None where it says nothing that fits the store.

    Args:
        recipe: resolved, from the store's attributes.
        canvas: of the store.
    """
    section = recipe.get("pretrain")
    if section is None:
        return None
    try:
        plan = TrainingPlan(str(recipe.get("name") or "of the store"), PretrainParams.model_validate(section))
        plan.mask_summaries(canvas, seed=0)
    except (ValidationError, ModelError):
        # The store may be older than our parameters, or meant for another student: no reason to refuse a report.
        return None
    return plan
