"""Scores that need samples: against independent calculations, limits, degenerate input."""

import math

import independent_scores as independent
import numpy as np
import pytest
import torch
from every_score import OF_DATA, OF_FEATURES, bounds, fitted, influence, value
from hypothesis import given, settings
from hypothesis import strategies as st

from hubfast.scores import (
    imagenet_prior,
    knn,
    linear_probe,
    n_leep,
    pactran,
    parc,
    static_prior,
)
from hubfast.scores.held_out import interleaved
from hubfast.scores.own_order import own_order
from hubfast.scores.registry import SCORES, names_of
from hubfast.scores.sample_score import compact, principal_components

every_score = pytest.mark.parametrize("name", OF_DATA)
OF_CLASSES = {*names_of(needs=["samples"])} - {*names_of(task="regression")}
every_score_of_features = pytest.mark.parametrize("name", OF_FEATURES)


def problem(count=60, width=8, classes=3, signal=1.0, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(count) % classes
    x = signal * rng.normal(size=(classes, width))[y] + rng.normal(size=(count, width))
    return np.maximum(x, -0.5), y


def in_own_order(x, y):
    order = own_order(torch.from_numpy(x), torch.from_numpy(y)).numpy()
    return x[order], y[order]


@pytest.mark.parametrize("shape", [(60, 8), (45, 80)], ids=["tall", "wide"])
@pytest.mark.parametrize("name", ["transrate", "gbc", "sfda", "parc"])
def test_equals_independent_calculation(name, shape):
    x, y = problem(*shape)
    expected = getattr(independent, name)(x, y)
    assert value(name, x, y) == pytest.approx(expected, rel=1e-6)


def test_n_leep_equals_independent_calculation():
    x, y = in_own_order(*problem())
    assert n_leep(x, y) == pytest.approx(independent.n_leep(x, y, clusters=12), rel=1e-6)


@pytest.mark.parametrize("shape", [(60, 4), (15, 20)], ids=["tall", "wide"])
def test_pactran_equals_independent_calculation(shape):
    x, y = problem(*shape)
    assert pactran(x, y) == pytest.approx(independent.pactran(x, y), rel=1e-5)


@pytest.mark.parametrize("k", [1, 4, 5])
def test_knn_equals_independent_calculation(k):
    x, y = problem(signal=0.5)
    assert knn(x, y, k=k) == independent.knn(x, y, k)


def test_linear_probe_equals_independent_calculation():
    x, y = in_own_order(*problem(signal=0.4))
    fold = interleaved(torch.from_numpy(y), len(y), 5, seed=0).numpy()
    assert linear_probe(x, y) == pytest.approx(independent.linear_probe(x, y, fold))
    for held in range(5):  # classes in proportion in every fold
        assert np.bincount(y[fold == held]).tolist() == [4, 4, 4]


def test_static_prior():
    assert static_prior(1000) == pytest.approx(3.0)
    with pytest.raises(ValueError, match="needs the number of parameters, which is not known"):
        static_prior(None)


def test_imagenet_prior():
    assert imagenet_prior(80.4) == 80.4
    with pytest.raises(ValueError, match=r"which is not known; a hub file may give it"):
        imagenet_prior(None)
    with pytest.raises(ValueError, match=r"imagenet must be a percentage, got 800"):
        imagenet_prior(800)


@every_score
def test_more_signal_scores_higher_within_the_range(name):
    low, high = bounds(name, problem()[1])
    found = [value(name, *problem(signal=s)) for s in (0.0, 0.7, 3.0)]
    if name in OF_FEATURES:  # the place of the largest feature is a poor guess
        assert found == sorted(found)
    assert found[0] < found[2]
    assert all(low - 1e-9 <= each <= high for each in found)


@every_score
@given(seed=st.integers(0, 10**6), width=st.integers(2, 30))
@settings(max_examples=8, deadline=None)
def test_order_and_names_of_classes_do_not_matter(name, seed, width):
    x, y = problem(40, width, seed=seed)
    expected = value(name, x, y)
    renamed = np.array([7, -2, 30])[y]
    if name != "linear_probe":  # its folds tell samples with the same features by their class
        assert value(name, x, renamed) == pytest.approx(expected, rel=1e-5, abs=1e-9)
    order = np.random.default_rng(seed).permutation(40)
    reordered = value(name, x[order], y[order])
    if SCORES[name].needs == "samples":
        assert reordered == expected
    else:
        assert reordered == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", ["transrate", "gbc", "n_leep", "parc", "knn", "linear_probe"])
def test_scale_of_features_does_not_matter(name):
    x, y = problem()
    assert value(name, 1000 * x, y) == pytest.approx(value(name, x, y), rel=1e-6)


@every_score
def test_kinds_of_arrays_agree(name):
    x, y = problem()
    expected = value(name, x, y)
    assert value(name, torch.from_numpy(x), torch.from_numpy(y)) == expected
    assert value(name, x.astype(np.float32), y) == pytest.approx(expected, rel=1e-3)


@pytest.mark.filterwarnings("ignore:the sums over these float64")
@every_score
def test_constant_features_say_nothing(name):
    y = np.arange(30) % 3
    silent = {
        "transrate": 0.0,
        "gbc": -6.0,
        "n_leep": -math.log(3),
        "sfda": -math.log(3),
        "parc": 0.0,
    }
    x = np.full((30, 4), 7.3)
    found = value(name, x, y)
    assert math.isfinite(found)
    if name in silent:
        assert found == pytest.approx(silent[name], abs=1e-6)
    assert bool(influence(name, x, y).isfinite().all())


@pytest.mark.filterwarnings("ignore:the sums over these float64")
@every_score
def test_classes_at_points_are_told_apart(name):
    """No variance within classes; and each feature twice, so that scatters are singular."""
    y = np.arange(30) % 3
    x = np.repeat(np.eye(3)[y] + 1, 2, axis=1)
    score, high = value(name, x, y), bounds(name, y)[1]
    assert math.isfinite(score)
    assert bool(influence(name, x, y).isfinite().all())
    if name in ("gbc", "n_leep", "parc", "knn", "linear_probe"):
        assert score == pytest.approx(high, abs=1e-6)


@every_score
def test_a_class_of_one_sample(name):
    x, y = problem(31)
    y[-1] = 9
    assert math.isfinite(value(name, x, y))


@every_score
def test_influence_averages_to_the_score(name):
    x, y = problem(300, signal=0.5)
    effect = influence(name, x, y)
    assert effect.shape == (300,)
    assert effect.dtype == torch.float64
    rough = 0.03 if name == "logme" else 0.02  # its influences are of samples left out
    assert float(effect.mean()) == pytest.approx(value(name, x, y), abs=rough)


# N-LEEP's clusters, SFDA's and the probe's heads are taken as given, so theirs are rougher.
@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("transrate", 0.2), ("gbc", 0.2), ("parc", 0.2), ("knn", 0.35), ("pactran", 0.35)],
)
def test_influence_gives_the_spread_of_fresh_data(name, tolerance):
    rng = np.random.default_rng(1)
    centres = 0.6 * rng.normal(size=(3, 6))
    scores, errors = [], []
    for _ in range(150):
        y = rng.integers(0, 3, 200)
        found = fitted(name, centres[y] + rng.normal(size=(200, 6)), y)
        scores.append(found.score)
        errors.append(float(found.influence().std()) / 200**0.5)
    assert np.mean(errors) == pytest.approx(np.std(scores), rel=tolerance)


