"""Every score stays within the range that its docs give, for any features and classes."""

import math

import numpy as np
import pytest
from every_score import OF_DATA, bounds, value
from hypothesis import given, settings
from hypothesis import strategies as st

from hubfast.scores import leep, regularized_h_score
from hubfast.scores.registry import SCORES

ROUND_OFF = 1e-9


TIGHTER = {"h_score": lambda x, y: min(len(np.unique(y)) - 1, x.shape[1])}  # ends above
MEASURED_BY_R2 = [name for name in OF_DATA if SCORES[name].range == "accuracy, or R2"]


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


@pytest.mark.filterwarnings("ignore:h_score says nothing", "ignore:the sums over these float64")
@pytest.mark.parametrize("metric", OF_DATA)
@settings(max_examples=60, deadline=None)
@given(problem=problems())
def test_range(metric, problem):
    low, high = bounds(metric, problem[1])
    if metric in TIGHTER:
        high = TIGHTER[metric](*problem)
    found = value(metric, *problem)
    assert low - ROUND_OFF * (1 + abs(low)) <= found <= high + ROUND_OFF * (1 + high)


@pytest.mark.parametrize("metric", MEASURED_BY_R2)
@settings(max_examples=60, deadline=None)
@given(problem=problems())
def test_range_of_r2(metric, problem):
    x, y = problem
    low = -99 if metric == "knn" else -math.inf
    assert low <= value(metric, x, target(x, y), "regression") <= 1 + ROUND_OFF


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
