"""What a fine-tuning would take, said before it starts: sizes by arithmetic, time from an update that really ran."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from smile_synth.downstream.finetune import Finetuning, open_source
from smile_synth.downstream.learner import ClassifierLearner
from smile_synth.downstream.preflight import FinetuneJob, build, check
from smile_synth.progress import format_duration, without_exponent
from smile_synth.recipe.recipe import Recipe
from smile_synth.training.cost import peak_flops, state_bytes
from smile_synth.training.device import using_threads
from smile_synth.training.distributed import join_world

VIDEOS_TO_TIME = 2

Rows = list[tuple[str, str]]


def estimate(
    recipe: Recipe, model: str, videos: Path, out: Path, *, resume: bool, device: str, heads: int | None = None
) -> Rows:
    """Check a fine-tuning as its start would, run a small update that is thrown away, and say what it would take.

    Args:
        recipe, model, videos, out, resume, device, heads: as for ``finetune``.

    Returns:
        Pairs of label and text, for people; none on other processes than the first. Nothing is written.

    Raises:
        SmileSynthError: something does not fit.
    """
    with join_world(device) as world, using_threads(recipe.section("finetune").runtime.threads):
        job = check(recipe, model, videos, out, resume=resume, world=world, heads=heads)
        learner = build(job)
        if job.state is not None:
            learner.load_weights(job.state)
        rows = [*_sizes(job, learner), *_resources(job, learner)]
        return rows if world.is_first else []


def _sizes(job: FinetuneJob, learner: ClassifierLearner) -> Rows:
    task, grid, stage = Finetuning(job, learner), job.shape.grid, job.stage
    start, trained, *left_out = task.opening()
    return [
        ("model", f"{learner.num_parameters / 1e6:.1f} M parameters, {start}"),
        ("trained", trained.removeprefix("trained: ")),
        ("tokens", f"{grid.tubelets} x {grid.rows} x {grid.columns} = {grid.num_tokens}"),
        ("videos", "; ".join([task.size_text(), *left_out])),
        (
            f"stage {stage.name}",
            f"{stage.num_steps} updates, {stage.steps_per_epoch} an epoch; {stage.rate_text} after "
            f"{stage.schedule.warmup_steps} updates of warm-up",
        ),
        ("processes", f"{job.world.size} x {job.world.device}, {str(learner.precision).removeprefix('torch.')}"),
    ]


def _resources(job: FinetuneJob, learner: ClassifierLearner) -> Rows:
    stage, world = job.stage, job.world
    still = replace(stage, schedule=replace(stage.schedule, base=0.0, floor=0.0, start=0.0))
    learner.start_stage(still)
    task = Finetuning(job, learner)
    # Pairs of clips are mixed: an even number of videos on every process.
    count = min(VIDEOS_TO_TIME, job.params.batch_size // world.size) * world.size
    with open_source(job, count) as source:
        began = time.perf_counter()
        batch = next(iter(source))
        read_s = time.perf_counter() - began
    clips = task.on_device(batch, 0)
    learner.update(clips, still, 0, 0)
    began = time.perf_counter()
    learner.update(clips, still, 0, 0).loss.item()
    seconds = (time.perf_counter() - began) / len(clips.labels_B)
    total = stage.num_steps * stage.clips_per_batch / world.size
    flops, peak = learner.flops_per_clip(stage), peak_flops(world.device)
    state = state_bytes(learner.num_parameters, ema=job.params.ema_decay is not None)
    return [
        ("memory", f"weights, gradients and moments {state / 2**30:.2f} GiB a device; activations come on top"),
        (
            "arithmetic",
            f"{without_exponent(flops / 1e9)} GFLOP a clip, measured {flops / seconds / 1e12:.3g} TFLOP/s"
            + (f", {100 * flops / seconds / peak:.0f}% of the device's peak" if peak else ""),
        ),
        ("reading", f"{read_s:.2g} s for the first {count} videos over all processes, on idle threads"),
        (
            "time",
            f"about {format_duration(total * seconds)} where reading keeps up ({seconds:.3g} s a clip and device)",
        ),
    ]
