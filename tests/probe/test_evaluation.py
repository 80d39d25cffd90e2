"""Whole probes of tiny networks: metrics, files, baselines, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import CommandLine
from tiny_videos import brightening

from smile_synth.api.probe import Probed
from smile_synth.api.probe import probe as probe_model
from smile_synth.errors import ModelError, ProbeError
from smile_synth.interop.encoder import VideoEncoder
from smile_synth.interop.formats import export, read_student
from smile_synth.masking.grid import TokenGrid
from smile_synth.model.student import StudentShape, build_student
from smile_synth.probe.evaluation import ProbePlace, probe_features
from smile_synth.probe.files import RIGHT_FILE, write_results
from smile_synth.probe.probed_model import (
    ProbedModel,
    extractors_of,
    open_model,
    pretraining_assets,
    supervised_of,
    trained_extractor,
)
from smile_synth.probe.results import ProbeResults
from smile_synth.probe.student_probe import StudentProbe
from smile_synth.recipe.dataset import CanvasParams
from smile_synth.recipe.probe import ProbeParams
from smile_synth.recipe.recipe import load_recipe
from smile_synth.recipe.student import StudentParams
from smile_synth.scene import Canvas
from smile_synth.training.checkpoint import write_checkpoint

STUDENT = StudentParams(width=16, depth=1, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2)
GRID = TokenGrid.of(Canvas(32, 32, 4), tubelet_size=2, patch_size=16)
CANVAS = CanvasParams(height=32, width=32, frames=4)
SMALL = ("probe.train_clips=128", "probe.test_clips=64", "probe.min_clips_per_class=2")
MOTION = "motion: {path: linear, key_frames: {inner: [1.0], easing: {accelerating: 1}}}"


def shape_and_weights(seed: int = 0) -> tuple[StudentShape, dict[str, torch.Tensor]]:
    torch.manual_seed(seed)
    student = build_student(STUDENT, GRID, 8)
    return student.shape, student.state_dict()


def write_run(folder: Path, *, seed: int = 0, split: str = "pretrain") -> Path:
    """A run as pretraining leaves it, without the training."""
    shape, weights = shape_and_weights(seed)
    (folder / "checkpoints").mkdir(parents=True)
    state = {"format": "smile-synth checkpoint", "version": 1, "model": weights, "student": shape.to_dict()}
    write_checkpoint(state, folder / "checkpoints" / "latest.pt")
    recipe = load_recipe("demo", [f"dataset.assets.split={split}", "pretrain.student.patch_size=16"])
    (folder / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    return folder


def probe(probed: ProbedModel, tmp_path: Path, *overrides: str, recipe: str = "probe-motion") -> ProbeResults:
    params: ProbeParams = load_recipe(recipe, [*SMALL, *overrides]).section("probe")
    place = ProbePlace(tmp_path / "features", tmp_path / "clips", tmp_path, probed.device, workers=1)
    supervised = supervised_of(probed, params)
    extractors = extractors_of(probed, params)
    return probe_features(extractors, params, probed.canvas, place, checkpoint="a run", supervised=supervised)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def probed(run: Path) -> ProbedModel:
    return open_model(run, torch.device("cpu"))


def test_a_probe_of_a_run_leaves_a_table_metrics_and_pictures(probed: ProbedModel, tmp_path: Path) -> None:
    results = probe(probed, tmp_path, "probe.classifiers=[linear, knn]")
    files = write_results(results, tmp_path / "out")
    assert [file.name for file in files] == [
        "table.txt",
        "results.json",
        RIGHT_FILE,
        *(f"confusion-{question}-{name}.png" for question in ("direction", "outline") for name in ("linear", "knn")),
    ]
    assert all(file.stat().st_size > 0 for file in files)
    table = files[0].read_text()
    for text in ("trained student", "same network untrained", "raw frame differences", "efficientnet", "chance"):
        assert text in table
    assert "(4 classes; 128 training and 64 test clips)" in table
    written = json.loads(files[1].read_text())
    direction, outline = written["questions"]
    assert len(direction["classes"]) == 8
    assert (outline["num_train"], outline["num_test"]) == (128, 64)
    for reading in outline["readings"]:
        assert np.sum(reading["confusion"]) == 64
        assert reading["accuracy"]["low"] <= reading["accuracy"]["value"] <= reading["accuracy"]["high"]
        assert np.trace(reading["confusion"]) / 64 == pytest.approx(reading["accuracy"]["value"])
    assert {r["features"] for r in direction["readings"]} == {"trained", "untrained", "differences", "teacher"}
    with np.load(tmp_path / "out" / RIGHT_FILE) as right:
        assert len(right.files) == 2 * 2 * 4
        for reading in outline["readings"]:
            is_right = right[f"outline/{reading['classifier']}/{reading['features']}"]
            assert (is_right.dtype, is_right.shape) == (np.bool_, (64,))
            assert is_right.mean() == pytest.approx(reading["accuracy"]["value"])


def test_the_same_probe_again_gives_the_same_metrics_from_kept_features(probed: ProbedModel, tmp_path: Path) -> None:
    overrides = "probe.baselines=[untrained, differences]"
    first, again = (probe(probed, tmp_path, overrides).to_json() for _ in range(2))
    assert first | {"seconds": 0} == again | {"seconds": 0}
    fresh = probe(probed, tmp_path / "elsewhere", overrides).to_json()
    assert fresh["questions"] == first["questions"]


def test_other_weights_in_the_same_folder_are_not_mistaken(probed: ProbedModel, tmp_path: Path) -> None:
    overrides = "probe.baselines=[]"
    probe(probed, tmp_path, overrides)
    other = open_model(write_run(tmp_path / "other", seed=1), torch.device("cpu"))
    mixed = probe(other, tmp_path, overrides).to_json()
    assert mixed["questions"] == probe(other, tmp_path / "alone", overrides).to_json()["questions"]


def test_the_full_recipe_asks_seven_questions_three_ways(probed: ProbedModel, tmp_path: Path) -> None:
    results = probe(probed, tmp_path, "probe.attentive.epochs=1", "probe.baselines=[differences]", recipe="probe-full")
    assert [question.name for question in results.questions] == [
        "direction", "speed", "rotation", "size-change", "path", "order", "object-class",
    ]  # fmt: skip
    for question in results.questions:
        readings = {(reading.features, reading.classifier) for reading in question.readings}
        assert readings == {
            ("trained", "linear"), ("trained", "knn"), ("trained", "attentive"),
            ("differences", "linear"), ("differences", "knn"),
        }  # fmt: skip
    assert set(results.metrics()) >= {"order/attentive", "speed/knn"}


def test_frame_differences_tell_acceleration_from_its_reverse(probed: ProbedModel, tmp_path: Path) -> None:
    results = probe(
        probed,
        tmp_path,
        "probe.baselines=[differences]",
        f"probe.sources={{a: {{params: {{num_objects: [1, 1], {MOTION}}}}}}}",
        "probe.questions=[{name: order, source: a, label: order}]",
    )
    assert results.questions[0].reading("differences", "linear").score.accuracy.value > 0.8


def test_the_same_network_trained_on_the_answers_has_a_reading_of_its_own(probed: ProbedModel, tmp_path: Path) -> None:
    overrides = ("probe.baselines=[supervised]", "probe.supervised.epochs=1")
    results = probe(probed, tmp_path, *overrides)
    for question in results.questions:
        assert {(r.features, r.classifier) for r in question.readings} == {
            ("trained", "linear"), ("supervised", "end-to-end"),
        }  # fmt: skip
    assert len(results.right()["outline/end-to-end/supervised"]) == 64
    assert "same network trained on the answers" in results.table()


def test_blocks_are_read_beside_the_last_and_a_missing_one_is_refused(probed: ProbedModel, tmp_path: Path) -> None:
    results = probe(probed, tmp_path, "probe.baselines=[]", "probe.blocks=[1]")
    assert [r.features for r in results.questions[0].readings] == ["trained", "block-1"]
    frames = np.random.default_rng(0).integers(0, 256, (2, 4, 32, 32, 3), np.uint8)
    last, block = (extractor(frames).tokens_BND for extractor in extractors_of(probed, params_of("probe.blocks=[1]")))
    assert last is not None
    assert block is not None
    # The student has one block: only the norm stands between the two.
    torch.testing.assert_close(probed.encoder.encoder.norm(block), last)
    with pytest.raises(ModelError, match="blocks 1 to 1, got 2"):
        extractors_of(probed, params_of("probe.blocks=[2]"))


def params_of(*overrides: str) -> ProbeParams:
    params: ProbeParams = load_recipe("probe-motion", [*SMALL, "probe.baselines=[]", *overrides]).section("probe")
    return params


def test_images_seen_in_pretraining_are_reported(tmp_path: Path, run: Path) -> None:
    for split, shared in (("pretrain", False), ("all", True)):
        probed = open_model(write_run(tmp_path / split, split=split), torch.device("cpu"))
        known, note = pretraining_assets(probed, [])
        params: ProbeParams = load_recipe("probe-motion", [*SMALL, "probe.baselines=[]"]).section("probe")
        place = ProbePlace(
            tmp_path / "f", tmp_path / "clips", tmp_path, probed.device, workers=1, pretraining_assets=known
        )
        results = probe_features(extractors_of(probed, params), params, probed.canvas, place, checkpoint="x")
        assert note == ""
        assert any("were seen in pretraining" in text for text in results.notes) == shared


def test_weights_in_training_are_probed_without_baselines_and_leave_only_clips(tmp_path: Path) -> None:
    shape, weights = shape_and_weights()
    params = load_recipe("probe-motion", list(SMALL)).section("probe")
    cpu = torch.device("cpu")
    prober = StudentProbe(params, shape, clips=tmp_path / "clips", recipe_folder=tmp_path, device=cpu)
    first, again = (prober.ask(weights, "step 10") for _ in range(2))
    assert set(first.metrics()) == {"direction/linear", "outline/linear"}
    assert again.metrics() == first.metrics()
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


def test_a_student_in_training_is_probed_at_its_own_size(tmp_path: Path) -> None:
    shape, _ = shape_and_weights()
    params = load_recipe("probe-motion", ["probe.canvas={height: 48, width: 48, frames: 4}"]).section("probe")
    with pytest.raises(ProbeError, match="at its own size, 4 frames of 32 x 32"):
        StudentProbe(params, shape, clips=tmp_path, recipe_folder=tmp_path, device=torch.device("cpu"))


def test_videos_of_two_classes_are_told_apart(probed: ProbedModel, tmp_path: Path) -> None:
    for part, count in (("train", 10), ("test", 4)):
        for number in range(count):
            brightening(tmp_path / "videos" / part / "long" / f"{number}.mp4", num_frames=24 - number % 3)
            brightening(tmp_path / "videos" / part / "short" / f"{number}.mp4", num_frames=3 + number % 3)
    results = probe(
        probed,
        tmp_path,
        "probe.questions.0.videos.train=videos/train",
        "probe.questions.0.videos.test=videos/test",
        "probe.knn.neighbours=3",
        "probe.baselines=[differences]",
        recipe="probe-videos",
    )
    question = results.questions[0]
    assert (question.classes, question.num_train, question.num_test) == (("long", "short"), 20, 8)
    assert question.reading("differences", "linear").score.accuracy.value == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["probe.questions.0.label=directoin"], r"'directoin'.*Did you mean 'direction'"),
        (["probe.sources.straight.params.num_objects=[2, 2]"], "clips with 2 objects"),
        (["probe.min_clips_per_class=100"], r"class '.*' has \d+ training and \d+ test clips, at least 100"),
    ],
)
def test_questions_that_do_not_fit_are_refused(
    probed: ProbedModel, tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(ProbeError, match=message):
        probe(probed, tmp_path, "probe.baselines=[]", *overrides)


def test_a_run_without_a_checkpoint_and_a_missing_path_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "checkpoints" / "latest.pt").unlink()
    with pytest.raises(ProbeError, match=r"run .*run has no checkpoint yet .*latest\.pt"):
        open_model(run, torch.device("cpu"))
    with pytest.raises(ProbeError, match="there is nothing at"):
        open_model(tmp_path / "nowhere", torch.device("cpu"))


@pytest.mark.parametrize("form", ["videomae", "huggingface", "safetensors"])
def test_exports_are_probed_like_the_run_and_leave_results_beside_them(run: Path, tmp_path: Path, form: Any) -> None:
    path = tmp_path / {"videomae": "a.pth", "huggingface": "folder", "safetensors": "a.safetensors"}[form]
    export(read_student(run), path, form)
    models = [open_model(place, torch.device("cpu"), canvas=CANVAS, heads=2) for place in (run, path)]
    frames = np.random.default_rng(0).integers(0, 256, (2, 4, 32, 32, 3), np.uint8)
    pooled = [trained_extractor(s.encoder, s.device)(frames).pooled_BD for s in models]
    torch.testing.assert_close(*pooled, atol=1e-5, rtol=1e-4)
    assert (models[0].out, models[1].out) == (run / "probe", tmp_path / f"{path.name}-probe")
    assert "is not known here" in pretraining_assets(models[1], [])[1]


def test_clips_of_another_size_make_another_grid(run: Path) -> None:
    params = load_recipe("probe-motion", ["probe.canvas={height: 48, width: 64, frames: 8}"]).section("probe")
    probed = open_model(run, torch.device("cpu"), canvas=params.canvas)
    assert probed.canvas == params.canvas
    assert isinstance(probed.encoder, VideoEncoder)


@pytest.mark.slow
def test_the_command_prints_the_table_and_names_files_and_the_next_command(
    smile_synth: CommandLine, run: Path, tmp_path: Path
) -> None:
    arguments: list[Any] = ["probe", run, "--out", "out", "--set", "probe.baselines=[untrained]"]
    for override in SMALL:
        arguments += ["--set", override]
    done = smile_synth(*map(str, arguments))
    assert done.returncode == 0, done.stderr
    for text in ("trained student", "not told apart from untrained (+", "out/results.json", "smile-synth probe"):
        assert text in done.stdout
    missing = smile_synth("probe", "nowhere")
    assert missing.returncode == 2
    assert missing.stderr.strip().count("\n") == 0


def ask(run: Path, recipe: str | None, *overrides: str) -> Probed:
    small = [*SMALL, "probe.baselines=[]", "probe.classifiers=[knn]", *overrides]
    return probe_model(run, recipe, overrides=small, device="cpu", workers=1, view=None)


def test_a_second_recipe_leaves_the_results_of_the_first_and_shares_its_clips(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    own, bundled = ask(run, None), ask(run, "probe-motion")
    kept = {path: path.read_bytes() for path in (*own.files, *bundled.files)}
    clips, features = sorted((run / "probe" / "clips").iterdir()), sorted((run / "probe" / "features").iterdir())
    mine = tmp_path / "my questions.yaml"
    mine.write_text("extends: probe-motion\n")
    third = ask(run, str(mine))
    assert [probed.folder for probed in (own, bundled, third)] == [
        run / "probe",
        run / "probe" / "probe-motion",
        run / "probe" / "my-questions",
    ]
    assert {path: path.read_bytes() for path in kept} == kept
    assert clips
    assert features
    assert sorted((run / "probe" / "clips").iterdir()) == clips
    assert sorted((run / "probe" / "features").iterdir()) == features
    ready = load_recipe("probe-motion", [*SMALL, "probe.baselines=[]", "probe.classifiers=[knn]"])
    out = tmp_path / "out"
    assert probe_model(run, ready, out=out, clips=run / "probe" / "clips", device="cpu", view=None).folder == out


def test_the_same_recipe_again_leaves_no_picture_of_questions_that_were_not_asked_again(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    first = ask(run, "probe-motion")
    assert len({path.name for path in first.folder.glob("*.png")}) == 2
    second = ask(run, "probe-motion", "probe.questions=[{name: outline, source: straight, label: outline}]")
    assert [path.name for path in second.folder.glob("*.png")] == ["confusion-outline-knn.png"]
