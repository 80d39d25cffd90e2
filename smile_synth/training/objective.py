"""The objective: what the student predicts of hidden and visible tokens, and how wrong it is."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from smile_synth.errors import ModelError
from smile_synth.masking.grid import TokenGrid
from smile_synth.model.patches import check_frames, patchify
from smile_synth.model.student import ExtraHeads, Prediction, split_tokens
from smile_synth.recipe.pretrain import TargetParams
from smile_synth.teachers.standardise import standardise, whiten
from smile_synth.teachers.teacher import Teacher
from smile_synth.training.motion import motion_of_tokens

_EXACT = "donot_use_mm_for_euclid_dist"
# Blocks of a second decoder, as TrackMAE has them.
MOTION_DECODER_DEPTH = 2


class Targets(NamedTuple):
    """What a batch of clips is to be predicted as; one teacher pass serves any number of masks.

    Args:
        features_BND: float32 (B, N, D), standardised, or None where features are not predicted.
        patches_BNPC: uint8 (B, N, pixels, 3), or None where pixels are not predicted.
        motion_BND: float32 (B, N, 2 x cells), in standard deviations of the dataset, NaN where undefined; or None.
    """

    features_BND: Tensor | None
    patches_BNPC: Tensor | None
    motion_BND: Tensor | None = None


class Objective(nn.Module):
    """Targets and loss.

    Args:
        params: kind of target, standardisation, losses and weights.
        teacher: frozen; None where no features are predicted, or they come with the clips.
        grid: the token grid.
        motion_std: the dataset's standard deviation of motion, in pixels a frame; None where motion is not predicted.
        cached_dim: channels of the features that come with the clips instead of from a teacher; None: they do not.

    Raises:
        ModelError: a teacher or the motion's standard deviation is missing, or there is one without use.
    """

    def __init__(
        self,
        params: TargetParams,
        teacher: Teacher | None,
        grid: TokenGrid,
        motion_std: float | None = None,
        *,
        cached_dim: int | None = None,
    ) -> None:
        super().__init__()
        num_sources = (teacher is not None) + (cached_dim is not None)
        if num_sources != int(params.uses_teacher):
            need = "needs a teacher" if params.uses_teacher else "has no use for a teacher"
            raise ModelError(f"a target of kind {params.kind!r} {need}, or its cached features; got {num_sources}")
        self.motion = params.motion_or_default
        if (self.motion is None) != (motion_std is None):
            raise ModelError(
                f"the motion's standard deviation must be given where motion is predicted, got {motion_std}"
            )
        self.params, self.teacher, self.grid, self.motion_std = params, teacher, grid, motion_std
        self.feature_dim = teacher.width if teacher is not None else cached_dim or 0
        self.pixel_dim = grid.pixels_per_token if params.uses_pixels else 0

    @property
    def prediction_dim(self) -> int:
        """Values that the student predicts for a hidden token, motion aside: features first, then pixels."""
        return self.feature_dim + self.pixel_dim

    @property
    def heads(self) -> ExtraHeads:
        """What the student predicts besides: motion of hidden tokens; features, then motion, of visible ones."""
        motion = self.motion
        visible_dim = self.feature_dim if self.params.visible_weight is not None else 0
        if motion is None:
            return ExtraHeads(visible_dim)
        return ExtraHeads(
            visible_dim=visible_dim + (motion.dim if motion.of_visible else 0),
            motion_dim=motion.dim if motion.of_hidden else 0,
            motion_decoder_depth=MOTION_DECODER_DEPTH if motion.head == "decoder" else 0,
        )

    @torch.no_grad()
    def targets(
        self, frames_BTHWC: Tensor, motion_BTHW2: Tensor | None = None, features_BND: Tensor | None = None
    ) -> Targets:
        """Return the targets of clips.

        Args:
            frames_BTHWC: uint8 (B, T, H, W, 3).
            motion_BTHW2: float (B, T, H / cell, W / cell, 2), as a store has it; needed where motion is predicted.
            features_BND: float (B, N, D), the teacher's cached features of these clips; needed where it is not run.

        Raises:
            ModelError: frames, motion or features do not fit the grid, or motion or features are missing.
        """
        check_frames(frames_BTHWC)
        return Targets(
            self._feature_target(frames_BTHWC, features_BND),
            patchify(frames_BTHWC, self.grid) if self.pixel_dim else None,
            self._motion_target(motion_BTHW2),
        )

    def _feature_target(self, frames_BTHWC: Tensor, features_BND: Tensor | None) -> Tensor | None:
        if not self.feature_dim:
            return None
        features = features_BND if self.teacher is None else self.teacher(frames_BTHWC)
        expected = (len(frames_BTHWC), self.grid.num_tokens, self.feature_dim)
        if features is None or features.shape != expected:
            found = "none" if features is None else tuple(features.shape)
            raise ModelError(f"the teacher's features must be {expected}, got {found}")
        return standardise(features, self.params.standardise or "channel")

    def _motion_target(self, motion_BTHW2: Tensor | None) -> Tensor | None:
        if self.motion is None or self.motion_std is None:
            return None
        if motion_BTHW2 is None:
            raise ModelError("the target is motion: give the clips' motion beside their frames")
        return motion_of_tokens(motion_BTHW2, self.grid, self.motion.cells) / self.motion_std

    def loss(
        self, prediction: Prediction, targets: Targets, is_masked_BN: Tensor, num_masked: int | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and its parts by name.

        Args:
            prediction: as the student gives it.
            targets: of the same clips.
            is_masked_BN: bool (B, N), the mask that the prediction was made under.
            num_masked: M where it is known: saves a look at the mask, which stalls a GPU.

        Returns:
            A float32 scalar, and detached parts, unweighted.

        Raises:
            ModelError: prediction and mask do not fit each other.
        """
        visible_BV, masked_BM = split_tokens(is_masked_BN, self.grid, num_masked)
        losses = {
            **self._hidden_losses(prediction.hidden_BMD, targets, masked_BM),
            **self._motion_losses(prediction, targets, masked_BM, visible_BV),
            **self._visible_losses(prediction.visible_BVD, targets, masked_BM, visible_BV),
        }
        return self._weigh(losses), {name: value.detach() for name, value in losses.items()}

    @property
    def has_zero_mean(self) -> bool:
        """Whether a student that predicts zero predicts the mean.

        Features as they come have another mean, and the cosine of zero says nothing.
        """
        params = self.params
        return not params.uses_teacher or (params.standardise != "none" and params.loss != "cosine")

    def loss_of_mean(self, targets: Targets, is_masked_BN: Tensor, num_masked: int) -> Tensor:
        """Return the loss of a student that predicts zero everywhere, a float32 scalar.

        Where ``has_zero_mean``, zero is the mean of features and pixels, and for motion says that nothing moves: a
        squared error is about 1 then, less where pixels do not vary.

        Args:
            targets: of some clips.
            is_masked_BN: bool (B, N), what is hidden of them.
            num_masked: tokens hidden in a clip.
        """
        count, num_tokens = is_masked_BN.shape
        heads, zeros = self.heads, torch.zeros(1, device=is_masked_BN.device)

        def nothing(tokens: int, dim: int) -> Tensor | None:
            return zeros.expand(count, tokens, dim) if dim else None

        prediction = Prediction(
            nothing(num_masked, self.prediction_dim),
            nothing(num_masked, heads.motion_dim),
            nothing(num_tokens - num_masked, heads.visible_dim),
        )
        return self.loss(prediction, targets, is_masked_BN, num_masked)[0]

    def _hidden_losses(self, prediction: Tensor | None, targets: Targets, masked_BM: Tensor) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        if not self.prediction_dim:
            return losses
        predicted = torch.split(
            _checked(prediction, masked_BM, self.prediction_dim), [self.feature_dim, self.pixel_dim], dim=2
        )
        if targets.features_BND is not None:
            target = _pick(targets.features_BND, masked_BM)
            losses["features"] = error(predicted[0], target, self.params.loss or "mse")
        if targets.patches_BNPC is not None:
            target = pixel_target(_pick(targets.patches_BNPC, masked_BM))
            losses["pixels"] = error(predicted[1], target, self.params.pixel_loss or "mse")
        return losses

    def _motion_losses(
        self, prediction: Prediction, targets: Targets, masked_BM: Tensor, visible_BV: Tensor
    ) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        if self.motion is None or targets.motion_BND is None:
            return losses
        if self.motion.of_hidden:
            predicted = _checked(prediction.motion_BMD, masked_BM, self.motion.dim)
            losses["motion_hidden"] = defined_error(predicted, _pick(targets.motion_BND, masked_BM), self.motion.loss)
        if self.motion.of_visible:
            predicted = _checked(prediction.visible_BVD, visible_BV, self.heads.visible_dim)[..., -self.motion.dim :]
            losses["motion_visible"] = defined_error(predicted, _pick(targets.motion_BND, visible_BV), self.motion.loss)
        return losses

    def _visible_losses(
        self, prediction: Tensor | None, targets: Targets, masked_BM: Tensor, visible_BV: Tensor
    ) -> dict[str, Tensor]:
        if self.params.visible_weight is None or targets.features_BND is None:
            return {}
        predicted = _checked(prediction, visible_BV, self.heads.visible_dim)[..., : self.feature_dim]
        wrong_BV = token_error(predicted, _pick(targets.features_BND, visible_BV), self.params.loss or "mse")
        if self.params.visible_falloff != "none":
            wrong_BV = wrong_BV / distance_to_hidden(visible_BV, masked_BM, self.grid).sqrt()
        return {"features_visible": wrong_BV.mean()}

    def predicted_motion(self, prediction: Prediction, is_masked_BN: Tensor) -> Tensor | None:
        """Return the predicted motion of every token, float32 (B, N, 2 x cells), NaN where none was predicted.

        Args:
            prediction: as the student gives it.
            is_masked_BN: bool (B, N), the mask that it was made under.

        Returns:
            In standard deviations of the dataset; None where motion is no target.
        """
        if self.motion is None:
            return None
        predicted = torch.full((*is_masked_BN.shape, self.motion.dim), torch.nan, device=is_masked_BN.device)
        if prediction.motion_BMD is not None:
            predicted[is_masked_BN] = prediction.motion_BMD.float().flatten(0, 1)
        if self.motion.of_visible and prediction.visible_BVD is not None:
            predicted[~is_masked_BN] = prediction.visible_BVD[..., -self.motion.dim :].float().flatten(0, 1)
        return predicted

    def _weigh(self, losses: dict[str, Tensor]) -> Tensor:
        params = self.params
        features = params.feature_weight or 1.0
        motion = (self.motion.weight if self.motion is not None else None) or 1.0
        weights = {
            "features": features,
            "pixels": params.pixel_weight or 1.0,
            "features_visible": features * (params.visible_weight or 1.0),
            "motion_hidden": motion,
            "motion_visible": motion,
        }
        return torch.stack([weights[name] * value for name, value in losses.items()]).sum()


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
    return whiten(pixels, dim=2).flatten(2)


