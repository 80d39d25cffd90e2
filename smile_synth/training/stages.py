"""The stages of a training, laid out over a dataset of a certain size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smile_synth.errors import TrainingError, counted
from smile_synth.recipe.pretrain import MaskParams, OptimizerParams, PretrainParams, StageParams
from smile_synth.training.schedule import Schedule, published_step

PUBLISHED_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage: how long it is, and the learning rate of each of its updates.

    Args:
        name: from the recipe.
        optimizer: AdamW and its rates.
        batch_size: as the recipe counts it.
        clips_per_batch: clips read for one update over all processes.
        steps_per_epoch: updates of one epoch.
        num_steps: updates of the stage.
        schedule: learning rates.
    """

    name: str
    optimizer: OptimizerParams
    batch_size: int
    clips_per_batch: int
    steps_per_epoch: int
    num_steps: int
    schedule: Schedule

    @property
    def rate_text(self) -> str:
        """The learning rate after the warm-up, and how it follows from the recipe's."""
        rate, batch = self.optimizer.learning_rate, self.batch_size
        scaled = f" x {batch}/{PUBLISHED_BATCH} = {self.schedule.base:.2g}" if self.optimizer.scale_with_batch else ""
        return f"learning rate {rate:g}{scaled}"

    def rate(self, step: int) -> float:
        """Return the learning rate of the stage's update ``step``, counted from 0."""
        return self.schedule.rate(min(step, self.schedule.num_steps - 1))


@dataclass(frozen=True, kw_only=True)
class MaskedStage(Stage):
    """A stage of pretraining.

    Args:
        mask: which tokens are hidden; every clip of a batch gets ``mask.masks_per_clip`` masks.
    """

    mask: MaskParams

    def rate(self, step: int) -> float:
        """Return the learning rate of the stage's update ``step``, counted from 0."""
        if self.optimizer.schedule == "published":
            step = published_step(step, self.steps_per_epoch, self.mask.masks_per_clip)
        return super().rate(step)


def plan_stages(params: PretrainParams, num_clips: int | None) -> tuple[MaskedStage, ...]:
    """Lay the recipe's stages out over a dataset.

    Args:
        params: the recipe's section ``pretrain``.
        num_clips: clips of all stores together, or of a stream's epoch; None for a stream that has no epochs.

    Raises:
        TrainingError: the store has fewer clips than a batch, a warm-up is longer than its stage, or the recipe counts
            in epochs where there are none.
    """
    if num_clips is None:
        _refuse_epochs(params)
    return tuple(_lay_out(params, stage, num_clips) for stage in params.plan)


def _refuse_epochs(params: PretrainParams) -> None:
    """Refuse a recipe that counts in epochs."""
    counted = ["pretrain.watch.probe_every_epochs"] if params.watch.probe_every_epochs else []
    for stage in params.plan:
        optimizer = stage.optimizer or params.optimizer
        counted += [f"epochs of stage {stage.name!r}"] if stage.epochs is not None else []
        if optimizer.warmup_steps is None and optimizer.warmup_epochs != 0:
            counted.append(f"the warm-up of stage {stage.name!r} (give optimizer.warmup_steps instead)")
    if counted:
        raise TrainingError(
            f"a stream has no epochs unless its recipe says how many clips make one: {counted[0]} needs dataset.clips; "
            f"write it into the stream's recipe, or count in steps: pretrain.max_steps and optimizer.warmup_steps"
        )


def _lay_out(params: PretrainParams, stage: StageParams, num_clips: int | None) -> MaskedStage:
    masks = stage.mask.masks_per_clip
    clips_per_batch = params.batch_size // masks
    if num_clips is None:
        # The whole stage is one epoch of clips that are all different.
        assert stage.max_steps is not None
        num_clips = stage.max_steps * clips_per_batch
    is_padded = params.loading.last == "pad"
    steps_per_epoch = -(-num_clips // clips_per_batch) if is_padded else num_clips // clips_per_batch
    if steps_per_epoch == 0:
        raise TrainingError(
            f"a batch takes {clips_per_batch} clips (batch_size {params.batch_size}, {counted(masks, 'mask')} a clip), "
            f"the store holds {num_clips}; render more clips or lower pretrain.batch_size"
        )
    limits = [stage.epochs * steps_per_epoch if stage.epochs else None, stage.max_steps]
    num_steps = min(limit for limit in limits if limit is not None)
    optimizer = stage.optimizer or params.optimizer
    try:
        schedule = _schedule(params, optimizer, num_steps, steps_per_epoch, masks)
    except TrainingError as error:
        raise TrainingError(f"stage {stage.name!r}: {error}") from None
    return MaskedStage(
        name=stage.name,
        optimizer=optimizer,
        batch_size=params.batch_size,
        clips_per_batch=clips_per_batch,
        steps_per_epoch=steps_per_epoch,
        num_steps=num_steps,
        schedule=schedule,
        mask=stage.mask,
    )


def _schedule(
    params: PretrainParams, optimizer: OptimizerParams, num_steps: int, steps_per_epoch: int, masks: int
) -> Schedule:
    scale = params.batch_size / PUBLISHED_BATCH if optimizer.scale_with_batch else 1.0
    counted_per_epoch = steps_per_epoch
    if optimizer.schedule == "published":
        counted_per_epoch = max(steps_per_epoch // masks, 1)
        num_steps = max(num_steps // masks, 1)
    return Schedule(
        base=optimizer.learning_rate * scale,
        floor=optimizer.floor * scale,
        num_steps=num_steps,
        warmup_steps=optimizer.warmup(counted_per_epoch),
        start=optimizer.start * scale,
    )


def locate(stages: Sequence[Stage], step: int) -> tuple[int, int]:
    """Return the stage that update ``step`` of the whole training lies in, and its place there.

    After the last update it is the last stage's end.
    """
    for number, stage in enumerate(stages):
        if step < stage.num_steps:
            return number, step
        step -= stage.num_steps
    return len(stages) - 1, stages[-1].num_steps
