"""LogME of float64 features whose Gram matrix loses what the score needs."""

import numpy as np
import pytest
from rivals import brute_force_evidence
from scipy.optimize import minimize_scalar

from hubfast.scores import FeatureStatistics, LogME, logme


def conditioned(count, width, condition, noise=1e-3):
    """Features with singular values from 1 to 1 / condition, and a target that needs the last."""
    rng = np.random.default_rng(0)
    rank = min(count, width)
    left, _ = np.linalg.qr(rng.normal(size=(count, rank)))
    right, _ = np.linalg.qr(rng.normal(size=(width, rank)))
    features = left * np.geomspace(1, 1 / condition, rank) @ right.T
    return features, 10 * left[:, -1] + noise * rng.normal(size=count)


def exact(features, target):
    """The evidence's maximum by the singular values and a bounded search about a grid's best."""
    u, sigma, _ = np.linalg.svd(features, full_matrices=False)
    energy, count = (u.T @ target) ** 2, len(target)
    rest = ((target - u @ (u.T @ target)) ** 2).sum() if count > len(sigma) else 0.0

    def negative(log_t):
        shrunk = 1 / (1 + sigma**2 / np.exp(log_t))
        quadratic = shrunk @ energy + rest
        value = -0.5 * (1 + np.log(2 * np.pi * quadratic / count))
        return -value + np.log1p(sigma**2 / np.exp(log_t)).sum() / (2 * count)

    grid = np.linspace(2 * np.log(sigma[-1]) - 50, 40, 4001)
    best = grid[np.argmin([negative(x) for x in grid])]
    step = grid[1] - grid[0]
    found = minimize_scalar(negative, bounds=(best - step, best + step), method="bounded")
    return -found.fun


@pytest.mark.parametrize("condition", [1e2, 1e5, 1e7, 1e9, 1e12])
@pytest.mark.parametrize("shape", [(60, 6), (8, 40), (12, 12)], ids=str)
@pytest.mark.parametrize("noise", [1.0, 1e-2, 1e-4])
def test_score_is_exact(shape, condition, noise):
    features, target = conditioned(*shape, condition, noise)
    assert logme(features, target) == pytest.approx(exact(features, target), rel=1e-8, abs=1e-8)


def test_the_grid_agrees_with_the_general_optimiser():
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
