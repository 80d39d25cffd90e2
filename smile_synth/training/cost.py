"""What a training costs, by arithmetic: parameters, FLOPs and memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from smile_synth.masking.grid import TokenGrid
from smile_synth.model.student import NO_EXTRA_HEADS, ExtraHeads, StudentShape
from smile_synth.recipe.student import StudentParams, Transformer

# Dense bfloat16 (CUDA) peaks in FLOP/s, from the vendors' data sheets; matched against the device's name in order.
PEAK_FLOPS = (
    ("H200", 989e12),
    ("H100 PCIe", 756e12),
    ("H100 NVL", 835e12),
    ("H100", 989e12),
    ("B200", 2250e12),
    ("A100", 312e12),
    ("L40S", 362e12),
    ("A10G", 70e12),
    ("V100", 125e12),
    ("RTX 4090", 165e12),
)


@dataclass(frozen=True)
class StudentCost:
    """FLOPs and sizes of a student for one masked clip; a multiplication and an addition count as two.

    Args:
        params: the student.
        grid: its tokens.
        num_masked: tokens hidden in a clip.
        target_dim: values predicted for a hidden token.
        heads: what is predicted besides.
    """

    params: StudentParams
    grid: TokenGrid
    num_masked: int
    target_dim: int
    heads: ExtraHeads = NO_EXTRA_HEADS

    @property
    def num_visible(self) -> int:
        """Tokens that the encoder sees."""
        return self.grid.num_tokens - self.num_masked

    @property
    def forward_flops(self) -> float:
        """FLOPs of one forward pass: matrix products and attention."""
        width = self.params.encoder.width
        embed = 2.0 * self.num_visible * self.grid.pixels_per_token * width
        visible_head = 2.0 * self.num_visible * width * self.heads.visible_dim
        decoder_width = self.params.decoder.width
        hidden_heads = 2.0 * self.num_masked * decoder_width * (self.target_dim + self.heads.motion_dim)
        bridge = 2.0 * self.num_visible * width * decoder_width
        return (
            embed
            + _stack_flops(self.params.encoder, self.num_visible, self.params.mlp_ratio)
            + visible_head
            + hidden_heads
            + sum(bridge + _stack_flops(stack, self.grid.num_tokens, self.params.mlp_ratio) for stack in self._decoders)
        )

    @property
    def _decoders(self) -> list[Transformer]:
        shape = StudentShape.of(self.params, self.grid, self.target_dim, self.heads)
        motion = shape.motion_decoder
        return [*([shape.decoder] if shape.has_decoder else []), *([motion] if motion is not None else [])]

    @property
    def training_flops(self) -> float:
        """FLOPs of forward and backward pass; what activation checkpointing computes again does not count."""
        return 3.0 * self.forward_flops

    def activation_bytes(self, bytes_per_value: int) -> float:
        """Return a rough size of what one clip's backward pass needs (18 values per token, channel and block)."""
        total = 0.0
        decoders = [(stack, self.grid.num_tokens) for stack in self._decoders]
        for stack, tokens in ((self.params.encoder, self.num_visible), *decoders):
            per_block = 2.0 if self.params.activation_checkpointing else 10.0 + 2.0 * self.params.mlp_ratio
            total += tokens * stack.width * stack.depth * per_block
        return total * bytes_per_value


def encoder_flops(shape: StudentShape) -> float:
    """Return the FLOPs of an encoder's forward pass over all tokens of a clip."""
    tokens = shape.grid.num_tokens
    embed = 2.0 * tokens * shape.grid.pixels_per_token * shape.encoder.width
    return embed + _stack_flops(shape.encoder, tokens, shape.mlp_ratio)


def _stack_flops(stack: Transformer, tokens: int, mlp_ratio: float) -> float:
    matrices = 2.0 * tokens * stack.width**2 * (4 + 2 * mlp_ratio)
    attention = 4.0 * tokens**2 * stack.width
    return stack.depth * (matrices + attention)


def count_flops(function: Callable[[torch.Tensor], object], argument: torch.Tensor) -> float:
    """Return the FLOPs of the matrix products, convolutions and attention of a call."""
    with FlopCounterMode(display=False) as counter:
        function(argument)
    return float(counter.get_total_flops())


def state_bytes(num_parameters: int, *, ema: bool) -> int:
    """Return the size of weights, gradients, AdamW's two moments and the moving average, all float32."""
    return num_parameters * 4 * (5 if ema else 4)


def peak_flops(device: torch.device) -> float | None:
    """Return the device's dense bfloat16 peak in FLOP/s, or None where it is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAK_FLOPS if part in name), None)
