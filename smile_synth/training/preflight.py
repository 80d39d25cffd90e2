"""Everything that is checked before a run starts, and the plan that is printed before it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from smile_synth.errors import CheckpointError, StoreError, TrainingError
from smile_synth.loader.checks import check_streams
from smile_synth.masking.grid import TokenGrid, num_masked
from smile_synth.recipe.pretrain import PretrainParams
from smile_synth.recipe.recipe import Recipe
from smile_synth.scene import Canvas
from smile_synth.store import Store
from smile_synth.store.stream import MOST_CLIPS, Stream, epoch_clips
from smile_synth.teachers.cache import FeatureCache
from smile_synth.teachers.teacher import build_teacher
from smile_synth.training.agreement import takes_canvas
from smile_synth.training.cost import state_bytes
from smile_synth.training.distributed import World
from smile_synth.training.features import find_features
from smile_synth.training.learner import Learner
from smile_synth.training.motion import check_motion, measure_motion
from smile_synth.training.objective import Objective
from smile_synth.training.resume import FREE_SECTIONS, check_same_run, find_state, without
from smile_synth.training.run_folder import RunFolder
from smile_synth.training.stages import MaskedStage, Stage, locate, plan_stages
from smile_synth.training.trackers import check_trackers

# Keys of ``pretrain.loading`` that may change from one start of a run to the next: the order of the clips does not
# depend on them.
FREE_LOADING = ("on_error", "prefetch_batches", "render_workers")
CHECKPOINTS_AT_ONCE = 3


@dataclass(frozen=True)
class Job:
    """A training that passed every check.

    Args:
        recipe: the whole recipe; ``params`` is its section ``pretrain``.
        stores: where clips come from.
        folder: where files go.
        world: the processes that train together.
        grid: the tokens of a clip.
        stages: what is done, in order.
        state: the checkpoint to resume from, or None; its tensors are on the first rank only.
        features: the teacher's cached features of every store, or none: then the teacher is run.
        teacher_note: which teacher, and where its features come from.
        note: what to tell people of it; empty for nothing.
        seen: the folder's ``fingerprint`` when it was checked.
    """

    recipe: Recipe
    params: PretrainParams
    stores: tuple[Store, ...]
    folder: RunFolder
    world: World
    grid: TokenGrid
    stages: tuple[MaskedStage, ...]
    state: Mapping[str, Any] | None
    features: tuple[FeatureCache, ...] = ()
    teacher_note: str = "none"
    note: str = ""
    seen: tuple[int, ...] = ()

    @property
    def clips_text(self) -> str:
        """How many clips there are, for people."""
        num_clips = epoch_clips(self.stores)
        if not isinstance(self.stores[0], Stream):
            return f"{num_clips} clips"
        return "clips of a stream" if num_clips is None else f"clips of a stream, {num_clips} an epoch"

    def first_clip(self, number: int) -> int:
        """Return where a stage begins in a stream: behind the clips of the stages before; 0 for stores."""
        if not isinstance(self.stores[0], Stream):
            return 0
        return sum(stage.num_steps * stage.clips_per_batch for stage in self.stages[:number])


def check(recipe: Recipe, stores: Sequence[Store], out: Path, *, resume: bool, world: World) -> Job:
    """Check all that can be checked before anything large is loaded; writes nothing.

    Args:
        recipe: with a section ``pretrain``.
        stores: at least one, all of the same size.
        out: the run's folder.
        resume: resume from the latest checkpoint in ``out``, if there is one.
        world: the processes that train together.

    Raises:
        SmileSynthError: something does not fit.
    """
    params: PretrainParams = recipe.section("pretrain")
    check_trackers(params.watch.trackers)
    if params.watch.probe_every_epochs:
        recipe.section("probe")
    folder = RunFolder(out)
    canvas = _check_stores(stores, recipe)
    student = params.student
    grid = TokenGrid.of(canvas, tubelet_size=student.tubelet_size, patch_size=student.patch_size)
    stages = plan_stages(params, epoch_clips(stores))
    for stage in stages:
        _check_masks(stage, grid, stores)
        check_division(stage, world, section="pretrain", micro_batch=params.runtime.micro_batch)
    _check_stream(stores, params, stages)
    if params.uses_motion:
        check_motion(stores, grid, params.target.motion_or_default, recipe.typed)
    state, note, seen = find_state(
        folder, world, resume=resume, check=lambda state: _check_state(state, recipe, stages, stores)
    )
    features, teacher_note = find_features(recipe, stores, grid, world.device)
    return Job(
        recipe,
        params,
        tuple(stores),
        folder,
        world,
        grid,
        stages,
        state,
        features,
        teacher_note,
        note,
        seen,
    )


def build(job: Job) -> Learner:
    """Build teacher, objective and student for a job; writes nothing.

    Raises:
        SmileSynthError: the teacher cannot be loaded or does not fit the clips, or checkpoints have no room.
    """
    teacher_params, device = job.params.teacher_or_default, job.world.device
    teacher = None
    if teacher_params is not None and not job.features:
        teacher = build_teacher(teacher_params, job.grid, folder=job.recipe.folder, device=device)
    # Convolutions of the teacher are faster with channels last, on CPU and CUDA alike.
    cached_dim = job.features[0].shape[1] if job.features else None
    objective = Objective(job.params.target, teacher, job.grid, _motion_std(job), cached_dim=cached_dim)
    objective = objective.to(memory_format=torch.channels_last)
    learner = Learner(job.params, objective.to(device), job.world, job.recipe.seed)
    if job.world.is_first:
        check_disk(job.folder.path, learner.num_parameters, ema=job.params.ema_decay is not None)
        if job.state is not None:
            learner.check_state(job.state, with_moments=locate(job.stages, job.state["step"])[1] > 0)
    return learner


def _motion_std(job: Job) -> float | None:
    """Return the unit of the motion target: that of the run, or measured now; None where there is no such target.

    Raises:
        CheckpointError: the run has a motion target, and its checkpoint no unit.
    """
    target = job.params.target.motion_or_default
    if target is None:
        return None
    if job.state is not None:
        if job.state.get("motion_std") is None:
            raise CheckpointError("the checkpoint lacks motion_std, the unit of its motion target; start a new run")
        return float(job.state["motion_std"])
    return measure_motion(job.stores, job.grid, target, job.params.loading.weights)


def check_disk(folder: Path, num_parameters: int, *, ema: bool) -> None:
    """Check that a few checkpoints have room where the run's folder is or will be.

    Raises:
        TrainingError: they have not.
    """
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    # A checkpoint holds what training holds but the gradients.
    needed = CHECKPOINTS_AT_ONCE * (state_bytes(num_parameters, ema=ema) - 4 * num_parameters)
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise TrainingError(
            f"{existing} has {free / 2**30:.1f} GiB left, the checkpoints need {needed / 2**30:.1f} GiB; "
            f"free some space or choose another --out"
        )


def _check_stores(stores: Sequence[Store], recipe: Recipe) -> Canvas:
    if not stores:
        raise TrainingError("training needs a store; render one and give it with --data")
    first = stores[0].canvas
    for store in stores:
        if store.canvas != first:
            raise StoreError(
                f"stores must hold clips of one size: {stores[0].path} has {first}, {store.path} has {store.canvas}"
            )
    if recipe.dataset is not None and not takes_canvas(recipe, first):
        raise StoreError(
            f"the recipe's clips are {recipe.dataset.canvas.canvas}, those of {stores[0].path} are {first}; "
            f"render the recipe again, or set dataset.canvas to the store's size"
        )
    return first


def _check_stream(stores: Sequence[Store], params: PretrainParams, stages: Sequence[MaskedStage]) -> None:
    check_streams(stores, params.loading.weights, 0)
    needed = sum(stage.num_steps * stage.clips_per_batch for stage in stages)
    if isinstance(stores[0], Stream) and needed > MOST_CLIPS:
        raise TrainingError(
            f"a stream has {MOST_CLIPS} clips, this training would take {needed}; train for fewer steps"
        )


def _check_masks(stage: MaskedStage, grid: TokenGrid, stores: Sequence[Store]) -> None:
    num_masked(stage.mask, grid)
    if stage.mask.uses_boxes and not any(store.max_objects for store in stores):
        raise TrainingError(
            f"stage {stage.name!r} hides trajectories ({stage.mask.kind}), but {stores[0].path} holds no objects; "
            f"use masks of kind tube or random, or render a store with objects"
        )


def check_division(stage: Stage, world: World, *, section: str, micro_batch: int | None, unit: str = "clips") -> None:
    """Refuse a batch that cannot be divided over the processes, or a process's part of it into micro-batches.

    Raises:
        TrainingError: it cannot.
    """
    if stage.clips_per_batch % world.size:
        raise TrainingError(
            f"a batch's {stage.clips_per_batch} {unit} must be divisible by the {world.size} processes "
            f"(stage {stage.name!r}); change {section}.batch_size or the number of processes"
        )
    share = stage.clips_per_batch // world.size
    if micro_batch is not None and share % micro_batch:
        raise TrainingError(
            f"a process's {share} {unit} of a batch must be divisible by runtime.micro_batch, got {micro_batch} "
            f"(stage {stage.name!r})"
        )


def _check_state(
    state: Mapping[str, Any], recipe: Recipe, stages: tuple[MaskedStage, ...], stores: Sequence[Store]
) -> None:
    check_same_run(state, recipe, stages, fixed=_fixed, data="store")
    began_with = state.get("stores")
    if began_with is not None and began_with != [store.digest for store in stores]:
        raise CheckpointError(
            "the run began with other stores, or with these in another order, or, of a stream, with another recipe, "
            "seed, images or code; give the same --data in the same order, or start a new run with another --out"
        )


def _fixed(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change on resume."""
    values = without(resolved["pretrain"], *FREE_SECTIONS)
    values["loading"] = without(values.get("loading"), *FREE_LOADING)
    # Cached features are the teacher's own within their stated error.
    values["teacher"] = without(values.get("teacher"), "cache")
    return {"seed": resolved["seed"], "pretrain": values}
