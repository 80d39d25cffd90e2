"""A forecast for people: pairs of label and text."""

from __future__ import annotations

from collections.abc import Iterator

from smile_synth.plan.forecast import HOUR_S, Forecast, Rendering, Training
from smile_synth.plan.sample import Sample
from smile_synth.progress import format_duration, without_exponent
from smile_synth.store.summary import format_size

Row = tuple[str, str]
BUSY_SHARE = 0.2


def rows(forecast: Forecast) -> list[Row]:
    """Return what people read: what was measured, then the forecast, then what it rests on."""
    found = [*_measured(forecast.rendering.sample), *_rendering(forecast.rendering), *_storage(forecast.rendering)]
    return found if forecast.training is None else [*found, *_training(forecast.training)]


def _measured(sample: Sample) -> Iterator[Row]:
    yield "measured here", f"{sample.clips:,} clips of {sample.clips_per_shard} a shard, on {sample.workers} cores"
    yield (
        "a clip",
        f"{_ms(sample.cpu_s)} of a core to render and store, and {_ms(sample.disk_s)} waiting for the disk; "
        f"{_ms(sample.draw_s)} to render alone; {_ms(sample.read_s)} to read",
    )
    if sample.busy_share > BUSY_SHARE:
        yield (
            "busy",
            f"processes waited for a core {sample.busy_share:.0%} of the time; that is left out, but a clip takes more "
            f"core time on a busy machine: measure again on a quiet one",
        )


def _rendering(rendering: Rendering) -> Iterator[Row]:
    yield (
        "rendering",
        f"{format_duration(rendering.seconds)} on {rendering.cores:,} cores like these, "
        f"{rendering.core_seconds / HOUR_S:,.3g} core hours",
    )
    yield (
        "while rendering",
        f"{format_size(rendering.write_nbytes_per_s)}/s to write; {format_size(rendering.sample.worker_nbytes)} of "
        f"memory a process, {format_size(rendering.peak_nbytes)} in all",
    )


def _storage(rendering: Rendering) -> Iterator[Row]:
    sample = rendering.sample
    yield (
        "stored",
        f"{format_size(rendering.stored_nbytes)} ({format_size(sample.stored_nbytes)} a clip, frames "
        f"{sample.frames_nbytes / sample.nbytes['frames']:.1f} times smaller than raw); with --virtual "
        f"{format_size(rendering.virtual_nbytes)}",
    )
    yield (
        "objects",
        f"{rendering.num_objects:,} files or objects: {rendering.num_shards:,} shards of {rendering.clips_per_shard:,} "
        f"clips in {sample.num_files} arrays",
    )


def _training(training: Training) -> Iterator[Row]:
    cost, cluster = training.cost, training.cluster
    flops = ", ".join(f"{stage.flops / 1e12:.3g}" for stage in cost.stages)
    yield (
        "model",
        f"{cost.recipe}: {cost.num_parameters / 1e6:.1f} M parameters, {cost.grid.num_tokens} tokens, {flops} TFLOP a "
        f"clip ({cost.teacher_flops / 1e12:.3g} of it the teacher)",
    )
    if training.is_measured:
        basis = f"{cluster.steps_per_second:g} updates/s as given"
    else:
        basis = (
            f"ASSUMED: {cluster.mfu:.0%} of {cluster.gpu.peak_flops / 1e12:.0f} TFLOP/s; give --steps-per-second "
            f"where you have measured it"
        )
    yield (
        "training",
        f"{format_duration(training.seconds)} on {cluster.gpus} x {cluster.gpu.name}, {cost.total_steps:,} updates, "
        f"every clip {without_exponent(cost.clips_seen / training.clips)} times ({basis})",
    )
    yield (
        "to feed the GPUs",
        f"{training.clips_per_s:,.0f} clips/s: {training.network_gbit_per_s:.3g} Gbit/s of network, "
        f"{training.node_gbit_per_s:.3g} for each host of {cluster.gpus_a_node} GPUs; "
        f"{without_exponent(training.read_cores)} cores to read, or "
        f"{without_exponent(training.draw_cores)} to render the clips instead",
    )
    yield (
        "memory a rank",
        f"GPU about {training.gpu_nbytes / 2**30:.3g} GiB of {cluster.gpu.memory_gib}; host "
        f"{training.host_nbytes / 2**30:.3g} GiB",
    )


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"
