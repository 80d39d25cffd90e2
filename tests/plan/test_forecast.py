"""Forecasts: arithmetic from given measurements, and a sample that is really rendered."""

from __future__ import annotations

import json
import os
import resource
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import TinyDataset, TinyParams
from typer.testing import CliRunner, Result

from smile_synth.cli import app
from smile_synth.errors import ClusterError, GeneratorError
from smile_synth.generator.dataset import Dataset
from smile_synth.plan.advice import advise
from smile_synth.plan.forecast import Cluster, Forecast, Rendering, Training
from smile_synth.plan.gpus import GPUS, find_gpu
from smile_synth.plan.sample import Sample, ShardTime, _summary, measure
from smile_synth.plan.table import rows
from smile_synth.plan.training_cost import TrainingCost, training_cost
from smile_synth.recipe.recipe import Recipe, load_recipe
from smile_synth.scene import Canvas
from smile_synth.store import Store
from smile_synth.store.writer import fill_store, finish_store, in_processes, render_store

SAMPLE = Sample(
    clips=256,
    workers=2,
    clips_per_shard=64,
    cpu_s=0.004,
    disk_s=0.001,
    draw_s=0.002,
    read_s=0.0005,
    start_s=3.0,
    finish_s=1e-5,
    worker_nbytes=300_000_000,
    num_files=15,
    nbytes={"frames": 400_000.0, "boxes": 500.0, "motion": 10_000.0},
    virtual_nbytes=1_200.0,
    frames_nbytes=2_408_448,
    num_backgrounds=1000,
    busy_share=0.0,
)
H100 = GPUS["h100"]
# Pixels as target: no teacher, so that nothing has to be built.
PIXELS = ["pretrain.batch_size=2048", "pretrain.runtime.micro_batch=null"]


def rendering(**changes: int) -> Rendering:
    return Rendering(SAMPLE, **{"clips": 10_000_000, "clips_per_shard": 64, "cores": 512, **changes})


@pytest.fixture(scope="module")
def cost() -> TrainingCost:
    return training_cost(load_recipe("videomae-vit-b", PIXELS), Canvas(224, 224, 16), 10_000_000)


def test_batches_read_ahead_are_in_the_memory_of_a_host(cost: TrainingCost) -> None:
    batch = 2048 / 8 * 16 * 224 * 224 * 3
    assert cost.host_nbytes(8, 0) == 4 * batch
    more = cost.params.loading.model_copy(update={"prefetch_batches": 8})
    assert replace(cost, params=cost.params.model_copy(update={"loading": more})).host_nbytes(8, 0) == 10 * batch


def test_rendering_is_start_then_shards_in_turn_then_sealing() -> None:
    forecast = rendering()
    assert forecast.num_shards == 156_250
    assert forecast.num_objects == 156_250 * 15 + 18
    assert forecast.core_seconds == pytest.approx(10_000_000 * 0.004 + 512 * 3)
    # 305.2 shards for each core: the last round is not full.
    assert forecast.seconds == pytest.approx(3 + 306 * 64 * 0.005 + 2 * forecast.num_objects * 1e-5)
    assert forecast.stored_nbytes == pytest.approx(4.105e12)
    assert forecast.virtual_nbytes == pytest.approx(1.2e10)
    few = rendering(clips=100, cores=512)
    assert few.seconds == pytest.approx(3 + 64 * 0.005, abs=0.01)
    assert few.core_seconds == pytest.approx(100 * 0.004 + 2 * 3)


def test_training_is_arithmetic_with_an_assumed_share_of_the_peak(cost: TrainingCost) -> None:
    assumed = Training(SAMPLE, cost, Cluster(512, 8, H100, 0.35), 10_000_000)
    assert assumed.seconds == pytest.approx(cost.total_flops / (8 * 989e12 * 0.35))
    flops = cost.stages[0].flops
    assert assumed.clips_per_s == pytest.approx(8 * 989e12 * 0.35 / flops)
    assert assumed.network_gbit_per_s == pytest.approx(assumed.clips_per_s * 400_500 * 8 / 1e9)
    assert assumed.read_cores == pytest.approx(assumed.clips_per_s * 0.0005)
    given = Training(SAMPLE, cost, Cluster(512, 8, H100, 0.35, steps_per_second=2.0), 10_000_000)
    assert given.seconds == pytest.approx(cost.total_steps / 2)
    assert given.clips_per_s == pytest.approx(2 * cost.stages[0].stage.clips_per_batch)