def error(predicted: Tensor, target: Tensor, kind: Literal["mse", "smooth_l1", "cosine"]) -> Tensor:
    """Return the mean error over all tokens: squared, smooth L1 (beta 1), or one minus the cosine."""
    if kind == "mse":
        return functional.mse_loss(predicted, target)
    if kind == "smooth_l1":
        return functional.smooth_l1_loss(predicted, target)
    return (1 - functional.cosine_similarity(predicted, target, dim=-1)).mean()


def token_error(predicted_BND: Tensor, target_BND: Tensor, kind: Literal["mse", "smooth_l1", "cosine"]) -> Tensor:
    """Return the error of every token, (B, N): ``error`` before its mean over tokens."""
    if kind == "mse":
        return functional.mse_loss(predicted_BND, target_BND, reduction="none").mean(dim=2)
    if kind == "smooth_l1":
        return functional.smooth_l1_loss(predicted_BND, target_BND, reduction="none").mean(dim=2)
    return 1 - functional.cosine_similarity(predicted_BND, target_BND, dim=2)


def defined_error(predicted_BND: Tensor, target_BND: Tensor, kind: Literal["mse", "smooth_l1"]) -> Tensor:
    """Return the mean error over the values that are defined (not NaN) in the target; 0 where none is."""
    is_defined = target_BND.isfinite()
    # Both sides become equal where there is no target, so that neither loss nor gradient sees these places.
    target = torch.where(is_defined, target_BND, 0.0)
    predicted = torch.where(is_defined, predicted_BND, 0.0)
    total = functional.mse_loss if kind == "mse" else functional.smooth_l1_loss
    return total(predicted, target, reduction="sum") / is_defined.sum().clamp(min=1)


