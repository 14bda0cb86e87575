"""Linear CKA: by hand, against its definition, what it does not see, its influence."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from hubfast.ranking import rank
from hubfast.scores import FeatureStatistics
from hubfast.scores.cka import CKA, cka

TASKS = ("classification", "multilabel", "regression")


def problem(task, count=60, width=8, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(count) % 3)
    x = rng.normal(size=(count, width)) * np.linspace(1, 3, width) + rng.normal(size=(3, width))[y]
    columns = np.stack([x[:, 0] + rng.normal(size=count), 40 + 9 * x[:, 1] * y], 1)
    match task:
        case "multilabel":
            return x + 2, (columns > np.median(columns, 0)).astype(int)
        case "regression":
            return x + 2, columns
    return x + 2, y


def by_kernels(x, y, weights=None):
    """<K, L> / (|K| |L|) of the doubly centred n x n kernels, sample by sample."""
    weights = np.full(len(x), 1 / len(x)) if weights is None else weights / weights.sum()
    columns = [np.eye(y.max() + 1)[y]] if y.ndim == 1 else list(y.T[:, :, None])

    def kernel(z):
        z = (z - weights @ z) * np.sqrt(weights)[:, None]
        return z @ z.T

    k = kernel(x)
    kernels = [kernel(column.astype(float)) for column in columns]
    return np.mean(
        [(k * other).sum() / np.linalg.norm(k) / np.linalg.norm(other) for other in kernels]
    )


def test_by_hand():
    # X'X = diag(4, 16), Y'Y = diag(4) of the centred +-1 columns, Y'X = (4, 0) for the first.
    x = np.array([[1.0, 2.0], [1.0, -2.0], [-1.0, 2.0], [-1.0, -2.0]]) + 5
    y = np.array([1.0, 1.0, -1.0, -1.0])
    assert cka(x, y) == pytest.approx(16 / (np.sqrt(16 + 256) * 4))
    # One-hot, centred: rows (1/2, -1/2) and its negative, |Y'Y| = 2, |Y'X|^2 = 2 * 2^2.
    assert cka(x, (y > 0).astype(int)) == pytest.approx(8 / (np.sqrt(16 + 256) * 2))
    assert cka(x, x) == pytest.approx((16 / 4 + 256 / 16) / np.sqrt(272) / 2)
    assert cka(x[:, :1], y) == 1.0


@pytest.mark.parametrize("shape", [(60, 8), (20, 45)], ids=["tall", "wide"])
@pytest.mark.parametrize("task", TASKS)
def test_equals_its_definition(task, shape):
    x, y = problem(task, *shape)
    assert cka(x, y) == pytest.approx(by_kernels(x, y), rel=1e-10)
    halves = FeatureStatistics(task).update(x[:9], y[:9]) + FeatureStatistics(task).update(
        x[9:], y[9:]
    )
    assert CKA.from_statistics(halves).score == pytest.approx(by_kernels(x, y), rel=1e-10)


@pytest.mark.parametrize("shape", [(60, 8), (20, 45)], ids=["tall", "wide"])
@pytest.mark.parametrize("task", TASKS)
def test_influence_is_the_derivative(task, shape):
    x, y = problem(task, *shape)
    fitted = CKA.fit(x, y)
    effect = fitted.influence(x, y).numpy()
    assert effect.mean() == pytest.approx(fitted.score, abs=1e-12)
    for i in (0, 7, 19):
        ends = []
        for step in (1e-5, -1e-5):
            weights = np.full(len(x), 1 / len(x))
            weights = (1 - step) * weights
            weights[i] += step
            ends.append(by_kernels(x, y, weights))
        slope = (ends[0] - ends[1]) / 2e-5
        assert effect[i] == pytest.approx(fitted.score + slope, rel=1e-6, abs=1e-8)
    few = fitted.influence(torch.from_numpy(x[[3, 1]]), y[[3, 1]])
    np.testing.assert_allclose(few.numpy(), effect[[3, 1]])


def test_influence_gives_the_spread_of_fresh_data():
    rng = np.random.default_rng(1)
    centres = 0.6 * rng.normal(size=(3, 6))
    scores, errors = [], []
    for _ in range(150):
        y = rng.integers(0, 3, 200)
        x = centres[y] + rng.normal(size=(200, 6))
        fitted = CKA.fit(x, y)
        scores.append(fitted.score)
        errors.append(float(fitted.influence(x, y).std()) / 200**0.5)
    assert np.mean(errors) == pytest.approx(np.std(scores), rel=0.2)


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-6, 3.0, 1e6]))
def test_what_it_does_not_see(task, seed, scale):
    x, y = problem(task, seed=seed)
    expected = cka(x, y)
    turned = x @ ortho_group.rvs(8, random_state=seed)
    moved = scale * (turned + np.random.default_rng(seed).normal(size=8))
    assert cka(moved, y) == pytest.approx(expected, rel=1e-8)
    if task == "regression":
        assert cka(x, y * [1e3, 1e-3] + [5, -8]) == pytest.approx(expected, rel=1e-6)
    if task == "classification":
        assert cka(x, np.array([7, -2, 30])[y]) == pytest.approx(expected, rel=1e-12)


def test_it_sees_the_scale_of_single_features():
    x, y = problem("classification")
    assert abs(cka(x * np.linspace(1, 9, 8), y) - cka(x, y)) > 1e-3


@pytest.mark.parametrize("shape", [(40, 3), (10, 30)], ids=["tall", "wide"])
def test_constant_features_are_like_nothing(shape):
    x, y = np.full(shape, 7.3), np.arange(shape[0]) % 2
    fitted = CKA.fit(x, y)
    assert fitted.score == 0.0
    assert fitted.influence(x, y).tolist() == [0.0] * len(y)


def test_wide_features_that_know_nothing():
    y = np.arange(60) % 3
    x = np.random.default_rng(0).normal(size=(60, 20_000))
    assert cka(x, y) == pytest.approx(np.sqrt(2 / 59), rel=0.05)


def test_what_it_refuses():
    x, y = problem("classification")
    with pytest.raises(ValueError, match=r"at least 2 classes, got \[4\]"):
        cka(x, np.full(60, 4))
    with pytest.raises(ValueError, match=r"targets must vary, got constant columns: \[1\]"):
        cka(x, np.stack([x[:, 0], np.full(60, 0.1)], 1))
    with pytest.raises(ValueError, match=r"targets must be below 1e150"):
        cka(x, 1e160 * x)
    with pytest.raises(ValueError, match=r"features must be finite"):
        cka(x * np.nan, y)
    with pytest.raises(ValueError, match=r"no samples were counted yet"):
        CKA.from_statistics(FeatureStatistics("regression"))


@pytest.mark.parametrize("task", TASKS)
def test_it_ranks(task, tmp_path):
    x, y = problem(task)
    np.save(tmp_path / "good.npy", x)
    np.save(tmp_path / "noise.npy", np.random.default_rng(1).normal(size=(60, 8)))
    hub = [str(tmp_path / "good.npy"), str(tmp_path / "noise.npy")]
    ranking = rank(hub, y, metric="cka", task=task, progress=False)
    first = ranking.models[0]
    assert first.name.startswith("good")
    assert first.score == pytest.approx(cka(x, y))
    assert first.low < first.score < first.high