@every_score_of_features
def test_bad_input_is_named(name):
    x, y = problem()
    with pytest.raises(ValueError, match=r"features must be finite"):
        value(name, x * np.nan, y)
    with pytest.raises(ValueError, match=r"targets for classification must be \(60,\)"):
        value(name, x, y[:9])
    if name in OF_CLASSES:
        with pytest.raises(ValueError, match=r"needs at least 2 classes, got \[1\]"):
            value(name, x, np.ones(60, int))


def test_what_single_scores_refuse():
    x, y = problem(5, classes=5)
    for name in OF_CLASSES:
        with pytest.raises(ValueError, match=r"needs two samples of one class, got one sample of"):
            value(name, x, y)
    y = np.array([0, 0, 1, 1, 2])
    with pytest.raises(ValueError, match=r"a width of at least 2"):
        parc(x[:, :1], y)
    with pytest.raises(ValueError, match=r"k must be in 1\.\.4 for 5 samples, got 5"):
        knn(x, y)
    with pytest.raises(ValueError, match=r"at least 2 samples, got 1"):
        linear_probe(x[:1], y[:1])
    with pytest.raises(ValueError, match=r"targets must vary, got constant columns: \[0\]"):
        knn(x, np.zeros(5), k=2)


@pytest.mark.parametrize("score", [knn, linear_probe])
def test_regression_is_measured_by_r2(score):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    good, noise = x @ [1.0, 2.0, 3.0], rng.normal(size=200)
    assert score(x, good) > 0.6
    assert score(x, noise) < 0.1
    both = score(x, np.stack([good, noise], 1))
    assert both == pytest.approx((score(x, good) + score(x, noise)) / 2, abs=1e-3)
    assert score(x, np.stack([good > 0, noise > 0], 1).astype(int)) < 1


def test_linear_probe_of_a_linear_target():
    x = np.random.default_rng(0).normal(size=(100, 3))
    assert linear_probe(x, x @ [1.0, 2.0, 3.0]) == pytest.approx(1.0, abs=1e-3)


def test_compact_keeps_products():
    x = torch.randn(7, 30, dtype=torch.float64)
    small = compact(x)
    assert small.shape == (7, 7)
    torch.testing.assert_close(small @ small.T, x @ x.T)
    assert compact(x.T) is not None
    assert compact(x.T).shape == (30, 7)


@pytest.mark.parametrize("shape", [(40, 12), (12, 40)], ids=str)
def test_principal_components(shape):
    from sklearn.decomposition import PCA

    x = np.random.default_rng(0).normal(size=shape) * np.linspace(3, 0.1, shape[1])
    for keep in (4, 0.8):
        expected = PCA(keep, svd_solver="full").fit_transform(x)
        found = principal_components(torch.from_numpy(x), keep).numpy()
        np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-8)
