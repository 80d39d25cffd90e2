"""Threads of a training: as many as it asks for, and as before afterwards."""

from __future__ import annotations

import torch

from smile_synth.training.device import using_threads


def test_threads_are_set_inside_and_put_back_even_after_an_error() -> None:
    before = torch.get_num_threads()
    try:
        with using_threads(before + 1):
            assert torch.get_num_threads() == before + 1
            raise ValueError
    except ValueError:
        assert torch.get_num_threads() == before
    with using_threads(None):
        assert torch.get_num_threads() == before