def distance_to_hidden(visible_BV: Tensor, masked_BM: Tensor, grid: TokenGrid) -> Tensor:
    """Return how far each visible token is from the nearest hidden one, in tokens along all three axes, (B, V).

    Source: V-JEPA 2.1 (arXiv 2603.14482).
    """
    nearest = torch.cdist(_place_of(visible_BV, grid), _place_of(masked_BM, grid), compute_mode=_EXACT)
    return nearest.amin(dim=2)


def _place_of(tokens_BM: Tensor, grid: TokenGrid) -> Tensor:
    place = tokens_BM % grid.tokens_per_tubelet
    along = (tokens_BM // grid.tokens_per_tubelet, place // grid.columns, place % grid.columns)
    return torch.stack(along, dim=2).float()


def _checked(prediction: Tensor | None, tokens_BM: Tensor, dim: int) -> Tensor:
    """Return a prediction in float32, once it has the size that it should have."""
    expected = (*tokens_BM.shape, dim)
    if prediction is None or prediction.shape != expected:
        found = "none" if prediction is None else tuple(prediction.shape)
        raise ModelError(f"predictions must be {expected}, got {found}")
    return prediction.float()


def _pick(values: Tensor, tokens_BM: Tensor) -> Tensor:
    clip = torch.arange(len(values), device=values.device)[:, None]
    return values[clip, tokens_BM]
