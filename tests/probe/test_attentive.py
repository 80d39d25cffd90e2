"""Attentive pooling."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from smile_synth.probe.attentive import AttentivePooling, fit_attentive, num_epochs, num_heads
from smile_synth.probe.classifiers import Examples, Fitted, group_accuracy
from smile_synth.recipe.probe import AttentiveParams

PARAMS = AttentiveParams(epochs=25, batch_size=16, learning_rates=(1e-6, 0.01))


def one_telling_token(count: int, *, seed: int) -> Examples:
    """Every clip has one marked token whose sign is the answer, among 40 that say nothing."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    tokens = rng.normal(size=(count, 40, 8)).astype(np.float16)
    place = rng.integers(0, 40, count)
    tokens[np.arange(count), place, 0] = 6
    tokens[np.arange(count), place, 1] = np.where(labels, 3, -3)
    return Examples(tokens, labels, np.arange(count))


def fit(train: Examples, seed: int = 0, passes: list[int] | None = None) -> Fitted:
    return fit_attentive(
        train,
        PARAMS,
        share=0.25,
        rng=np.random.default_rng(seed),
        device=torch.device("cpu"),
        advance=(passes if passes is not None else []).append,
    )


def test_it_finds_the_token_that_tells() -> None:
    test = one_telling_token(100, seed=2)
    fitted = fit(one_telling_token(300, seed=1))
    assert group_accuracy(fitted.probabilities(test.features), test) > 0.95


def test_the_learning_rate_that_serves_is_chosen_on_held_out_clips() -> None:
    fitted = fit(one_telling_token(100, seed=1))
    assert fitted.chosen == {"learning_rate": 0.01, "weight_decay": 0.05}
    assert fitted.validation_accuracy > 0.8


def test_the_same_seed_gives_the_same_answers_and_leaves_torch_alone() -> None:
    train = one_telling_token(40, seed=1)
    state = torch.random.get_rng_state()
    answers = [fit(train).probabilities(train.features) for _ in range(2)]
    np.testing.assert_array_equal(*answers)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_passes_are_counted_as_announced() -> None:
    passes: list[int] = []
    fit(one_telling_token(40, seed=1), passes=passes)
    assert sum(passes) == num_epochs(PARAMS)


def test_it_equals_standardising_and_projecting_every_token() -> None:
    torch.manual_seed(0)
    width, heads = 12, 3
    mean_D, std_D = torch.randn(width), torch.rand(width) + 0.5
    model = AttentivePooling(width, 5, heads, mean_D, std_D)
    torch.nn.init.normal_(model.look)
    torch.nn.init.normal_(model.value)
    tokens_BND = torch.randn(2, 7, width)
    standard_BND = (tokens_BND - mean_D) / std_D
    values_BhNe = torch.einsum("bnd,hde->bhne", standard_BND, model.value)
    weights_BhN = torch.einsum("bnd,hd->bhn", standard_BND, model.look).softmax(dim=-1)
    pooled = torch.einsum("bhn,bhne->bhe", weights_BhN, values_BhNe).flatten(1)
    torch.testing.assert_close(model(tokens_BND), model.answer(model.norm(pooled)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("width", "asked", "heads"), [(384, 0, 6), (192, 4, 4), (100, 0, 1), (30, 4, 3), (40, 0, 1)])
def test_heads_divide_the_width(width: int, asked: int, heads: int) -> None:
    assert num_heads(width, asked) == heads
