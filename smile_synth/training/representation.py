"""Whether features still tell clips and places apart: their standard deviation and effective rank."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from smile_synth.errors import ModelError

MAX_TOKENS = 1024
LEAST_STD = 1e-3
LEAST_RANK = 2.0
# Measured on the demo's student: 0.15 at a learning rate of 3e-3; at 1e-3 0.20 to 0.25 with features, 0.15 to 0.17 with
# pixels.
LEAST_SHARE_OF_FIRST = 1 / 6


@dataclass(frozen=True)
class Spread:
    """How far a set of features spreads.

    Args:
        std: mean over the channels of the standard deviation over all tokens.
        effective_rank: exp of the entropy of the normalised singular values; 1 when all tokens lie on a line, at most
            the number of channels. Source: Roy and Vetterli, "The effective rank", EUSIPCO 2007.
    """

    std: float
    effective_rank: float

    @property
    def collapsed(self) -> bool:
        """Whether the features tell next to nothing apart."""
        return self.std < LEAST_STD or self.effective_rank < LEAST_RANK


def spread(tokens_BND: torch.Tensor) -> Spread:
    """Measure the spread of features over the tokens of all clips, at most 1,024 of them evenly taken.

    Args:
        tokens_BND: any floating type; (B, N, D).

    Raises:
        ModelError: fewer than two tokens.
    """
    flat = tokens_BND.detach().reshape(-1, tokens_BND.shape[-1])
    if len(flat) < 2:
        raise ModelError(f"a spread needs at least 2 tokens, got {len(flat)}")
    places = torch.linspace(0, len(flat) - 1, min(len(flat), MAX_TOKENS), device=flat.device).long()
    centred = flat[places].float()
    centred = centred - centred.mean(dim=0)
    std = centred.std(dim=0).mean().item()
    values = torch.linalg.svdvals(centred)
    total = values.sum()
    if total <= 0:
        return Spread(std, 1.0)
    share = values / total
    entropy = -(share * share.clamp_min(torch.finfo(share.dtype).tiny).log()).sum()
    return Spread(std, entropy.exp().item())


def collapse_warning(what: str, now: Spread, first: Spread | None) -> str:
    """Return a warning for people where features have collapsed or are about to, or an empty string.

    Args:
        what: whose features, such as ``student``.
        now: the spread just measured.
        first: the first one of the run, if there was one.
    """
    if now.collapsed:
        return (
            f"the {what}'s features have collapsed: standard deviation {now.std:.2g}, "
            f"effective rank {now.effective_rank:.1f}; "
            f"look at the data with 'smile-synth report', and lower the learning rate"
        )
    if first is not None and now.effective_rank < LEAST_SHARE_OF_FIRST * first.effective_rank:
        return (
            f"the {what}'s effective rank fell from {first.effective_rank:.1f} to {now.effective_rank:.1f}; "
            f"it may be collapsing: try a lower learning rate"
        )
    return ""