def test_costs_of_a_training_are_those_of_the_student_itself(cost: TrainingCost) -> None:
    from smile_synth.masking.grid import TokenGrid
    from smile_synth.model.student import build_student

    grid = TokenGrid.of(Canvas(224, 224, 16), tubelet_size=2, patch_size=16)
    student = build_student(cost.params.student, grid, grid.pixels_per_token)
    assert cost.num_parameters == sum(p.numel() for p in student.parameters())
    assert cost.teacher_flops == cost.teacher_nbytes == 0
    state = 16 * cost.num_parameters
    a_clip = cost.stages[0].activation_nbytes + 3 * 16 * 224 * 224 * 3
    assert cost.gpu_nbytes(8) == pytest.approx(state + cost.share(8) * a_clip)
    assert cost.gpu_nbytes(8, 1) == pytest.approx(state + a_clip)


@pytest.mark.slow
def test_a_teacher_costs_flops_and_memory_but_downloads_nothing() -> None:
    recipe = load_recipe("evidence-features")
    found = training_cost(recipe, recipe.section("dataset").canvas.canvas, 100_000)
    assert found.teacher_flops > 0
    assert found.teacher_nbytes > 1e6
    assert found.stages[0].flops > found.teacher_flops


def test_advice_names_what_to_change(cost: TrainingCost) -> None:
    cluster = Cluster(512, 6, GPUS["a10g"], 0.35)
    sample = replace(SAMPLE, num_backgrounds=14)
    large = Rendering(sample, 10_000_000, 64, 512)
    said = " ".join(advise(Forecast("mine.yaml", large, cluster, Training(sample, cost, cluster, 10_000_000))))
    for words in (
        "--set dataset.store.clips_per_shard=1024 makes 146,508",
        "14 backgrounds for 10,000,000 clips",
        "a batch of 2048 clips does not divide over 6 GPUs",
        "--set pretrain.runtime.micro_batch=",
    ):
        assert words in said
    cluster = Cluster(4, 8, H100, 0.35)
    small = Rendering(SAMPLE, 50_000, 1024, 4)
    assert advise(Forecast("mine.yaml", small, cluster, None)) == ()
    idle = Rendering(SAMPLE, 50_000, 1024, 512)
    assert "49 shards occupy only 49 of 512 cores: --set dataset.store.clips_per_shard=24" in " ".join(
        advise(Forecast("mine.yaml", idle, cluster, None))
    )


def test_the_advised_micro_batch_fits(cost: TrainingCost) -> None:
    cluster = Cluster(4, 8, GPUS["a10g"], 0.35)
    training = Training(SAMPLE, cost, cluster, 50_000)
    (sentence,) = advise(Forecast("mine.yaml", Rendering(SAMPLE, 50_000, 1024, 4), cluster, training))
    clips = int(sentence.partition("micro_batch=")[2].rstrip("."))
    assert 256 % clips == 0
    assert cost.gpu_nbytes(8, clips) < 24 * 2**30 < cost.gpu_nbytes(8)


def test_people_read_that_speed_is_assumed(cost: TrainingCost) -> None:
    cluster = Cluster(512, 8, H100, 0.35)
    said = dict(rows(Forecast("mine.yaml", rendering(), cluster, Training(SAMPLE, cost, cluster, 10_000_000))))
    assert "ASSUMED: 35% of 989 TFLOP/s" in said["training"]
    assert "4.11 TB" in said["stored"]
    assert "--virtual 12 GB" in said["stored"]
    assert "busy" not in said
    busy = Rendering(replace(SAMPLE, busy_share=0.9), 1000, 64, 2)
    assert "waited for a core 90%" in dict(rows(Forecast("mine.yaml", busy, cluster, None)))["busy"]


def test_large_numbers_of_the_table_have_no_exponent(cost: TrainingCost) -> None:
    cluster = Cluster(512, 8, H100, 0.35)
    few = Training(replace(SAMPLE, draw_s=1.0), cost, cluster, 10)
    said = dict(rows(Forecast("mine.yaml", rendering(), cluster, few)))
    assert f"every clip {cost.clips_seen / 10:.0f} times" in said["training"]
    assert few.draw_cores > 1000
    assert f"or {few.draw_cores:.0f} to render" in said["to feed the GPUs"]


