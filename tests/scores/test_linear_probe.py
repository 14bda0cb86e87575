"""The linear probe's head is the minimum itself, for features of any condition, and no noise."""

import time

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from hubfast.scores import linear_probe, softmax_regression
from hubfast.scores.softmax_regression import fit_head, principal_axes


def problem(count=60, width=8, classes=3, kind="plain"):
    rng = np.random.default_rng(0)
    y = np.arange(count) % classes
    x = rng.normal(size=(count, width)) + 0.5 * rng.normal(size=(classes, width))[y]
    match kind:
        case "one strong direction":  # as of a model that was not trained
            x = 1e-3 * x + rng.normal(size=(count, 1)) @ rng.normal(size=(1, width))
        case "separable":
            x = x + 20 * np.eye(classes, width)[y]
        case "dependent":
            x[:, width // 2 :] = x[:, : width - width // 2]
    return x, y


@pytest.mark.parametrize("kind", ["plain", "one strong direction", "separable", "dependent"])
@pytest.mark.parametrize("shape", [(60, 8, 3), (60, 8, 2), (40, 90, 4)], ids=str)
def test_head_is_scikit_learns(shape, kind):
    x, y = problem(*shape, kind)
    rows = principal_axes(x)
    scale = (
        2**0.5 if shape[2] == 2 else 1
    )  # scikit-learn's penalty is on one column for two classes
    found = fit_head(rows / scale, y, shape[2], 1e-13)
    other = LogisticRegression(solver="newton-cg", tol=1e-10, max_iter=10_000).fit(x, y)
    assert found.converged
    probabilities = np.exp(found.log_probabilities(rows / scale))
    np.testing.assert_allclose(probabilities, other.predict_proba(x), atol=1e-5)
    assert found.predict(rows / scale).tolist() == other.predict(x).tolist()


def test_principal_axes_keep_products():
    for shape in ((30, 6), (6, 30)):
        x = np.random.default_rng(0).normal(size=shape)
        moved = x - x.mean(0)
        axes = principal_axes(x)
        np.testing.assert_allclose(axes @ axes.T, moved @ moved.T, atol=1e-10)
        np.testing.assert_allclose(np.triu(axes.T @ axes, 1), 0, atol=1e-10)
    assert principal_axes(np.full((5, 3), 0.3)).shape == (5, 0)


def test_head_of_no_features_gives_the_shares_of_the_classes():
    labels = np.array([0, 0, 0, 1])
    found = fit_head(np.zeros((4, 0)), labels, 2, 1e-12)
    shares = np.exp(found.log_probabilities(np.zeros((1, 0))))
    np.testing.assert_allclose(shares, [[0.75, 0.25]], rtol=1e-5)


def test_an_untrained_models_features_take_no_longer():
    """Of 600 samples; warnings are errors here, so that none comes is tested, too."""
    seconds = {}
    for kind in ("plain", "one strong direction"):
        x, y = problem(600, 192, 10, kind)
        started = time.process_time()
        linear_probe(x, y)
        seconds[kind] = time.process_time() - started
    assert seconds["one strong direction"] < 5 * seconds["plain"] + 1


def test_work_is_bounded_and_one_warning_says_so(monkeypatch):
    monkeypatch.setattr(softmax_regression, "WORK", 0)
    monkeypatch.setattr(softmax_regression, "FEWEST", 1)
    x, y = problem(kind="one strong direction")
    with pytest.warns(UserWarning, match=r"5 of 5 heads were stopped before they had") as seen:
        assert linear_probe(x, y) > 0.3
    assert len(seen) == 1


def test_a_class_of_one_sample_is_wrong_and_no_more():
    x, y = problem(kind="separable")
    y[0] = 3  # no other fold has this class
    assert linear_probe(x, y) == pytest.approx(59 / 60)


def test_dtype_and_kind_of_targets():
    x, y = problem(kind="separable")
    assert linear_probe(x, torch.from_numpy(y)) == linear_probe(
        x, y.astype(float), task="classification"
    )


def test_features_of_a_large_scale_end_in_few_products():
    """Then the least loss is near 0, and what is left of it is round-off."""
    x, y = problem(30, 40, 2, "separable")
    started = time.process_time()
    found = fit_head(principal_axes(1e4 * x), y, 2, 1e-10)
    assert time.process_time() - started < 2
    assert found.converged
    assert found.predict(principal_axes(1e4 * x)).tolist() == y.tolist()
