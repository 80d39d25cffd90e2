"""The student's size and shape. Imports no torch."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from smile_synth.params import Positive, StrictParams

StudentSize = Literal["tiny", "small", "base", "large", "huge"]
PositionCode = Literal["flat", "separable"]


class Transformer(NamedTuple):
    """Embedding dimension, depth and heads of a stack of transformer blocks."""

    width: int
    depth: int
    heads: int


ENCODER_SIZES: dict[StudentSize, Transformer] = {
    "tiny": Transformer(192, 12, 3),
    "small": Transformer(384, 12, 6),
    "base": Transformer(768, 12, 12),
    "large": Transformer(1024, 24, 16),
    "huge": Transformer(1280, 32, 16),
}
DECODER_SIZES: dict[StudentSize, Transformer] = {
    "tiny": Transformer(96, 4, 3),
    "small": Transformer(192, 4, 3),
    "base": Transformer(384, 4, 6),
    "large": Transformer(512, 4, 8),
    "huge": Transformer(640, 4, 8),
}


class StudentParams(StrictParams):
    """The masked-video transformer that is trained."""

    size: StudentSize = "base"
    """A published size (tiny is the usual ViT-Ti); the fields below change parts of it."""
    width: Positive | None = None
    """Embedding dimension of the encoder, divisible by its heads; absent: that of the size."""
    depth: Positive | None = None
    """Encoder blocks; absent: that of the size."""
    heads: Positive | None = None
    """Encoder attention heads; absent: that of the size."""
    decoder_width: Positive | None = None
    """Embedding dimension of the decoder, divisible by its heads; absent: that of the size."""
    decoder_depth: Positive | None = None
    """Decoder blocks; absent: 4."""
    decoder_heads: Positive | None = None
    """Decoder attention heads; absent: that of the size."""
    mlp_ratio: float = Field(default=4.0, gt=0, le=16)
    """Hidden dimension of a block's MLP over the embedding dimension."""
    patch_size: Positive = 16
    """Side of a token in pixels; divides the canvas's height and width."""
    tubelet_size: Positive = 2
    """Frames that a token spans; divides the clip's frames."""
    positions: PositionCode = "flat"
    """The fixed code that says where a token stands. ``flat``: one sinusoid over the tokens' indices, as VideoMAE and
    SMILE have it. ``separable``: channels of their own for time, row and column; a small student fits a few clips
    sooner with it, but the formats ``videomae`` and ``huggingface`` cannot hold it."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Chance that the last encoder block is skipped in training; grows evenly from 0 at the first."""
    activation_checkpointing: bool = False
    """Recompute blocks in the backward pass: less memory, about a third more time."""

    @property
    def encoder(self) -> Transformer:
        """Encoder width, depth and heads, overrides applied."""
        size = ENCODER_SIZES[self.size]
        return Transformer(self.width or size.width, self.depth or size.depth, self.heads or size.heads)

    @property
    def decoder(self) -> Transformer:
        """Decoder width, depth and heads, overrides applied."""
        size = DECODER_SIZES[self.size]
        return Transformer(
            self.decoder_width or size.width, self.decoder_depth or size.depth, self.decoder_heads or size.heads
        )

    @model_validator(mode="after")
    def _check_heads(self) -> StudentParams:
        for name, stack in (("encoder", self.encoder), ("decoder", self.decoder)):
            if stack.width % stack.heads or stack.width % 2:
                raise ValueError(
                    f"the {name}'s width must be even and divisible by its heads, "
                    f"got width {stack.width} and {stack.heads} heads"
                )
        return self
