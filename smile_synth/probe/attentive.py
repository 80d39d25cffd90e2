"""Attentive pooling: one learned query looks at every token of a clip, then a linear layer answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from smile_synth.probe.classifiers import Examples, Fitted, Probabilities, group_accuracy, group_loss, held_out
from smile_synth.recipe.probe import AttentiveParams

CHANNELS_PER_HEAD = 64
WARM_UP_SHARE = 0.1


class Candidate(NamedTuple):
    """What is chosen on the validation part."""

    learning_rate: float
    weight_decay: float


class AttentivePooling(nn.Module):
    """Cross-attention of one learned query over standardised tokens, and a linear layer.

    The product of query and key weights is one vector a head, and values are taken after the average: the same
    function as projecting every token to keys and values, at a fraction of the cost.

    Args:
        width: channels of a token, D.
        num_classes: answers.
        heads: attention heads; must divide ``width``.
        mean_D, std_D: of the training tokens, float32.

    Source: the attentive probe of V-JEPA (arXiv 2404.08471), without its MLP block.
    """

    def __init__(self, width: int, num_classes: int, heads: int, mean_D: torch.Tensor, std_D: torch.Tensor) -> None:
        super().__init__()
        self.mean_D: torch.Tensor
        self.std_D: torch.Tensor
        self.register_buffer("mean_D", mean_D)
        self.register_buffer("std_D", std_D)
        self.look = nn.Parameter(torch.empty(heads, width))
        self.value = nn.Parameter(torch.empty(heads, width, width // heads))
        self.norm = nn.LayerNorm(width)
        self.answer = nn.Linear(width, num_classes)

    def forward(self, tokens_BND: torch.Tensor) -> torch.Tensor:
        """Return logits (B, classes) of tokens (B, N, D), of any float type."""
        tokens_BND = tokens_BND.float()
        # Standardised after the average, which is the same: the mean moves all scores of a head alike.
        attention_BNh = (tokens_BND @ (self.look / self.std_D).T).softmax(dim=1)
        averages_BhD = (attention_BNh.transpose(1, 2) @ tokens_BND - self.mean_D) / self.std_D
        pooled_BD = torch.einsum("bhd,hde->bhe", averages_BhD, self.value).flatten(1)
        logits: torch.Tensor = self.answer(self.norm(pooled_BD))
        return logits


def fit_attentive(
    train: Examples,
    params: AttentiveParams,
    *,
    share: float,
    rng: np.random.Generator,
    device: torch.device,
    advance: Callable[[int], None],
) -> Fitted:
    """Fit attentive pooling, its learning rate and weight decay chosen on a validation part.

    Args:
        train: examples to fit on, features are tokens (examples, N, D) and may lie on disk.
        params: schedule, and learning rates and weight decays to choose from.
        share: share of the training groups held out to choose them; then all are fitted again.
        rng: draws the held-out groups, the initial weights and the order of the examples.
        device: where to fit.
        advance: called with the number of epochs done, ``num_epochs(params)`` in all.
    """
    candidates, validation = candidates_of(params), float("nan")
    chosen = candidates[0]
    if len(candidates) > 1:
        is_held_out = held_out(train, share=share, rng=rng)
        rows, held_rows = np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
        choose_part = Examples(held_rows, train.labels[held_rows], train.groups[held_rows])
        answers = []
        for candidate in candidates:
            model = _train(train, rows, params, candidate, rng, device, advance)
            answers.append(_probabilities(model, train.features, held_rows, params.batch_size, device))
        best = int(np.argmin([group_loss(answer, choose_part) for answer in answers]))
        chosen, validation = candidates[best], group_accuracy(answers[best], choose_part)
    model = _train(train, np.arange(len(train.labels)), params, chosen, rng, device, advance)

    def probabilities(tokens: npt.NDArray[Any]) -> Probabilities:
        return _probabilities(model, tokens, np.arange(len(tokens)), params.batch_size, device)

    return Fitted(probabilities, chosen._asdict(), validation)


def candidates_of(params: AttentiveParams) -> list[Candidate]:
    """Return every pair of a learning rate and a weight decay."""
    return [Candidate(rate, decay) for rate in params.learning_rates for decay in params.weight_decays]


def num_epochs(params: AttentiveParams) -> int:
    """Return for how many epochs ``fit_attentive`` trains in all."""
    candidates = len(candidates_of(params))
    return params.epochs * (candidates + 1 if candidates > 1 else 1)


def num_heads(width: int, asked: int) -> int:
    """Return the number of heads: as asked, or one for every 64 channels, lowered until it divides the width."""
    heads = asked or max(1, width // CHANNELS_PER_HEAD)
    while width % heads:
        heads -= 1
    return heads


def _train(
    examples: Examples,
    rows: npt.NDArray[np.int64],
    params: AttentiveParams,
    candidate: Candidate,
    rng: np.random.Generator,
    device: torch.device,
    advance: Callable[[int], None],
) -> AttentivePooling:
    model = _new_model(examples, rows, params, rng, device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=candidate.learning_rate, weight_decay=candidate.weight_decay)
    steps_per_epoch = -(-len(rows) // params.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        candidate.learning_rate,
        total_steps=params.epochs * steps_per_epoch,
        pct_start=WARM_UP_SHARE,
        cycle_momentum=False,
    )
    for _ in range(params.epochs):
        for batch in np.array_split(rng.permutation(rows), steps_per_epoch):
            labels = torch.from_numpy(examples.labels[batch]).to(device)
            loss = functional.cross_entropy(model(_tokens(examples.features, batch, device)), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        advance(1)
    return model.eval()


def _new_model(
    examples: Examples,
    rows: npt.NDArray[np.int64],
    params: AttentiveParams,
    rng: np.random.Generator,
    device: torch.device,
) -> AttentivePooling:
    width = examples.features.shape[2]
    sample = np.sort(rng.permutation(rows)[:512])
    tokens = examples.features[sample].astype(np.float32).reshape(-1, width)
    mean_D = torch.from_numpy(tokens.mean(axis=0))
    std_D = torch.from_numpy(tokens.std(axis=0)).clamp_min(1e-6)
    heads = num_heads(width, params.heads)
    # A probe may run inside pretraining, whose own random state must not move.
    with torch.random.fork_rng(devices=[]):
        model = AttentivePooling(width, int(examples.labels.max()) + 1, heads, mean_D, std_D)
    _initialise(model, torch.Generator().manual_seed(int(rng.integers(2**62))))
    return model.to(device)


def _initialise(model: AttentivePooling, generator: torch.Generator) -> None:
    width = model.look.shape[1]
    nn.init.trunc_normal_(model.look, std=0.02 / width**0.5, generator=generator)
    nn.init.normal_(model.value, std=width**-0.5, generator=generator)
    nn.init.xavier_uniform_(model.answer.weight, generator=generator)
    nn.init.zeros_(model.answer.bias)


@torch.inference_mode()
def _probabilities(
    model: AttentivePooling,
    tokens: npt.NDArray[Any],
    rows: npt.NDArray[np.int64],
    batch_size: int,
    device: torch.device,
) -> Probabilities:
    parts = [
        model(_tokens(tokens, rows[first : first + batch_size], device)).double().softmax(dim=1).cpu().numpy()
        for first in range(0, len(rows), batch_size)
    ]
    return np.concatenate(parts)


def _tokens(tokens: npt.NDArray[Any], rows: npt.NDArray[np.int64], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(tokens[rows])).to(device)
