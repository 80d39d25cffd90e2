"""A trained encoder for use on clips: tokens and one vector a clip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from smile_synth.errors import ModelError
from smile_synth.interop.formats import read_student
from smile_synth.interop.stored_student import Sizes
from smile_synth.model.patches import check_frames, normalise
from smile_synth.model.student import Encoder, StudentShape, initialise


class Encoded(NamedTuple):
    """What an encoder makes of clips.

    Args:
        tokens: float32 (B, N, D), time-major, after the final norm if there is one.
        pooled: float32 (B, D), their mean; normalised where the encoder is a fine-tuned one.
    """

    tokens: Tensor
    pooled: Tensor


class VideoEncoder(nn.Module):
    """The encoder of a student with its own normalisation, frozen unless it is to be trained.

    Args:
        encoder: the student's.
        shape: every size of the student.
        fc_norm: for the mean of the tokens, where the encoder is a fine-tuned one.
        trainable: whether the weights take gradients.
    """

    def __init__(
        self, encoder: Encoder, shape: StudentShape, fc_norm: nn.LayerNorm | None = None, *, trainable: bool = False
    ) -> None:
        super().__init__()
        self.encoder, self.shape, self.fc_norm = encoder, shape, fc_norm
        self.requires_grad_(trainable)
        self.train(trainable)

    @property
    def width(self) -> int:
        """Channels of a token."""
        return self.shape.encoder.width

    def up_to(self, block: int) -> VideoEncoder:
        """Return the encoder that ends after a block, counted from 1, without a norm; it shares the weights.

        Raises:
            ModelError: there is no such block.
        """
        depth = self.shape.encoder.depth
        if not 1 <= block <= depth:
            raise ModelError(f"this encoder has blocks 1 to {depth}, got {block}")
        shape = replace(self.shape, encoder=self.shape.encoder._replace(depth=block))
        shorter = Encoder(shape, has_norm=False)
        shorter.patch_embed = self.encoder.patch_embed
        shorter.blocks = self.encoder.blocks[:block]
        weight = next(self.parameters())
        return VideoEncoder(shorter, shape, trainable=weight.requires_grad).to(weight.device)

    def forward(self, frames_BTHWC: Tensor) -> Encoded:
        """Return tokens and their mean.

        Args:
            frames_BTHWC: uint8 (B, T, H, W, 3), RGB, of the size that the encoder was trained on, on its device.

        Raises:
            ModelError: the frames are of another size or type.
        """
        check_frames(frames_BTHWC)
        canvas = self.shape.grid.canvas
        expected = (canvas.num_frames, canvas.height, canvas.width)
        if tuple(frames_BTHWC.shape[1:4]) != expected:
            raise ModelError(
                f"this encoder takes clips (T, H, W) of {expected}, got {tuple(frames_BTHWC.shape[1:4])}: "
                "resize the clips, or load the encoder with other num_frames or image_size"
            )
        tokens = self.encoder(normalise(frames_BTHWC)).float()
        pooled = tokens.mean(dim=1)
        return Encoded(tokens, pooled if self.fc_norm is None else self.fc_norm(pooled))


def load_encoder(
    path: str | Path,
    *,
    heads: int | None = None,
    num_frames: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    device: torch.device | str = "cpu",
    trainable: bool = False,
) -> VideoEncoder:
    """Return the encoder that lies at a path, frozen unless it is to be trained further.

    Args:
        path: a run folder or a checkpoint of smile-synth, an export of any format, a published VideoMAE or SMILE
            ``.pth``, or a Hugging Face folder.
        heads: attention heads, where neither the file nor a published embedding dimension tells them.
        num_frames: frames of the clips; absent: those it was trained on, or the published 16.
        image_size: side, or (height, width), of the clips in pixels; absent: that it was trained on, or the
            published 224.
        device: where the encoder works.
        trainable: let its weights take gradients, in training mode; tokens and mean are the same.

    Raises:
        WeightsError: there is nothing, or nothing that is an encoder, or reading it could run code.
        ModelError: the sizes do not fit each other.

    Examples:
        >>> encoder = ss.load_encoder("run")
        >>> tokens_BND, pooled_BD = encoder(torch.zeros(2, 8, 32, 32, 3, dtype=torch.uint8))
        >>> tokens_BND.shape, pooled_BD.shape, pooled_BD.requires_grad
        (torch.Size([2, 32, 128]), torch.Size([2, 128]), False)
        >>> head = torch.nn.Linear(encoder.width, 8)
        >>> encoder = ss.load_encoder("run", trainable=True)
        >>> head(encoder(torch.zeros(1, 8, 32, 32, 3, dtype=torch.uint8)).pooled).sum().backward()
    """
    stored = read_student(Path(path), Sizes(heads, num_frames, image_size))
    fc_norm = None
    if stored.is_fine_tuned:
        eps = stored.mean_eps or stored.shape.layer_norm_eps
        fc_norm = nn.LayerNorm(stored.shape.encoder.width, eps=eps)
        weights = stored.encoder_weights
        fc_norm.load_state_dict({kind: weights[f"fc_norm.{kind}"] for kind in ("weight", "bias")})
    return VideoEncoder(stored.build_encoder(), stored.shape, fc_norm, trainable=trainable).to(device)


def random_like(encoder: VideoEncoder, *, seed: int) -> VideoEncoder:
    """Return the same network untrained, with weights drawn from ``seed``, on the same device."""
    device = next(encoder.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        twin = Encoder(encoder.shape)
        twin.apply(initialise)
    return VideoEncoder(twin, encoder.shape).to(device)
