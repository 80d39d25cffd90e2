"""What a training would take, said before it starts: sizes by arithmetic, time from updates that really ran."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from smile_synth.loader.loader import Loader
from smile_synth.loader.memory import batches_held
from smile_synth.progress import format_duration, without_exponent
from smile_synth.recipe.recipe import Recipe
from smile_synth.store import Store
from smile_synth.training.cost import peak_flops, state_bytes
from smile_synth.training.device import using_threads
from smile_synth.training.distributed import join_world
from smile_synth.training.learner import DeviceBatch, Learner
from smile_synth.training.pace import memory_nbytes
from smile_synth.training.preflight import Job, build, check
from smile_synth.training.stages import MaskedStage

CLIPS_TO_TIME, UPDATES_TO_TIME, GROWTH = 4, 5, 4
# An update that takes so long shows the pace of a full batch; one size is given so long.
ENOUGH_S, PATIENCE_S = 0.5, 3.0

Rows = list[tuple[str, str]]


def estimate(recipe: Recipe, stores: Sequence[Store], out: Path, *, resume: bool, device: str) -> Rows:
    """Check a training as its start would, run a few updates that are thrown away, and say what it would take.

    Args:
        recipe, stores, out, resume, device: as for ``pretrain``.

    Returns:
        Pairs of label and text, for people; none on other processes than the first. Nothing is written.

    Raises:
        SmileSynthError: something does not fit.
    """
    with join_world(device) as world, using_threads(recipe.section("pretrain").runtime.threads):
        job = check(recipe, stores, out, resume=resume, world=world)
        learner = build(job)
        if job.state is not None:
            learner.load_weights(job.state)
        rows = [*_sizes(job, learner), *_stages(job), *_resources(job, learner)]
        return rows if world.is_first else []


def _sizes(job: Job, learner: Learner) -> Rows:
    encoder = sum(p.numel() for p in learner.student.encoder.parameters())
    grid, cost = job.grid, learner.cost(job.stages[0].mask)
    return [
        ("student", f"{learner.num_parameters / 1e6:.1f} M parameters ({encoder / 1e6:.1f} M of them the encoder)"),
        ("target", _target(learner)),
        ("teacher", job.teacher_note),
        ("tokens", f"{grid.tubelets} x {grid.rows} x {grid.columns} = {grid.num_tokens}, {cost.num_visible} visible"),
        ("clips", f"{job.clips_text} from {', '.join(str(store.path) for store in job.stores)}"),
        ("processes", f"{job.world.size} x {job.world.device}, {str(learner.precision).removeprefix('torch.')}"),
    ]


def _target(learner: Learner) -> str:
    target, motion = learner.params.target, learner.objective.motion
    kinds = {"both": ["features", "pixels"], "motion": []}.get(target.kind, [target.kind])
    if motion is not None:
        tokens = {"all": "all tokens", "hidden": "hidden tokens", "visible": "visible tokens"}[motion.tokens]
        kinds.append(f"motion of {tokens}, in units of {learner.objective.motion_std:.3g} px a frame")
    return " and ".join(kinds)


def _stages(job: Job) -> Rows:
    return [
        (
            f"stage {stage.name}",
            f"{stage.num_steps} updates, {stage.steps_per_epoch} an epoch, {stage.clips_per_batch} clips x "
            f"{stage.mask.masks_per_clip} masks each; {stage.rate_text} after "
            f"{stage.schedule.warmup_steps} updates of warm-up",
        )
        for stage in job.stages
    ]


def _resources(job: Job, learner: Learner) -> Rows:
    stage = job.stages[0]
    flops = learner.flops_per_clip(stage)
    seconds_per_clip, timed = _time_a_clip(job, learner, stage)
    total_clips = sum(s.num_steps * s.clips_per_batch for s in job.stages) / job.world.size
    peak = peak_flops(job.world.device)
    rate = flops / seconds_per_clip
    return [
        ("memory", _memory(job, learner, stage, timed)),
        (
            "arithmetic",
            f"{without_exponent(flops / 1e9)} GFLOP a clip, measured {rate / 1e12:.3g} TFLOP/s"
            + (f", {100 * rate / peak:.0f}% of the device's peak" if peak else ""),
        ),
        (
            "time",
            f"about {format_duration(total_clips * seconds_per_clip)} "
            f"({seconds_per_clip:.3g} s a clip and device, measured with {timed} at a time; "
            f"{job.world.size / (seconds_per_clip * stage.clips_per_batch):.3g} updates/s)",
        ),
    ]


def _memory(job: Job, learner: Learner, stage: MaskedStage, timed: int) -> str:
    """Return what a device needs: what the timed updates took, and by arithmetic what the rest of a batch adds."""
    measured = memory_nbytes(job.world.device)
    share = stage.clips_per_batch // job.world.size
    at_a_time, frames = _clips_at_a_time(job, stage), _frames_nbytes(job)
    # On a CPU the batches that are read ahead are in the same memory.
    held = share * (batches_held(job.params.loading.prefetch_batches) if job.world.device.type == "cpu" else 1)
    rest = max(0, at_a_time - timed) * _clip_nbytes(job, learner, stage) + max(0, held - timed) * frames
    state = state_bytes(learner.num_parameters, ema=job.params.ema_decay is not None)
    return (
        f"about {(measured + rest) / 2**30:.2f} GiB a device: {measured / 2**30:.2f} measured with {timed} "
        f"clip{'' if timed == 1 else 's'}, {state / 2**30:.2f} of it weights and moments; {rest / 2**30:.2f} more for "
        f"{share} clips, {at_a_time} at a time"
    )


def _frames_nbytes(job: Job) -> int:
    canvas = job.grid.canvas
    return canvas.num_frames * canvas.height * canvas.width * 3


def _clip_nbytes(job: Job, learner: Learner, stage: MaskedStage) -> float:
    """Return what one more clip at a time takes on its device, by arithmetic."""
    value_nbytes = 2 if learner.precision == torch.bfloat16 else 4
    return learner.cost(stage.mask).activation_bytes(value_nbytes) + _frames_nbytes(job) * value_nbytes


def _time_a_clip(job: Job, learner: Learner, stage: MaskedStage) -> tuple[float, int]:
    """Return the seconds that a clip takes in updates at a learning rate of zero, and of how many clips they were.

    A few clips say little of a full batch: most of a small update is overhead. So updates grow, up to the clips that
    training has at a time, until one takes long enough, or the next would not surely fit into memory.
    """
    still = replace(stage, schedule=replace(stage.schedule, base=0.0, floor=0.0, start=0.0))
    learner.start_stage(still)
    device = job.world.device
    seconds = _update_s(job, learner, still, _batch(job, 1))
    if device.type == "cpu" and job.world.any(seconds > PATIENCE_S):
        return seconds, 1
    limit = _clips_at_a_time(job, stage)
    count = min(CLIPS_TO_TIME, limit)
    while True:
        began = time.perf_counter()
        seconds = _typical_update_s(job, learner, still, count)
        is_enough = seconds >= ENOUGH_S or time.perf_counter() - began > PATIENCE_S
        larger = min(GROWTH * count, limit)
        is_full = larger * _clip_nbytes(job, learner, stage) > _free_nbytes(device) / 2
        # Asked of all processes together: all must time the same clips.
        if count == limit or job.world.any(is_enough or is_full):
            return seconds / count, count
        count = larger


def _clips_at_a_time(job: Job, stage: MaskedStage) -> int:
    share = stage.clips_per_batch // job.world.size
    return min(job.params.runtime.micro_batch or share, share)


def _free_nbytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _typical_update_s(job: Job, learner: Learner, stage: MaskedStage, count: int) -> float:
    """Return the median seconds of a few updates on ``count`` clips of each process, after one that warms up."""
    clips = _batch(job, count)
    _update_s(job, learner, stage, clips)
    timed = [_update_s(job, learner, stage, clips)]
    while len(timed) < UPDATES_TO_TIME and not job.world.any(sum(timed) > ENOUGH_S):
        timed.append(_update_s(job, learner, stage, clips))
    return statistics.median(timed)


def _update_s(job: Job, learner: Learner, stage: MaskedStage, clips: DeviceBatch) -> float:
    began = time.perf_counter()
    learner.update(clips, stage, 0, 0).loss.item()
    return time.perf_counter() - began


def _batch(job: Job, count: int) -> DeviceBatch:
    """Return ``count`` clips of each process."""
    world = job.world
    with Loader(
        job.stores,
        batch_size=count * world.size,
        seed=0,
        rank=world.rank,
        world_size=world.size,
        motion=job.params.uses_motion,
        features=job.features,
        render_workers=1,
    ) as loader:
        batch = next(iter(loader))
    motion = None if batch.motion_BTHW2 is None else batch.motion_BTHW2.to(world.device)
    features = None if batch.features_BND is None else batch.features_BND.to(world.device)
    frames, boxes = batch.frames_BTHWC.to(world.device), batch.boxes_BKT4.to(world.device)
    return DeviceBatch(frames, boxes, batch.first, motion, features)
