"""What to change before a large rendering or training begins."""

from __future__ import annotations

from collections.abc import Iterator

from smile_synth.plan.forecast import Forecast, Rendering, Training

MOST_OBJECTS = 100_000
LARGE_SHARD = 1024
MOST_CLIPS_A_BACKGROUND = 100
# What one usual network card of a host delivers.
USUAL_GBIT_PER_S = 25.0
# Clips a second and GPU above which launching kernels, not arithmetic, takes the time.
FEW_ARITHMETIC = 20_000.0
MOST_CORES_A_GPU = 8.0
SAFE_SHARE_OF_MEMORY = 0.9


def advise(forecast: Forecast) -> tuple[str, ...]:
    """Return a sentence for everything that should be changed, the most important first."""
    training = forecast.training
    return (*_of_rendering(forecast.rendering), *(() if training is None else _of_training(training)))


def _of_rendering(rendering: Rendering) -> Iterator[str]:
    shards, cores, size = rendering.num_shards, rendering.cores, rendering.clips_per_shard
    if rendering.num_objects > MOST_OBJECTS and size < LARGE_SHARD:
        large = Rendering(rendering.sample, rendering.clips, LARGE_SHARD, cores)
        yield (
            f"{rendering.num_objects:,} files or objects are many: --set dataset.store.clips_per_shard={LARGE_SHARD} "
            f"makes {large.num_objects:,}, and a root document of {large.root_nbytes / 1e6:.0f} MB instead of "
            f"{rendering.root_nbytes / 1e6:.0f} MB."
        )
    if shards < cores:
        wanted = max(1, rendering.clips // (4 * cores))
        change = f": --set dataset.store.clips_per_shard={wanted}" if wanted < size else "; use fewer cores"
        yield f"{shards} shards occupy only {shards} of {cores} cores{change}."
    backgrounds = rendering.sample.num_backgrounds
    if backgrounds and rendering.clips / backgrounds > MOST_CLIPS_A_BACKGROUND:
        yield (
            f"{backgrounds:,} backgrounds for {rendering.clips:,} clips: each comes "
            f"{rendering.clips / backgrounds:,.0f} times, and reports warn above {MOST_CLIPS_A_BACKGROUND}; give more "
            f"with --set dataset.assets.backgrounds=FOLDER."
        )


def _of_training(training: Training) -> Iterator[str]:
    cost, cluster = training.cost, training.cluster
    batches = sorted({stage.stage.clips_per_batch for stage in cost.stages})
    bad = next((batch for batch in batches if batch % cluster.gpus), None)
    if bad is not None:
        yield (
            f"a batch of {bad} clips does not divide over {cluster.gpus} GPUs, and training would refuse it: change "
            f"pretrain.batch_size or the number of GPUs."
        )
    safe = SAFE_SHARE_OF_MEMORY * cluster.gpu.memory_gib * 2**30
    if training.gpu_nbytes > safe:
        yield _less_memory(training, safe)
    if not training.is_measured and training.clips_per_s / cluster.gpus > FEW_ARITHMETIC:
        yield (
            f"{training.clips_per_s / cluster.gpus:,.0f} clips/s on one GPU are unlikely: so small a student does not "
            f"reach {cluster.mfu:.0%} of the peak; measure it with pretrain --dry-run and give --steps-per-second."
        )
    if training.node_gbit_per_s > USUAL_GBIT_PER_S:
        yield (
            f"one host of {cluster.gpus_a_node} GPUs must read {training.node_gbit_per_s:.3g} Gbit/s, more than a card "
            f"of {USUAL_GBIT_PER_S:g} Gbit/s delivers: copy the store to local disks first, or render "
            f"with --virtual, which takes {training.draw_cores / cluster.gpus:.3g} cores for each GPU."
        )
    if training.read_cores / cluster.gpus > MOST_CORES_A_GPU:
        yield (
            f"reading takes {training.read_cores / cluster.gpus:.3g} cores for each GPU; hosts with fewer will make "
            f"the GPUs wait."
        )


def _less_memory(training: Training, safe: float) -> str:
    cost, gpus = training.cost, training.cluster.gpus
    share = max(stage.stage.clips_per_batch for stage in cost.stages) // gpus
    said = (
        f"a rank needs about {training.gpu_nbytes / 2**30:.3g} GiB, and {training.cluster.gpu.name} has "
        f"{training.cluster.gpu.memory_gib} GiB"
    )
    for clips in (clips for clips in range(share, 0, -1) if share % clips == 0):
        if cost.gpu_nbytes(gpus, clips) <= safe:
            return f"{said}: --set pretrain.runtime.micro_batch={clips}."
    return f"{said}, even with one clip at a time: --set pretrain.runtime.sharding=shard, or a smaller student."
