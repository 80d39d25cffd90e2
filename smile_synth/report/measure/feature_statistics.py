"""What a frozen image model sees in frames: how varied they are, and how far from natural ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from smile_synth.errors import ReportError
from smile_synth.masking.grid import TokenGrid
from smile_synth.params import first_problem
from smile_synth.recipe.pretrain import TeacherParams
from smile_synth.report.measure.content import ReportedFeatures
from smile_synth.report.measure.values import QuantitySpec, Values
from smile_synth.teachers.teacher import Teacher, build_teacher

Floats = npt.NDArray[np.float64]

DEFAULT_MODEL = "efficientnet_lite0"
NO_MODEL = "none"
# After the @ comes a file, or the word for a model that was never trained.
WEIGHTS = {"random": "pretrained"}
PATCH_PX = 16
RIDGE = 1e-6
# Fewer vectors than this many times their width, and the covariance says more of the sample than of the data.
MIN_VECTORS_PER_CHANNEL = 2
MODEL_BATCH = 32

TOKEN_SPREAD_SPEC = QuantitySpec(
    "token_spread",
    "Feature spread over a frame",
    "feature units²",
    "frame",
    "Mean variance of a feature channel over the tokens of one frame; near 0 the teacher has nothing to tell them by.",
)


class Moments:
    """Mean and covariance of vectors, gathered batch by batch.

    Args:
        width: numbers in a vector.
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self.mean: Floats = np.zeros(width)
        self._scatter: Floats = np.zeros((width, width))

    def add(self, vectors_BD: npt.NDArray[np.floating]) -> None:
        """Take in some vectors."""
        vectors = vectors_BD.astype(np.float64)
        n, total = len(vectors), self.count + len(vectors)
        if not n:
            return
        mean = vectors.mean(0)
        centred, delta = vectors - mean, mean - self.mean
        self._scatter += centred.T @ centred + np.outer(delta, delta) * (self.count * n / total)
        self.mean = self.mean + delta * (n / total)
        self.count = total

    @property
    def covariance(self) -> Floats:
        """Covariance of the vectors so far."""
        return self._scatter / max(self.count - 1, 1)

    @property
    def is_enough(self) -> bool:
        """Whether there are enough vectors for a covariance worth looking at."""
        return self.count >= MIN_VECTORS_PER_CHANNEL * len(self.mean)


def diversity_logdet(moments: Moments) -> float | None:
    """Return the natural logarithm of det(covariance + 1e-6 identity), None with too few vectors.

    Few vectors make the determinant too small; this is made good as for normally distributed vectors, so that
    values from different numbers of frames can be compared.

    Source: Learning Video Representations without Natural Videos, arXiv 2410.24213.
    """
    if not moments.is_enough:
        return None
    eigenvalues = np.maximum(np.linalg.eigvalsh(moments.covariance), 0)
    return float(np.log(eigenvalues + RIDGE).sum()) - _logdet_bias(moments.count, len(eigenvalues))


def _logdet_bias(count: int, width: int) -> float:
    """Return how far the logarithm of a sample covariance's determinant lies below the true one, on average.

    Source: the expected log-determinant of a Wishart matrix (Bishop, 2006, B.81).
    """
    freedom = torch.arange(count - width, count, dtype=torch.float64)
    return float(torch.special.digamma(freedom / 2).sum() + width * math.log(2 / (count - 1)))


