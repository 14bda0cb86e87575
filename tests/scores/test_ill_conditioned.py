"""LogME of float64 features whose Gram matrix loses what the score needs."""

import mpmath
import numpy as np
import pytest
from rivals import brute_force_evidence

from hubfast.scores import FeatureStatistics, LogME, logme

EPSILON = np.finfo(float).eps


def conditioned(count, width, condition, noise=1e-3):
    """Features with singular values from 1 to 1 / condition, and a target that needs the last."""
    rng = np.random.default_rng(0)
    rank = min(count, width)
    left, _ = np.linalg.qr(rng.normal(size=(count, rank)))
    right, _ = np.linalg.qr(rng.normal(size=(width, rank)))
    features = left * np.geomspace(1, 1 / condition, rank) @ right.T
    return features, 10 * left[:, -1] + noise * rng.normal(size=count)


def exact(features, target):
    """The evidence's maximum in 60 digits, by the eigenvalues of F'F or FF'."""
    with mpmath.workdps(60):
        f, y = mpmath.matrix(features.tolist()), mpmath.matrix(target.tolist())
        tall, count = f.rows > f.cols, f.rows
        eigenvalues, vectors = mpmath.eigsy(f.T * f if tall else f * f.T)
        projected = vectors.T * (f.T * y if tall else y)
        energy = [z * z for z in projected]
        if tall:
            energy = [z / e for z, e in zip(energy, eigenvalues, strict=True)]
        rest = mpmath.fsum(v * v for v in y) - mpmath.fsum(energy) if tall else mpmath.mpf(0)
        spectrum = list(zip(eigenvalues, energy, strict=True))

        def value(log_t):
            t = mpmath.exp(log_t)
            quadratic = rest + mpmath.fsum(z / (1 + e / t) for e, z in spectrum)
            log_det = mpmath.fsum(mpmath.log1p(e / t) for e, _ in spectrum)
            return -(1 + mpmath.log(2 * mpmath.pi * quadratic / count) + log_det / count) / 2

        low = mpmath.log(min(eigenvalues)) - 50
        grid = [low + i * (40 - low) / 400 for i in range(401)]
        peak = max(range(1, 400), key=lambda i: value(grid[i]))
        left, right = grid[peak - 1], grid[peak + 1]
        for _ in range(60):  # thirds
            third = (right - left) / 3
            if value(left + third) < value(right - third):
                left += third
            else:
                right -= third
        return float(value((left + right) / 2))


@pytest.mark.parametrize("condition", [1e2, 1e5, 1e7, 1e9, 1e12])
@pytest.mark.parametrize("shape", [(60, 6), (8, 40), (12, 12)], ids=str)
@pytest.mark.parametrize("noise", [1.0, 1e-2, 1e-4])
def test_score_is_exact(shape, condition, noise):
    """To 1e-8, or what the singular values of float64 features are good for.

    Their error is eps times the largest. For the last one, which holds the whole target here, that
    is eps times the condition number, and the residual beside it is smaller by the noise: with a
    little noise, more targets than features and a condition past 1e7, nobody gets 1e-8.
    """
    features, target = conditioned(*shape, condition, noise)
    limit = EPSILON * condition / noise if noise < 1 and shape[0] > shape[1] else 0.0
    tolerance = max(1e-8, limit)
    assert logme(features, target) == pytest.approx(
        exact(features, target), rel=tolerance, abs=tolerance
    )


@pytest.mark.parametrize("condition", [1e7, 1e9])
def test_where_squares_lose_the_score_is_as_good_as_by_the_singular_values(condition):
    features, target = conditioned(60, 6, condition, 1e-2)
    truth = exact(features, target)
    by_sums = FeatureStatistics().update(features, target)
    with pytest.warns(UserWarning, match="fit the features as a whole"):
        rough = LogME.from_statistics(by_sums).score
    assert abs(logme(features, target) - truth) < 1e-2 * abs(rough - truth)


def test_the_digits_agree_with_the_general_optimiser():
    features, targets = conditioned(30, 6, 1e2, noise=1.0)
    assert exact(features, targets) == pytest.approx(
        brute_force_evidence(features, targets), rel=1e-8
    )


def test_sums_alone_warn():
    features, targets = conditioned(60, 6, 1e12)
    statistics = FeatureStatistics().update(features, targets)
    with pytest.warns(UserWarning, match="fit the features as a whole"):
        LogME.from_statistics(statistics)


def test_float32_features_do_not_warn():
    """Their own rounding is coarser than what the Gram matrix loses."""
    features, targets = conditioned(60, 6, 1e12)
    statistics = FeatureStatistics().update(features.astype(np.float32), targets)
    assert np.isfinite(LogME.from_statistics(statistics).score)


def test_resolution_is_kept(tmp_path):
    features, targets = conditioned(60, 6, 1e3)
    half = FeatureStatistics().update(features.astype(np.float16)[:30], targets[:30])
    both = half + FeatureStatistics().update(features[30:], targets[30:])
    both.save(tmp_path / "statistics.safetensors")
    loaded = FeatureStatistics.load(tmp_path / "statistics.safetensors")
    assert half.resolution == both.resolution == loaded.resolution == np.finfo(np.float16).eps


def test_posterior_of_the_singular_value_route():
    """Means and predictions from it satisfy the normal equations."""
    features, targets = conditioned(60, 6, 1e9)
    fitted = LogME.fit(features, targets)
    t = float(fitted.t)
    u, sigma, vh = np.linalg.svd(features, full_matrices=False)
    expected = vh.T @ (sigma / (sigma**2 + t) * (u.T @ targets))
    np.testing.assert_allclose(
        fitted.means[0], expected, rtol=1e-5, atol=1e-7 * abs(expected).max()
    )
    assert fitted.rank == 6
