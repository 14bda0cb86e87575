import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf

from hubfast.scores import FeatureStatistics, HScore, h_score, regularized_h_score


def problem(count, width, classes=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centres = 0.5 * torch.randn(classes, width, generator=g)
    return (centres[labels] + torch.randn(count, width, generator=g)).relu(), labels


def class_means(features, labels):
    centred = features.double().numpy() - features.double().numpy().mean(0)
    means = np.stack([centred[labels.numpy() == c].mean(0) for c in range(labels.max() + 1)])
    return centred, means[labels.numpy()]


def test_by_hand():
    # Two classes at -1 and 1 with deviations +-1 around them: between 1, total 2, ratio 1/2.
    features = torch.tensor([[-2.0], [0.0], [0.0], [2.0]])
    assert h_score(features, [0, 0, 1, 1]) == pytest.approx(0.5)


@pytest.mark.parametrize("width", [1, 7, 40])
def test_equals_its_definition(width):
    features, labels = problem(200, width)
    centred, means = class_means(features, labels)
    total, between = np.atleast_2d(np.cov(centred.T)), np.atleast_2d(np.cov(means.T))
    expected = np.trace(np.linalg.pinv(total) @ between)
    assert h_score(features, labels) == pytest.approx(expected, rel=1e-9)
    assert 0 <= h_score(features, labels) <= min(3, width)


@pytest.mark.parametrize("shape", [(200, 7), (200, 60), (30, 60)], ids=str)
def test_regularised_equals_ledoit_wolf(shape):
    features, labels = problem(*shape)
    centred, means = class_means(features, labels)
    covariance, shrinkage = ledoit_wolf(centred)
    expected = np.trace(np.linalg.inv(covariance) @ ((1 - shrinkage) * np.cov(means.T, ddof=0)))
    fitted = HScore.fit(features, labels, regularized=True)
    assert fitted.shrinkage == pytest.approx(shrinkage, rel=1e-9)
    assert fitted.score == pytest.approx(expected, rel=1e-9)


def test_far_from_the_origin():
    """Centring subtracts large numbers; the shrinkage has fourth powers in it."""
    features, labels = problem(200, 10)
    moved = features.double() + 100
    assert h_score(moved, labels) == pytest.approx(h_score(features, labels), rel=1e-8)
    expected = regularized_h_score(features, labels)
    assert regularized_h_score(moved, labels) == pytest.approx(expected, rel=1e-4)


def test_says_nothing_for_few_samples():
    features, labels = problem(20, 50)
    with pytest.warns(UserWarning, match=r"h_score says nothing for n = 20 samples"):
        assert h_score(features, labels) == pytest.approx(3.0, rel=1e-6)
    assert 0 < regularized_h_score(features, labels) < 3


@pytest.mark.parametrize("regularized", [False, True])
@pytest.mark.parametrize("value", [0.0, 7.3])
def test_constant_features_score_zero(value, regularized):
    fitted = HScore.fit(torch.full((30, 4), value), torch.arange(30) % 3, regularized=regularized)
    assert fitted.score == 0.0


@pytest.mark.parametrize("regularized", [False, True])
def test_scale_and_classes_invariant(regularized):
    features, labels = problem(150, 12)
    score = HScore.fit(features, labels, regularized=regularized).score
    renamed = torch.tensor([90, 4, -2, 11])[labels]
    assert HScore.fit(1e3 * features, renamed, regularized=regularized).score == pytest.approx(
        score, rel=1e-6
    )


@pytest.mark.parametrize("regularized", [False, True])
def test_influence_gives_the_spread_of_fresh_data(regularized):
    g = torch.Generator().manual_seed(1)
    centres = 0.4 * torch.randn(4, 15, generator=g)
    scores, errors = [], []
    for _ in range(200):
        labels = torch.randint(0, 4, (400,), generator=g)
        features = centres[labels] + torch.randn(400, 15, generator=g)
        fitted = HScore.fit(features, labels, regularized=regularized)
        scores.append(fitted.score)
        errors.append(float(fitted.influence(features, labels).std()) / 20)
    assert np.mean(errors) == pytest.approx(np.std(scores), rel=0.25)


def test_influence_averages_to_the_score():
    features, labels = problem(300, 10)
    fitted = HScore.fit(features, labels)
    assert fitted.influence(features, labels).mean().item() == pytest.approx(fitted.score, rel=0.02)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"H-score needs classification targets, got regression"):
        HScore.from_statistics(FeatureStatistics().update(torch.zeros(3, 2), [0.1, 0.2, 0.3]))
    with pytest.raises(ValueError, match=r"at least 2 samples, got 1"):
        h_score(torch.zeros(1, 2), [0])
