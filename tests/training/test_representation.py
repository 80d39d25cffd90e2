from __future__ import annotations

import pytest
import torch

from smile_synth.errors import ModelError
from smile_synth.training.representation import Spread, collapse_warning, spread


def test_equal_directions_have_the_rank_of_their_number() -> None:
    tokens = torch.eye(8).repeat(1, 4, 1)
    tokens = torch.cat([tokens, -tokens], dim=1)
    assert spread(tokens).effective_rank == pytest.approx(8, rel=1e-4)


def test_tokens_on_a_line_have_rank_one() -> None:
    line = torch.linspace(-1, 1, 50)[None, :, None] * torch.ones(16)
    assert spread(line).effective_rank == pytest.approx(1, abs=0.01)


def test_constant_tokens_have_collapsed() -> None:
    now = spread(torch.ones(2, 5, 3))
    assert now == Spread(0.0, 1.0)
    assert "the student's features have collapsed" in collapse_warning("student", now, None)


def test_falling_rank_is_warned_of_and_a_steady_one_is_not() -> None:
    first = Spread(1.0, 100.0)
    assert "fell from 100.0 to 9.0" in collapse_warning("student", Spread(1.0, 9.0), first)
    assert "lower learning rate" in collapse_warning("student", Spread(1.0, 16.0), first)
    assert collapse_warning("student", Spread(1.0, 19.0), first) == ""


def test_one_token_has_no_spread() -> None:
    with pytest.raises(ModelError, match="at least 2 tokens, got 1"):
        spread(torch.ones(1, 1, 3))
