"""Agreement of one score with the truth on one data set."""

from typing import NamedTuple

import numpy as np

from hubfast.ranking.agreement import weighted_tau

FEWEST = 3  # models for a correlation: two always lie on a line


class Measures(NamedTuple):
    """Of the models that have both values. NaN for correlations of constant or too few values."""

    tau: float  # weighted Kendall tau, weights by both orders (scipy's default; SFDA, TLlib)
    tau_by_truth: float  # the same, weights by the true order only (Model Spider)
    pearson: float
    regret_1: float  # best truth minus the best among the 1 highest-scored; 0 is perfect
    regret_3: float
    regret_5: float


def measure(scores: np.ndarray, truth: np.ndarray) -> Measures:
    """Compares scores with the truth, higher is better in both, `(M,)` each, finite.

    Models with the same score are in no order: their regret is the mean over all orders.

    Raises:
        ValueError: There are no models, or their numbers differ.
    """
    if scores.shape != truth.shape or scores.ndim != 1 or not len(scores):
        raise ValueError(f"scores and truth must be (models,), got {scores.shape}, {truth.shape}")
    few = len(scores) < FEWEST or np.ptp(scores) == 0 or np.ptp(truth) == 0
    correlations = (np.nan,) * 3 if few else _correlations(scores, truth)
    return Measures(*correlations, *(regret(scores, truth, k) for k in (1, 3, 5)))


def regret(scores: np.ndarray, truth: np.ndarray, k: int) -> float:
    """Quality lost by fine-tuning only the k highest-scored models, ties in random order."""
    k = min(k, len(scores))
    edge = np.sort(scores)[-k]
    sure, tied = truth[scores > edge], np.sort(truth[scores == edge])[::-1]
    draws = k - len(sure)
    best_sure = sure.max() if len(sure) else -np.inf
    # The best of `draws` out of the tied: the i-th best one is it if it is drawn and those
    # before it are not.
    expected, none_before = 0.0, 1.0
    for i, value in enumerate(tied):
        left = len(tied) - i
        drawn = min(draws / left, 1.0)
        expected += none_before * drawn * max(value, best_sure)
        none_before *= 1 - drawn
    return float(truth.max() - expected)


def _correlations(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    return (
        weighted_tau(scores, truth),
        weighted_tau(scores, truth, by_values=True),
        float(np.corrcoef(scores, truth)[0, 1]),
    )
