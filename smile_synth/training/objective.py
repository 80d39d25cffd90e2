"""The objective: what the student predicts of hidden tokens, and how wrong it is."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from smile_synth.errors import ModelError
from smile_synth.masking.grid import TokenGrid
from smile_synth.model.patches import check_frames, patchify
from smile_synth.model.student import split_tokens
from smile_synth.recipe.pretrain import TargetParams
from smile_synth.teachers.teacher import Teacher

EPS = 1e-6
# Rounding leaves constant values a deviation of about 1e-7 of their size; below this it is taken for none.
_VANISHING = 1e-5


class Targets(NamedTuple):
    """What a batch of clips is to be predicted as; one teacher pass serves any number of masks.

    Args:
        features_BND: float32 (B, N, D), standardised, or None where only pixels are predicted.
        patches_BNPC: uint8 (B, N, pixels, 3), or None where only features are predicted.
    """

    features_BND: Tensor | None
    patches_BNPC: Tensor | None


class Objective(nn.Module):
    """Targets and loss.

    Args:
        params: kind of target, standardisation, losses and weights.
        teacher: frozen; None where only pixels are predicted.
        grid: the token grid.

    Raises:
        ModelError: a teacher is missing, or there is one without use.
    """

    def __init__(self, params: TargetParams, teacher: Teacher | None, grid: TokenGrid) -> None:
        super().__init__()
        if params.uses_teacher != (teacher is not None):
            raise ModelError(
                f"a target of kind {params.kind!r} {'needs a' if teacher is None else 'has no use for a'} teacher"
            )
        self.params, self.teacher, self.grid = params, teacher, grid
        self.feature_dim = teacher.width if teacher is not None else 0
        self.pixel_dim = grid.pixels_per_token if params.kind != "features" else 0

    @property
    def prediction_dim(self) -> int:
        """Numbers that the student predicts for a token: features first, then pixels."""
        return self.feature_dim + self.pixel_dim

    @torch.no_grad()
    def targets(self, frames_BTHWC: Tensor) -> Targets:
        """Return the targets of uint8 clips (B, T, H, W, 3).

        Raises:
            ModelError: the frames do not fit the grid.
        """
        check_frames(frames_BTHWC)
        features = None
        if self.teacher is not None:
            features = standardise(self.teacher(frames_BTHWC), self.params.standardise or "channel")
        return Targets(features, patchify(frames_BTHWC, self.grid) if self.pixel_dim else None)

    def loss(
        self, prediction_BMD: Tensor, targets: Targets, is_masked_BN: Tensor, num_masked: int | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss over hidden tokens, and its parts by name.

        Args:
            prediction_BMD: float (B, M, prediction_dim), as the student gives it.
            targets: of the same clips.
            is_masked_BN: bool (B, N), the mask that the prediction was made under.
            num_masked: M where it is known: saves a look at the mask, which stalls a GPU.

        Returns:
            A float32 scalar, and detached parts, unweighted.

        Raises:
            ModelError: prediction and mask do not fit each other.
        """
        _, masked_BM = split_tokens(is_masked_BN, self.grid, num_masked)
        expected = (*masked_BM.shape, self.prediction_dim)
        if prediction_BMD.shape != expected:
            raise ModelError(f"predictions must be {expected}, got {tuple(prediction_BMD.shape)}")
        predicted = torch.split(prediction_BMD.float(), [self.feature_dim, self.pixel_dim], dim=2)
        losses: dict[str, Tensor] = {}
        if targets.features_BND is not None:
            target = _pick(targets.features_BND, masked_BM)
            losses["features"] = error(predicted[0], target, self.params.loss or "mse")
        if targets.patches_BNPC is not None:
            target = pixel_target(_pick(targets.patches_BNPC, masked_BM))
            losses["pixels"] = error(predicted[1], target, self.params.pixel_loss or "mse")
        return self._weigh(losses), {name: value.detach() for name, value in losses.items()}

    def _weigh(self, losses: dict[str, Tensor]) -> Tensor:
        weights = {"features": self.params.feature_weight or 1.0, "pixels": self.params.pixel_weight or 1.0}
        return torch.stack([weights[name] * value for name, value in losses.items()]).sum()


def build_objective(params: TargetParams, teacher: Teacher | None, grid: TokenGrid) -> Objective:
    """Return the objective that the parameters ask for.

    Raises:
        ModelError: a teacher is missing, or there is one without use.
    """
    return Objective(params, teacher, grid)


def standardise(features_BND: Tensor, how: Literal["channel", "token", "none"] = "channel") -> Tensor:
    """Return features of mean 0 and deviation 1 in float32; 0 where they do not vary, as on flat backgrounds.

    Args:
        features_BND: float (B, N, D).
        how: per ``channel`` over all tokens of the clip, per ``token`` over its channels, or not at all.

    Source: SMILE, CVPR 2025 (per channel).
    """
    features = features_BND.float()
    return features if how == "none" else _whiten(features, dim=1 if how == "channel" else 2)


def pixel_target(patches_BNPC: Tensor) -> Tensor:
    """Return every token's pixels, normalised per token and channel; 0 where they do not vary.

    Args:
        patches_BNPC: uint8, or float in [0, 1], (B, N, P, 3).

    Returns:
        float32 (B, N, P x 3), pixel-major and then channel.

    Source: VideoMAE, NeurIPS 2022.
    """
    pixels = patches_BNPC.float()
    if patches_BNPC.dtype == torch.uint8:
        pixels = pixels / 255
    return _whiten(pixels, dim=2).flatten(2)


def error(predicted: Tensor, target: Tensor, kind: Literal["mse", "smooth_l1", "cosine"]) -> Tensor:
    """Return the mean error over all tokens: squared, smooth L1 (beta 1), or one minus the cosine."""
    if kind == "mse":
        return functional.mse_loss(predicted, target)
    if kind == "smooth_l1":
        return functional.smooth_l1_loss(predicted, target)
    return (1 - functional.cosine_similarity(predicted, target, dim=-1)).mean()


def _whiten(values: Tensor, dim: int) -> Tensor:
    std, mean = torch.std_mean(values, dim=dim, keepdim=True)
    varies = std > EPS + _VANISHING * mean.abs()
    return torch.where(varies, (values - mean) / (std + EPS), 0.0)


def _pick(values: Tensor, tokens_BM: Tensor) -> Tensor:
    clip = torch.arange(len(values), device=values.device)[:, None]
    return values[clip, tokens_BM]
