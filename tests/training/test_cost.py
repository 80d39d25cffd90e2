from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from smile_synth.masking.grid import TokenGrid
from smile_synth.model.student import ExtraHeads, build_student
from smile_synth.recipe.student import StudentParams
from smile_synth.training.cost import StudentCost, state_bytes


@pytest.mark.parametrize(
    ("target_dim", "heads"),
    [(40, ExtraHeads()), (40, ExtraHeads(42, 8)), (40, ExtraHeads(0, 8, 2)), (0, ExtraHeads(2))],
)
def test_flops_agree_with_what_torch_counts(target_dim: int, heads: ExtraHeads) -> None:
    grid = TokenGrid(tubelets=4, rows=4, columns=4, tubelet_size=2, patch_size=8)
    params = StudentParams(size="tiny", depth=3, decoder_depth=2)
    is_masked = torch.arange(64)[None] < 48
    student = build_student(params, grid, target_dim, heads)
    # The counter knows the plain products, not every fused attention that a CPU may take.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        student(torch.zeros(1, 3, 8, 32, 32), is_masked, 48)
    assert StudentCost(params, grid, 48, target_dim, heads).forward_flops == pytest.approx(
        counter.get_total_flops(), rel=0.02
    )


def test_training_state_is_four_floats_a_parameter() -> None:
    assert state_bytes(1000, ema=False) == 16_000
    assert state_bytes(1000, ema=True) == 20_000
