"""Features and pixels of mean 0 and standard deviation 1, as the student predicts them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

EPS = 1e-6
# Rounding leaves constant values a standard deviation of about 1e-7 of their size; below this it is taken for none.
_VANISHING = 1e-5


def standardise(features_BND: Tensor, how: Literal["channel", "token", "none"] = "channel") -> Tensor:
    """Return features of mean 0 and standard deviation 1 in float32; 0 where they do not vary, as on flat backgrounds.

    Args:
        features_BND: float (B, N, D).
        how: per ``channel`` over all tokens of the clip, per ``token`` over its channels, or not at all.

    Source: SMILE, CVPR 2025 (per channel).
    """
    features = features_BND.float()
    return features if how == "none" else whiten(features, dim=1 if how == "channel" else 2)


def whiten(values: Tensor, dim: int) -> Tensor:
    """Return values of mean 0 and standard deviation 1 along ``dim``; 0 where they do not vary."""
    std, mean = torch.std_mean(values, dim=dim, keepdim=True)
    varies = std > EPS + _VANISHING * mean.abs()
    return torch.where(varies, (values - mean) / (std + EPS), 0.0)
