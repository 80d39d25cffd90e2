"""The fine-tuned form of a student: its encoder, the mean of its tokens, a norm and a linear head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from smile_synth.model.student import Encoder, StudentShape, initialise

HEAD_STD = 0.02
# Added to the variance by the batch norm before the head.
BATCH_EPS = 1e-6


class Classifier(Encoder):
    """A video classifier under the published key names of fine-tuned VideoMAE.

    Args:
        shape: every size of the student.
        num_classes: classes.
        drop_path: chance that the last block is skipped in training.
        dropout: chance that a channel is dropped before the head in training.
        head_norm: standardise the channels before the head over the batch; for heads on frozen features only.

    Source: VideoMAE, NeurIPS 2022.
    """

    def __init__(
        self,
        shape: StudentShape,
        num_classes: int,
        *,
        drop_path: float = 0.0,
        dropout: float = 0.0,
        head_norm: bool = False,
    ) -> None:
        super().__init__(shape, drop_path, has_norm=False)
        self.dropout = dropout
        self.fc_norm = nn.LayerNorm(shape.encoder.width, eps=shape.layer_norm_eps)
        self.head_norm = BatchStandardise(shape.encoder.width) if head_norm else None
        self.head = nn.Linear(shape.encoder.width, num_classes)
        self.apply(initialise)

    def forward(self, video_BCTHW: Tensor, visible_BV: Tensor | None = None) -> Tensor:
        """Return one score per class, (B, classes), from all tokens or from the visible ones."""
        tokens_BND = super().forward(video_BCTHW, visible_BV)
        pooled_BD = self.fc_norm(tokens_BND.mean(dim=1))
        if self.head_norm is not None:
            pooled_BD = self.head_norm(pooled_BD)
        pooled_BD = functional.dropout(pooled_BD, self.dropout, self.training)
        scores: Tensor = self.head(pooled_BD)
        return scores

    def initialise_head(self, scale: float) -> None:
        """Draw the head's weights from torch's global generator, normal with a deviation of ``0.02 * scale``."""
        nn.init.trunc_normal_(self.head.weight, std=HEAD_STD, a=-2.0, b=2.0)
        with torch.no_grad():
            self.head.weight.mul_(scale)
        nn.init.zeros_(self.head.bias)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return which weights form a layer, in timm's terms: the patch embedding, each block, then norm and head."""
        del coarse
        return {"stem": r"^patch_embed", "blocks": [(r"^blocks\.(\d+)", None)]}


def fold_head_norm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a classifier's weights with the batch norm before its head, if any, made part of the head."""
    if "head_norm.mean" not in weights:
        return dict(weights)
    plain = {name: value for name, value in weights.items() if not name.startswith("head_norm.")}
    scale = (weights["head_norm.var"] + BATCH_EPS).rsqrt()
    plain["head.weight"] = weights["head.weight"] * scale
    plain["head.bias"] = weights["head.bias"] - plain["head.weight"] @ weights["head_norm.mean"]
    return plain


class BatchStandardise(nn.Module):
    """Batch norm without weights, for features that take no gradient; its statistics are those of all processes.

    Args:
        width: channels.
        momentum: of the running mean and variance.
    """

    def __init__(self, width: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        # Parameters, so that checkpoints, the moving average and all processes treat them as they treat weights.
        self.mean = nn.Parameter(torch.zeros(width), requires_grad=False)
        self.var = nn.Parameter(torch.ones(width), requires_grad=False)

    def forward(self, features_BD: Tensor) -> Tensor:
        """Return (B, D), standardised by the batch in training and by the running averages otherwise."""
        if not self.training:
            return (features_BD - self.mean) * (self.var + BATCH_EPS).rsqrt()
        features_BD = features_BD.float()
        moments = torch.stack([features_BD.mean(dim=0), features_BD.square().mean(dim=0)])
        if dist.is_initialized():
            dist.all_reduce(moments)
            moments = moments / dist.get_world_size()
        mean = moments[0]
        var = (moments[1] - mean.square()).clamp_min(0)
        self.mean.lerp_(mean, self.momentum)
        self.var.lerp_(var, self.momentum)
        return (features_BD - mean) * (var + BATCH_EPS).rsqrt()
