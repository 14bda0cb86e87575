"""Shapes for which a score is the same whatever the features are."""

import numpy as np
import pytest

from hubfast.scores import h_score, n_leep, sfda
from hubfast.scores.registry import SCORES as RECORDS

SCORES = {"h_score": h_score, "sfda": sfda, "n_leep": n_leep}


def found(metric, count, width):
    """Scores of five random feature matrices of standard normal numbers."""
    targets = np.arange(count) % 3
    draws = [np.random.default_rng(seed).normal(size=(count, width)) for seed in range(5)]
    return [SCORES[metric](features, targets) for features in draws]


@pytest.mark.filterwarnings("ignore:h_score says nothing")
@pytest.mark.parametrize(
    ("metric", "silent", "speaks"),
    [
        ("h_score", (30, 29), (31, 29)),
        ("sfda", (30, 30), (60, 30)),
        ("n_leep", (9, 4), (10, 4)),
    ],
)
def test_what_it_says_is_so(metric, silent, speaks):
    assert (
        RECORDS[metric]
        .says_nothing(*silent)
        .startswith(f"{metric} says nothing for n = {silent[0]}")
    )
    assert RECORDS[metric].says_nothing(*speaks) is None
    assert np.ptp(found(metric, *silent)) < 1e-3
    assert np.ptp(found(metric, *speaks)) > 1e-3


def test_a_score_that_always_speaks():
    assert RECORDS["logme"].says_nothing(5, 2000) is None


def test_the_plain_h_score_warns_of_it():
    targets = np.arange(12) % 3
    features = np.random.default_rng(0).normal(size=(12, 11))
    with pytest.warns(UserWarning, match=r"n = 12 samples of width D = 11: with n <= D \+ 1"):
        assert h_score(features, targets) == pytest.approx(2.0)
