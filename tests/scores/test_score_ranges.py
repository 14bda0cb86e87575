"""Every score stays within the range that its docs give, for any features and classes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubfast.scores import (
    gbc,
    h_score,
    knn,
    leep,
    linear_probe,
    n_leep,
    nce,
    pactran,
    parc,
    regularized_h_score,
    sfda,
    transrate,
)

ROUND_OFF = 1e-9


def entropy(targets):
    shares = np.unique(targets, return_counts=True)[1] / len(targets)
    return float(-(shares * np.log(shares)).sum())


def softmax(features):
    shifted = features - features.max(1, keepdims=True)
    return np.exp(shifted) / np.exp(shifted).sum(1, keepdims=True)


RANGES = {  # of docs/scores/index.md, from features and targets
    "h_score": (h_score, lambda x, y: (0, min(len(np.unique(y)) - 1, x.shape[1]))),
    "regularized_h_score": (regularized_h_score, lambda x, y: (0, len(np.unique(y)) - 1)),
    "leep": (lambda x, y: leep(softmax(x), y), lambda x, y: (-entropy(y), 0)),
    "nce": (lambda x, y: nce(x.argmax(1), y), lambda x, y: (-entropy(y), 0)),
    "n_leep": (n_leep, lambda x, y: (-entropy(y), 0)),
    "transrate": (transrate, lambda x, y: (0, math.inf)),
    "gbc": (gbc, lambda x, y: (-len(np.unique(y)) * (len(np.unique(y)) - 1), 0)),
    "sfda": (sfda, lambda x, y: (-math.inf, 0)),
    "parc": (parc, lambda x, y: (-1, 1)),
    "pactran": (pactran, lambda x, y: (-math.inf, 0)),
    "knn": (lambda x, y: knn(x, y, k=min(5, len(y) - 1)), lambda x, y: (0, 1)),
    "linear_probe": (linear_probe, lambda x, y: (0, 1)),
    "knn, R2": (lambda x, y: knn(x, target(x, y), k=min(5, len(y) - 1)), lambda x, y: (-99, 1)),
    "linear_probe, R2": (lambda x, y: linear_probe(x, target(x, y)), lambda x, y: (-math.inf, 1)),
}


def target(features, classes):
    """A regression target that varies."""
    return classes + 0.1 * features.sum(1)


@st.composite
def problems(draw):
    """Features of any scale, spread, offset, rank and ties, and two to six uneven classes."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    count, width = draw(st.integers(6, 40)), draw(st.sampled_from([2, 3, 10, 60]))
    classes = draw(st.integers(2, min(6, count - 2)))
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, count - classes)])
    rank = draw(st.sampled_from([1, width]))
    x = rng.normal(size=(count, rank)) @ rng.normal(size=(rank, width))
    noise, apart = draw(st.sampled_from([0, 1e-9, 1])), draw(st.sampled_from([0, 1, 30]))
    x = draw(st.sampled_from([0, 1])) * x + noise * rng.normal(size=(count, width))
    x = x + apart * rng.normal(size=(classes, width))[y] + draw(st.sampled_from([0, 5]))
    return draw(st.sampled_from([1e-3, 1, 1e3])) * x, y


@pytest.mark.filterwarnings("ignore:h_score says nothing")
@pytest.mark.parametrize("metric", RANGES)
@settings(max_examples=60, deadline=None)
@given(problem=problems())
def test_range(metric, problem):
    score, bounds = RANGES[metric]
    low, high = bounds(*problem)
    found = score(*problem)
    assert low - ROUND_OFF * (1 + abs(low)) <= found <= high + ROUND_OFF * (1 + high)


def test_regularised_h_score_of_classes_at_points_reaches_its_bound():
    """Two samples at each of three points: all variance is between the classes."""
    x = np.repeat(4 * np.eye(3, 9), 2, axis=0) + 1e-9 * np.random.default_rng(0).normal(size=(6, 9))
    assert regularized_h_score(x, [0, 0, 1, 1, 2, 2]) <= 2


def test_leep_of_a_source_class_of_hardly_any_mass():
    """The reciprocal of its mass overflows; by hand, without it: P(0 | z) = (1, 1/2, 0)."""
    theta = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.0, 1e-310, 1.0]])
    expected = (np.log(0.5 + 0.25) + np.log(0.25 + 0.5) + np.log(1.0)) / 3
    assert leep(theta, [0, 1, 1]) == pytest.approx(expected)
    theta = np.array([[1.0, 0.0, 1e-310], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    assert leep(theta, [0, 1, 1]) == pytest.approx(0.0)