def test_what_the_first_shards_take_longer_counts_as_start(tmp_path: Path) -> None:
    dataset = TinyDataset(clips=16)
    store = render_store(dataset, tmp_path / "clips", recipe=dataset.recipe())
    each = {7: (5.0, 3.0, 2.0, 2.0), 8: (4.0, 2.0, 2.0, 2.0)}
    times = [ShardTime(process, each[process][k], 9, 0, 0.1, 1.5, 1) for k in range(4) for process in each]
    sample = _summary(store, store, times, finish_s=0.0, workers=2)
    assert sample.cpu_s == 2.0 / store.layout.clips_per_shard
    assert sample.start_s == 1.5 + (3 + 1 + 2 + 0) / 2
    assert sample.disk_s == 7.0 / store.layout.clips_per_shard


def test_an_unknown_gpu_is_one_line() -> None:
    with pytest.raises(ClusterError, match=r"got 'h10'\. Did you mean 'h100'\?"):
        find_gpu("h10")


def tiny_recipe(dataset: TinyDataset) -> Recipe:
    return Recipe.model_validate({"name": "tiny", "seed": 7, "dataset": dataset.params.model_dump(mode="json")})


def test_a_sample_is_rendered_and_its_sizes_are_those_of_a_store(tmp_path: Path) -> None:
    recipe = load_recipe("demo", ["dataset.clips=256", "dataset.store.clips_per_shard=16"])
    sample = measure(recipe, Dataset.of(recipe), tmp_path, seconds=0.1, workers=1)
    stored = Store.open(tmp_path / "sample.zarr")
    assert (sample.clips, sample.clips_per_shard) == (len(stored), stored.layout.clips_per_shard)
    assert sample.clips >= 6 * sample.clips_per_shard, "as many to become warm as to measure"
    files = sum(file.stat().st_size for file in (stored.path / "frames").glob("c.*"))
    assert sample.nbytes["frames"] * sample.clips == pytest.approx(files)
    assert 0 < sample.read_s < sample.cpu_s
    assert 100 < sample.virtual_nbytes < sum(sample.nbytes.values())
    assert sample.start_s > 0.2, "importing takes longer than that"
    assert 50e6 < sample.worker_nbytes < 2e9


def test_a_clip_that_cannot_be_made_ends_the_plan(tmp_path: Path) -> None:
    recipe = load_recipe("demo", ["dataset.generator=nothing.py"])
    with pytest.raises(GeneratorError, match=r"nothing\.py"):
        Dataset.of(recipe)
    failing = TinyDataset(params=TinyParams(fails_at=0))
    with pytest.raises(GeneratorError, match="as it was told"):
        measure(tiny_recipe(failing), failing, tmp_path, seconds=0.1, workers=1)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["plan", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--clips", "many"], "--clips must be a whole number of at least 1, such as 10e6, got 'many'"),
        (["demo", "--clips", "1.5"], "got '1.5'"),
        (["demo", "--model", "smile-vit-b", "--gpu", "abacus"], "--gpu is one of h200"),
        (["demo", "--scratch", "nowhere"], "--scratch must be a folder that exists, got nowhere"),
        (["dmeo"], "Did you mean 'demo'?"),
        (["demo", "--model", "smile-vit-b"], "smile-vit-b trains on clips of 16x224x224, those of demo are 8x32x32"),
        (["demo", "--clips", "100", "--model", "demo"], "the store holds 100; render more clips"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1


@pytest.mark.slow
def test_the_forecast_of_a_rendering_is_near_what_it_takes(tmp_path: Path) -> None:
    """By processor time, on a machine that may be busy, so within a factor of 1.5; docs/cluster.md has a quiet run."""
    sizes = ["dataset.clips=8192", "dataset.store.clips_per_shard=256"]
    settings = [word for size in sizes for word in ("--set", size)]
    result = run("demo", *settings, "--cores", 2, "--workers", 2, "--seconds", 8, "--json", tmp_path / "plan.json")
    assert result.exit_code == 0, result.output
    plan = json.loads((tmp_path / "plan.json").read_text())
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    recipe = load_recipe("demo", sizes)
    path = tmp_path / "clips"
    fill_store(Dataset.of(recipe), path, recipe=recipe.resolved(), engine=in_processes(2))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    finish_store(path)
    took_s = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    assert 1 / 1.5 < 3600 * plan["rendering"]["core_hours"] / took_s < 1.5
    files = [Path(folder) / name for folder, _, names in os.walk(path) for name in names]
    assert plan["storage"]["stored_tb"] * 1e12 == pytest.approx(sum(f.stat().st_size for f in files), rel=0.05)
    assert plan["storage"]["objects"] == len(files)