def effective_rank(moments: Moments) -> float | None:
    """Return the exponential of the entropy of the covariance's eigenvalues, None with too few vectors.

    Source: Roy and Vetterli, EUSIPCO 2007.
    """
    eigenvalues = np.maximum(np.linalg.eigvalsh(moments.covariance), 0)
    if not moments.is_enough or not eigenvalues.sum():
        return None
    share = eigenvalues / eigenvalues.sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def frechet_distance(one: Moments, other: Moments) -> float | None:
    """Return the squared Fréchet distance between two normal distributions, None with too few vectors.

    Source: Heusel et al., NeurIPS 2017 (FID), here in whatever features the vectors are.
    """
    if not (one.is_enough and other.is_enough):
        return None
    values, vectors = np.linalg.eigh(one.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    middle = np.linalg.eigvalsh(root @ other.covariance @ root)
    trace = np.trace(one.covariance) + np.trace(other.covariance) - 2 * np.sqrt(np.maximum(middle, 0)).sum()
    return float(max(((one.mean - other.mean) ** 2).sum() + trace, 0.0))


@dataclass(frozen=True)
class FeatureModel:
    """A frozen image model, and what to call it next to its metrics.

    Args:
        name: for people.
        teacher: sees single frames.
    """

    name: str
    teacher: Teacher

    @torch.inference_mode()
    def tokens(self, frames_BHWC: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return float32 (B, N, D) features of single frames."""
        parts = [
            self.teacher(torch.from_numpy(frames_BHWC[start : start + MODEL_BATCH, None].copy())).float().numpy()
            for start in range(0, len(frames_BHWC), MODEL_BATCH)
        ]
        return np.concatenate(parts)


def parse_model(text: str) -> TeacherParams | None:
    """Return what ``--feature-model`` asks for.

    Args:
        text: ``efficientnet_lite0``, ``open_clip:MODEL``, ``timm:MODEL``, either with ``@FILE`` behind it for
            weights on disk or ``@random`` for none; or ``none``.

    Raises:
        ReportError: it is none of these.
    """
    if text == NO_MODEL:
        return None
    rest, _, weights = text.partition("@")
    library, _, model = rest.partition(":")
    try:
        return TeacherParams.model_validate(
            {"library": library, "model": model or None, WEIGHTS.get(weights, "weights_file"): weights or None}
        )
    except ValueError as error:
        raise ReportError(_bad_model(text, error)) from None


def build_model(params: TeacherParams, *, height: int, width: int) -> FeatureModel:
    """Return the feature model for frames of one size.

    Args:
        params: which model.
        height, width: size of the frames in pixels; a model that wants another size gets them resized.

    Raises:
        WeightsError: there is no such model, or its weights are absent.
    """
    grid = TokenGrid(1, max(1, height // PATCH_PX), max(1, width // PATCH_PX), 1, PATCH_PX)
    layer = f", layer {params.layer}" if params.layer else ""
    weights = params.weights_file or params.pretrained
    name = f"{params.model_name} ({params.library}{layer}{', ' + weights if weights else ''})"
    return FeatureModel(name, build_teacher(params, grid))


class FeatureSummary:
    """Gathers the features of frames.

    Args:
        model: what sees them.
    """

    def __init__(self, model: FeatureModel) -> None:
        width = model.teacher.width
        self.model = model
        self.moments = Moments(width)
        self._spread = Values(TOKEN_SPREAD_SPEC)

    def add(self, frames_BTHWC: npt.NDArray[np.uint8]) -> None:
        """Take in the middle frame of some clips: further ones would hardly say anything new."""
        tokens_BND = self.model.tokens(frames_BTHWC[:, frames_BTHWC.shape[1] // 2])
        self.moments.add(tokens_BND.mean(1))
        self._spread.add(tokens_BND.var(1).mean(1))

    def summary(self, natural: Moments | None) -> ReportedFeatures:
        """Return what was gathered.

        Args:
            natural: moments of natural frames in the same features, to measure the distance to.
        """
        spread = self._spread.summary()
        return ReportedFeatures(
            model=self.model.name,
            frames=self.moments.count,
            width=len(self.moments.mean),
            diversity_logdet=diversity_logdet(self.moments),
            effective_rank=effective_rank(self.moments),
            variance_over_tokens=spread.mean or 0.0,
            variance_over_clips=float(np.diag(self.moments.covariance).mean()),
            quantities=[spread],
            frechet_distance=None if natural is None else frechet_distance(self.moments, natural),
        )


def _bad_model(text: str, error: ValueError) -> str:
    from pydantic import ValidationError

    reason = first_problem(error, TeacherParams, where="it") if isinstance(error, ValidationError) else str(error)
    return (
        f"--feature-model must be none, efficientnet_lite0, open_clip:MODEL or timm:MODEL (with @FILE for weights on "
        f"disk, @random for a model never trained), got {text!r}: {reason}"
    )
