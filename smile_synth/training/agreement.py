"""Whether the sections of a recipe fit each other, told from the recipe alone. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from smile_synth.errors import ModelError, TrainingError
from smile_synth.masking.grid import TokenGrid, num_masked
from smile_synth.recipe.dataset import DatasetParams
from smile_synth.recipe.pretrain import PretrainParams, TeacherParams
from smile_synth.recipe.recipe import Recipe
from smile_synth.scene import Canvas
from smile_synth.training.stages import plan_stages

EFFICIENTNET_STRIDE = 16
# Patch size and usual image size, as names of ViTs state them: ViT-B-16-quickgelu, vit_small_patch14_dinov2, ..._224.
_PATCH = re.compile(r"(?:patch|ViT-[A-Za-z]+-)(\d+)")
_SIDE = re.compile(r"_(\d{3})$")


@dataclass(frozen=True)
class Disagreement:
    """Two sections that do not fit.

    Args:
        text: what does not fit what, and what to change.
        needs_other_clips: whether the recipe's clips cannot be trained on at all, however many there are.
    """

    text: str
    needs_other_clips: bool = True


def disagreements(recipe: Recipe) -> list[Disagreement]:
    """Compare the sections ``dataset``, ``pretrain`` and ``probe``; empty where they fit, or where one is alone.

    Whether a store's clips show objects, and whether a teacher can be loaded, is checked when a training starts.
    """
    dataset, pretrain = recipe.dataset, recipe.pretrain
    found: list[Disagreement] = []
    if pretrain is not None and pretrain.watch.probe_every_epochs and recipe.probe is None:
        found.append(Disagreement("pretrain.watch.probe_every_epochs asks for probes, and there is no section 'probe'"))
    if dataset is None or pretrain is None:
        return found
    try:
        grid = _grid(dataset.canvas.canvas, pretrain)
    except ModelError as error:
        return [*found, Disagreement(f"dataset.canvas and pretrain.student: {error}")]
    found += _about_masks(pretrain, grid)
    found += _about_motion(dataset, pretrain)
    teacher = pretrain.teacher_or_default
    found += [] if teacher is None else _about_teacher(teacher, grid)
    found += _about_length(dataset, pretrain)
    if recipe.probe is not None and recipe.probe.canvas is not None:
        try:
            _grid(recipe.probe.canvas.canvas, pretrain)
        except ModelError as error:
            found.append(Disagreement(f"probe.canvas and pretrain.student: {error}"))
    return found


def takes_canvas(recipe: Recipe, canvas: Canvas) -> bool:
    """Whether a recipe trains on clips of this size; one without a section ``dataset`` states none and takes any."""
    return recipe.dataset is None or recipe.dataset.canvas.canvas == canvas


def _grid(canvas: Canvas, pretrain: PretrainParams) -> TokenGrid:
    student = pretrain.student
    return TokenGrid.of(canvas, tubelet_size=student.tubelet_size, patch_size=student.patch_size)


def _about_masks(pretrain: PretrainParams, grid: TokenGrid) -> Iterator[Disagreement]:
    for stage in pretrain.plan:
        try:
            num_masked(stage.mask, grid)
        except ModelError as error:
            yield Disagreement(f"stage {stage.name!r}: {error}")


def _about_motion(dataset: DatasetParams, pretrain: PretrainParams) -> Iterator[Disagreement]:
    if not pretrain.uses_motion:
        return
    cell_px, patch_px = dataset.motion_cell_px, pretrain.student.patch_size
    target = pretrain.target.motion_or_default
    parts = 2 if target is not None and target.cells == 4 else 1
    if cell_px is None:
        yield Disagreement("pretrain learns from motion, and dataset.store.motion keeps none; give it a cell_px")
    elif patch_px % parts or (patch_px // parts) % cell_px:
        what = "a patch" if parts == 1 else "a quarter of a patch"
        yield Disagreement(
            f"dataset.store.motion has cells of {cell_px} px, which do not divide {what} of {patch_px} px; "
            f"set dataset.store.motion.cell_px to a divisor of {max(patch_px // parts, 1)}"
        )


def _about_teacher(teacher: TeacherParams, grid: TokenGrid) -> Iterator[Disagreement]:
    """Compare the teacher's grid of tokens where its name tells it."""
    stride = _stride(teacher)
    if stride is None:
        return
    if teacher.image_size is not None and teacher.image_size % stride:
        yield Disagreement(
            f"pretrain.teacher.image_size must be a multiple of {stride}, the stride of {teacher.model_name}, "
            f"got {teacher.image_size}"
        )
        return
    if teacher.grid == "exact" and (size := _tokens(teacher, grid, stride)) not in (None, (grid.rows, grid.columns)):
        assert size is not None
        yield Disagreement(
            f"pretrain.teacher.grid is 'exact': {teacher.model_name} gives {size[0]} x {size[1]} tokens, "
            f"dataset.canvas and student.patch_size give {grid.rows} x {grid.columns}; set it to 'resize', or choose "
            "another teacher.image_size"
        )


def _stride(teacher: TeacherParams) -> int | None:
    if teacher.layer is not None:
        return None
    if teacher.library == "efficientnet_lite0":
        return EFFICIENTNET_STRIDE
    found = _PATCH.search(teacher.model_name)
    return int(found[1]) if found else None


def _tokens(teacher: TeacherParams, grid: TokenGrid, stride: int) -> tuple[int, int] | None:
    """Return the teacher's rows and columns of tokens; None where only the loaded model tells."""
    if teacher.image_size is not None:
        return (teacher.image_size // stride,) * 2
    if teacher.library == "efficientnet_lite0":
        return -(-grid.canvas.height // stride), -(-grid.canvas.width // stride)
    side = _SIDE.search(teacher.model_name)
    return (int(side[1]) // stride,) * 2 if side else None


def _about_length(dataset: DatasetParams, pretrain: PretrainParams) -> Iterator[Disagreement]:
    try:
        plan_stages(pretrain, dataset.clips)
    except TrainingError as error:
        text = f"dataset.clips is {dataset.clips}, pretrain.batch_size {pretrain.batch_size}: {error}"
        yield Disagreement(text, needs_other_clips=False)
