from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_student import GRID, some_frames

from smile_synth.downstream.learner import ClassifierLearner, LabelledClips, freeze, is_sharded, layer_groups
from smile_synth.downstream.preflight import lay_out, load_encoder_weights
from smile_synth.errors import TrainingError
from smile_synth.interop.formats import read_student
from smile_synth.interop.stored_student import Sizes
from smile_synth.model.classifier import BatchStandardise, Classifier
from smile_synth.model.student import StudentShape
from smile_synth.recipe.finetune import FinetuneParams
from smile_synth.recipe.student import StudentParams
from smile_synth.training.distributed import RankInfo, World

GOLDEN = Path(__file__).parents[1] / "golden"
ALONE = World(RankInfo(), torch.device("cpu"))


SHAPE = StudentShape.of(StudentParams(size="tiny", depth=3), GRID, 1)


def tiny_classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(SHAPE, 5)


def test_logits_of_the_published_model() -> None:
    """The released fine-tuning model's logits on the golden encoder and video; see tests/golden/README.md."""
    path = GOLDEN / "student_tiny.safetensors"
    with np.load(GOLDEN / "student_tiny_io.npz") as arrays:
        video_BCTHW = torch.from_numpy(arrays["video_BCTHW"])
    with np.load(GOLDEN / "classifier_tiny_io.npz") as arrays:
        golden = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    _, _, frames, height, _ = video_BCTHW.shape
    heads = 3
    start = read_student(path, Sizes(heads, frames, height))
    classifier = Classifier(start.shape, golden["head.weight"].shape[0]).eval()
    load_encoder_weights(classifier, start)
    head = {name: value for name, value in golden.items() if name.startswith(("head.", "fc_norm."))}
    assert len(head) == 4
    classifier.load_state_dict({**classifier.state_dict(), **head})
    with torch.no_grad():
        torch.testing.assert_close(classifier(video_BCTHW), golden["logits"], rtol=0, atol=1e-5)


def test_layer_decay_is_the_published_one() -> None:
    """Of 3 blocks at 0.5: 0.5^4 for the patches, 0.5^3, 0.5^2, 0.5 for the blocks, 1 for norm and head."""
    wanted = {"patch_embed": 0.0625, "blocks.0": 0.125, "blocks.1": 0.25, "blocks.2": 0.5, "fc_norm": 1.0, "head": 1.0}
    classifier = tiny_classifier()
    groups = layer_groups(classifier, weight_decay=0.05, layer_decay=0.5)
    found = {id(p): group for group in groups for p in group["params"]}  # type: ignore[attr-defined]
    for name, parameter in classifier.named_parameters():
        part = ".".join(name.split(".")[: 2 if name.startswith("blocks") else 1])
        group = found.pop(id(parameter))
        assert group["lr_scale"] == wanted[part], name
        assert group["weight_decay"] == (0.05 if parameter.ndim > 1 else 0.0), name
    assert not found


def test_rate_of_a_group_is_the_schedule_s_times_its_scale() -> None:
    params = FinetuneParams(max_steps=4, layer_decay=0.5, batch_size=128, optimizer={"warmup_epochs": 0})  # type: ignore[arg-type]
    stage = lay_out(params, 256)
    learner = ClassifierLearner(params, SHAPE, tiny_classifier(), ALONE, seed=0)
    learner.start_stage(stage)
    frames = torch.cat([some_frames()] * 2)
    learner.update(LabelledClips(frames, torch.tensor([0, 1, 2, 3]), 0), stage, 0, 0)
    assert learner.optimizer is not None
    rates = {group["lr"] for group in learner.optimizer.param_groups}
    # 1e-3 x 128 / 256 at the start of the cosine.
    assert rates == {0.0005 * scale for scale in (0.0625, 0.125, 0.25, 0.5, 1.0)}


@pytest.mark.parametrize(
    ("changes", "trained"),
    [
        ({"freeze": True}, {"head"}),
        ({"layers": 1}, {"blocks.2", "fc_norm", "head"}),
        ({"layers": 3}, {"patch_embed", "blocks.0", "blocks.1", "blocks.2", "fc_norm", "head"}),
    ],
)
def test_frozen_parts_learn_nothing_and_drop_no_path(changes: dict[str, object], trained: set[str]) -> None:
    classifier = tiny_classifier()
    for block in classifier.blocks:
        block.drop_path = 0.1  # type: ignore[assignment]
    freeze(classifier, FinetuneParams(epochs=10, **changes))  # type: ignore[arg-type]
    found = {
        ".".join(name.split(".")[: 2 if name.startswith("blocks") else 1])
        for name, p in classifier.named_parameters()
        if p.requires_grad
    }
    assert found == trained
    assert [block.drop_path == 0.0 for block in classifier.blocks] == [f"blocks.{i}" not in trained for i in range(3)]


def test_frozen_encoders_are_not_sharded_unless_asked_for_and_with_batch_norm_never() -> None:
    """FSDP throws away what the batch norm's forward pass changes."""
    two, large = World(RankInfo(0, 2), torch.device("cuda")), StudentShape.of(StudentParams(size="large"), GRID, 1)
    assert is_sharded(FinetuneParams(epochs=1), large, two)
    assert not is_sharded(FinetuneParams(epochs=1, freeze=True), large, two)
    sharded = {"epochs": 1, "freeze": True, "runtime": {"sharding": "shard"}}
    assert is_sharded(FinetuneParams.model_validate(sharded), SHAPE, two)
    with pytest.raises(ValueError, match="batch_norm cannot be sharded: leave runtime"):
        FinetuneParams.model_validate({**sharded, "head": {"batch_norm": True}})


def test_batch_standardise_is_torch_s_batch_norm() -> None:
    ours, theirs = BatchStandardise(6), torch.nn.BatchNorm1d(6, eps=1e-6, affine=False)
    features = 3 + 2 * torch.randn(16, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(features), theirs(features), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.mean, theirs.running_mean, rtol=1e-5, atol=1e-6)
    # torch averages the unbiased variance, 16 / 15 of ours.
    torch.testing.assert_close(ours.var - 0.9, (theirs.running_var - 0.9) * 15 / 16, rtol=1e-4, atol=1e-5)
    ours.eval()
    torch.testing.assert_close(ours(features), (features - ours.mean) / (ours.var + 1e-6).sqrt())


@pytest.mark.parametrize(
    ("changes", "times"), [({}, 3), ({"layers": 1}, 1 + 2 / 3), ({"freeze": True}, 1)], ids=["all", "layers", "freeze"]
)
def test_cost_of_a_clip_is_forward_and_what_is_trained_backward(changes: dict[str, object], times: float) -> None:
    """48 tokens of 1,536 values, width 192: embedding 28.3 M, a block's matrices 42.5 M and attention 1.77 M FLOP."""
    params = FinetuneParams(epochs=10, **changes)  # type: ignore[arg-type]
    learner = ClassifierLearner(params, SHAPE, tiny_classifier(), ALONE, seed=0)
    forward = 2 * 48 * 1536 * 192 + 3 * (2 * 48 * 192**2 * 12 + 4 * 48**2 * 192)
    assert learner.flops_per_clip(lay_out(params, 256)) == pytest.approx(times * forward)


def test_training_shorter_than_its_warmup_is_refused() -> None:
    with pytest.raises(TrainingError, match="the warm-up must be shorter than the stage's 4 steps, got 10"):
        lay_out(FinetuneParams(max_steps=4, batch_size=128), 256)
