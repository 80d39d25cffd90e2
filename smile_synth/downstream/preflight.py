"""Everything that is checked before a fine-tuning starts, and the model that it starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from smile_synth.downstream.learner import ClassifierLearner
from smile_synth.errors import CheckpointError, TrainingError
from smile_synth.interop.formats import read_student
from smile_synth.interop.stored_student import Sizes, StoredStudent
from smile_synth.masking.grid import TokenGrid
from smile_synth.model.classifier import Classifier
from smile_synth.model.student import StudentShape
from smile_synth.recipe.finetune import FinetuneParams
from smile_synth.recipe.recipe import Recipe
from smile_synth.recipe.videos import VideosParams
from smile_synth.scene import Canvas
from smile_synth.training.distributed import World
from smile_synth.training.preflight import check_disk, check_division
from smile_synth.training.resume import FREE_SECTIONS, check_same_run, find_state, without
from smile_synth.training.run_folder import RunFolder
from smile_synth.training.schedule import Schedule
from smile_synth.training.stages import PUBLISHED_BATCH, Stage, locate
from smile_synth.training.trackers import check_trackers
from smile_synth.training.trainable import update_seed
from smile_synth.videos.lists import LabelledVideos, read_videos, usable

SCRATCH = "scratch"
STAGE_NAME = "finetune"
# Keys of ``videos`` that change neither what is trained on nor how; decoders scale frames differently.
FREE_VIDEOS = ("on_error", "segments", "crops", "test", "root")
FREE_READING = ("threads", "prefetch_batches")


@dataclass(frozen=True)
class FinetuneJob:
    """A fine-tuning that passed every check.

    Args:
        recipe: the whole recipe.
        params, videos: its sections ``finetune`` and ``videos``.
        folder: where files go.
        world: the processes that train together.
        train: videos to learn from.
        missing: listed videos that are not there and were left out.
        validation: videos to test on meanwhile; None where nobody asks for that.
        shape: every size of the network.
        start: the weights to start from; None from scratch and on resume.
        start_text: what it starts from, for people.
        stage: how long it takes, and its learning rates.
        state: the checkpoint to resume from, or None; its tensors are on the first rank only.
        note: what to tell people of it; empty for nothing.
        seen: the folder's ``fingerprint`` when it was checked.
    """

    recipe: Recipe
    params: FinetuneParams
    videos: VideosParams
    folder: RunFolder
    world: World
    train: LabelledVideos
    missing: int
    validation: LabelledVideos | None
    shape: StudentShape
    start: StoredStudent | None
    start_text: str
    stage: Stage
    state: Mapping[str, Any] | None
    note: str = ""
    seen: tuple[int, ...] = ()


def check(
    recipe: Recipe,
    model: str,
    videos_folder: Path,
    out: Path,
    *,
    resume: bool,
    world: World,
    heads: int | None = None,
) -> FinetuneJob:
    """Check all that can be checked before anything is trained; writes nothing.

    Args:
        recipe: with sections ``finetune`` and ``videos``.
        model: ``scratch``, or where the pretrained model lies; not looked at on resume.
        videos_folder: of the dataset.
        out: the run's folder.
        resume: resume from the latest checkpoint in ``out``, if there is one.
        world: the processes that train together.
        heads: attention heads of the model, where its file does not tell.

    Raises:
        SmileSynthError: something does not fit.
    """
    params: FinetuneParams = recipe.section("finetune")
    videos: VideosParams = recipe.section("videos")
    check_trackers(params.watch.trackers)
    train, missing = usable(read_videos(videos, "train", videos_folder), videos)
    validation = None
    if params.watch.evaluate_every_epochs:
        validation, _ = usable(read_videos(videos, "validation", videos_folder), videos)
    if len(train.classes) < 2:
        raise TrainingError(f"{videos_folder} has {len(train.classes)} class, at least 2 are needed")
    stage = lay_out(params, len(train))
    check_division(stage, world, section="finetune", micro_batch=params.runtime.micro_batch)
    _check_pairs(params, world)
    folder = RunFolder(out)
    state, note, seen = find_state(
        folder, world, resume=resume, check=lambda state: _check_state(state, recipe, stage, train)
    )
    canvas = Canvas(params.image_size, params.image_size, videos.frames)
    start = None
    if state is not None:
        shape, text = StudentShape.from_dict(state["student"]), "the run's own checkpoint"
    elif model == SCRATCH:
        scratch = params.scratch.student
        grid = TokenGrid.of(canvas, tubelet_size=scratch.tubelet_size, patch_size=scratch.patch_size)
        shape, text = StudentShape.of(scratch, grid, 1), "random weights (scratch)"
    else:
        start = read_student(Path(model), Sizes(heads, videos.frames, params.image_size))
        shape, text = start.shape, f"the encoder of {model}"
    _check_layers(params, shape)
    return FinetuneJob(
        recipe, params, videos, folder, world, train, missing, validation, shape, start, text, stage, state, note, seen
    )


def build(job: FinetuneJob) -> ClassifierLearner:
    """Build the classifier of a job, with its first weights; writes nothing.

    Raises:
        SmileSynthError: the weights do not fit, or checkpoints have no room.
    """
    learner = ClassifierLearner(job.params, job.shape, first_classifier(job), job.world, job.recipe.seed)
    if job.world.is_first:
        check_disk(job.folder.path, learner.num_parameters, ema=job.params.ema_decay is not None)
        if job.state is not None:
            learner.check_state(job.state, with_moments=locate([job.stage], job.state["step"])[1] > 0)
    return learner


def first_classifier(job: FinetuneJob) -> Classifier:
    """Return the classifier with the weights that its training starts from."""
    params = job.params
    torch.manual_seed(update_seed(job.recipe.seed, "weights", 0, 0))
    classifier = Classifier(
        job.shape,
        len(job.train.classes),
        drop_path=params.drop_path,
        dropout=params.head.dropout,
        head_norm=params.head.batch_norm,
    )
    classifier.initialise_head(params.head.init_scale)
    if job.start is not None:
        load_encoder_weights(classifier, job.start)
    return classifier


def load_encoder_weights(classifier: Classifier, start: StoredStudent) -> None:
    """Set patch embedding and blocks to those of a pretrained model, and the norm to that of a fine-tuned one.

    The final norm of a pretrained encoder is left out, as published: its place is taken by a fresh norm of the mean.

    Raises:
        WeightsError: the weights do not fit the shape.
    """
    start.build_encoder()  # says what does not fit
    wanted = classifier.state_dict()
    kept = ("patch_embed.", "blocks.", "fc_norm.")
    weights = {name: value for name, value in start.encoder_weights.items() if name.startswith(kept)}
    classifier.load_state_dict({**wanted, **{name: value.to(wanted[name].dtype) for name, value in weights.items()}})


def lay_out(params: FinetuneParams, num_videos: int) -> Stage:
    """Lay a fine-tuning out over a dataset.

    Raises:
        TrainingError: there are fewer videos than a batch takes, or the warm-up is longer than the training.
    """
    batch, optimizer = params.batch_size, params.optimizer
    steps_per_epoch = -(-num_videos // batch) if params.reading.last == "pad" else num_videos // batch
    if steps_per_epoch == 0:
        raise TrainingError(
            f"a batch takes {batch} videos, there are {num_videos}; lower finetune.batch_size, "
            f"or set finetune.reading.last to pad"
        )
    limits = [params.epochs * steps_per_epoch if params.epochs else None, params.max_steps]
    num_steps = min(limit for limit in limits if limit is not None)
    scale = batch / PUBLISHED_BATCH if optimizer.scale_with_batch else 1.0
    schedule = Schedule(
        base=optimizer.learning_rate * scale,
        floor=optimizer.floor * scale,
        num_steps=num_steps,
        warmup_steps=optimizer.warmup(steps_per_epoch),
        start=optimizer.start * scale,
    )
    return Stage(
        name=STAGE_NAME,
        optimizer=optimizer,
        batch_size=batch,
        clips_per_batch=batch * params.vary.repeats,
        steps_per_epoch=steps_per_epoch,
        num_steps=num_steps,
        schedule=schedule,
    )


def _check_pairs(params: FinetuneParams, world: World) -> None:
    if params.batch_size % world.size:
        raise TrainingError(
            f"a batch's {params.batch_size} videos must be divisible by the {world.size} processes; "
            f"change finetune.batch_size or the number of processes"
        )
    share = params.batch_size // world.size
    for count, what in ((share, "a process's videos of a batch"), (params.runtime.micro_batch or 2, "micro_batch")):
        if params.vary.mixes and count % 2:
            raise TrainingError(
                f"mixup and cutmix mix clips of two videos: {what} must be even, got {count}; change "
                f"finetune.batch_size, the number of processes or runtime.micro_batch, or set vary.mixup and "
                f"vary.cutmix to 0"
            )


def _check_layers(params: FinetuneParams, shape: StudentShape) -> None:
    if params.layers is not None and params.layers > shape.encoder.depth:
        raise TrainingError(f"finetune.layers is {params.layers}, the model has {shape.encoder.depth} blocks")


def _check_state(state: Mapping[str, Any], recipe: Recipe, stage: Stage, train: LabelledVideos) -> None:
    if state.get("classes") is None:
        raise CheckpointError("the checkpoint is of a pretraining, not of a fine-tuning; choose another --out")
    check_same_run(state, recipe, [stage], fixed=_fixed, data="list of videos")
    if state.get("stores") != [train.digest]:
        raise CheckpointError(
            "the run began with other videos or classes; give the same --videos, or start a new run with another --out"
        )


def _fixed(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not change on resume."""
    finetune = without(resolved["finetune"], *FREE_SECTIONS, "test")
    finetune["reading"] = without(finetune.get("reading"), *FREE_READING)
    return {"seed": resolved["seed"], "finetune": finetune, "videos": without(resolved["videos"], *FREE_VIDEOS)}
