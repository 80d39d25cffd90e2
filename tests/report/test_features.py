"""Statistics of features on vectors whose answers are known, and the offline feature model."""

from __future__ import annotations

import numpy as np
import pytest

from smile_synth.errors import ReportError
from smile_synth.report.measure.feature_statistics import (
    DEFAULT_MODEL,
    RIDGE,
    FeatureSummary,
    Moments,
    build_model,
    diversity_logdet,
    effective_rank,
    frechet_distance,
    parse_model,
)


def moments_of(vectors, parts=1):
    moments = Moments(vectors.shape[1])
    for part in np.array_split(vectors, parts):
        moments.add(part)
    return moments


def test_moments_do_not_depend_on_batches():
    vectors = np.random.default_rng(0).normal(5, 2, (50, 4))
    one, many = moments_of(vectors), moments_of(vectors, parts=7)
    np.testing.assert_allclose(one.covariance, np.cov(vectors.T))
    np.testing.assert_allclose(many.covariance, one.covariance)
    np.testing.assert_allclose(many.mean, vectors.mean(0))


def test_logdet_is_that_of_the_covariance():
    vectors = np.random.default_rng(0).normal(size=(2000, 3)) * [1, 2, 3]
    expected = np.linalg.slogdet(np.cov(vectors.T) + RIDGE * np.eye(3))[1]
    assert diversity_logdet(moments_of(vectors)) == pytest.approx(expected, abs=0.01)


def test_logdet_does_not_depend_on_the_number_of_vectors():
    rng = np.random.default_rng(0)
    few = np.mean([diversity_logdet(moments_of(rng.normal(size=(60, 20)))) for _ in range(100)])
    assert few == pytest.approx(0, abs=0.3)


def test_effective_rank_counts_the_directions_that_are_used():
    rng = np.random.default_rng(0)
    assert effective_rank(moments_of(rng.normal(size=(5000, 4)))) == pytest.approx(4, abs=0.05)
    flat = np.zeros((5000, 4))
    flat[:, :2] = rng.normal(size=(5000, 2))
    assert effective_rank(moments_of(flat)) == pytest.approx(2, abs=0.05)


def test_frechet_distance_of_shifted_and_stretched_normals():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(20_000, 2))
    # |shift|^2 = 9 + 16; each axis adds (1 - 2)^2.
    assert frechet_distance(moments_of(base), moments_of(2 * base + [3, 4])) == pytest.approx(27, rel=0.03)
    assert frechet_distance(moments_of(base), moments_of(base)) == pytest.approx(0, abs=1e-6)


def test_too_few_vectors_give_no_figure():
    few = moments_of(np.random.default_rng(0).normal(size=(5, 4)))
    enough = moments_of(np.random.default_rng(0).normal(size=(50, 4)))
    assert diversity_logdet(few) is None
    assert effective_rank(few) is None
    assert frechet_distance(few, enough) is None


@pytest.mark.parametrize("text", ["resnet", "timm", "open_clip:x@a.pt@b", "efficientnet_lite0:b1"])
def test_unknown_feature_model_says_what_is_allowed(text):
    if text.startswith("open_clip"):
        assert parse_model(text).weights_file == "a.pt@b"
        return
    with pytest.raises(ReportError, match="must be none, efficientnet_lite0"):
        parse_model(text)


def test_any_model_of_timm_can_be_asked_for():
    model = build_model(parse_model("timm:resnet18@random"), height=64, width=64)
    assert model.name == "resnet18 (timm, random)"
    assert model.tokens(np.zeros((3, 64, 64, 3), np.uint8)).shape == (3, 16, 512)


def test_no_feature_model_can_be_asked_for():
    assert parse_model("none") is None


def test_offline_model_tells_flat_frames_from_textured_ones_and_any_size_fits():
    model = build_model(parse_model(DEFAULT_MODEL), height=70, width=54)
    assert "tf_efficientnet_lite0" in model.name
    rng = np.random.default_rng(0)
    flat, noisy = FeatureSummary(model), FeatureSummary(model)
    flat.add(np.full((2, 3, 70, 54, 3), 128, np.uint8))
    noisy.add(rng.integers(0, 256, (2, 3, 70, 54, 3), dtype=np.uint8))
    assert flat.moments.count == 2
    assert noisy.summary(None).variance_over_clips > flat.summary(None).variance_over_clips
