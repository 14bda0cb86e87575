"""Intervals of scores, and of differences between models on the same samples.

A score moves with its samples as a mean of their influences does (the infinitesimal jackknife),
so resampling the influences is the bootstrap of the score without computing it again.
"""

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from torch import Tensor

RESAMPLES = 2000
LEVEL = 0.95
NORMAL = NormalDist().inv_cdf((1 + LEVEL) / 2)  # half the width of an interval, in standard errors


class Intervals(NamedTuple):
    """The intervals of M models, `(M,)` each."""

    low: np.ndarray
    high: np.ndarray
    tied: np.ndarray  # bool: not distinguishable from the best score, itself included


def resampled(
    scores: Sequence[float], influences: Sequence[Tensor], count: int, seed: int
) -> np.ndarray:
    """Scores of M models on resampled data, all models resampled alike, `(M, RESAMPLES)`.

    Args:
        scores: The scores of M models.
        influences: For each model the influences of the same r of the n samples, `(r,)`.
        count: The number of samples n; with r < n the spread is still that of n samples.
        seed: The same seed and r resample other scores of the same models alike, too.

    Returns:
        NaN where a model has an influence that is not finite.
    """
    values = np.stack([x.numpy() for x in influences])  # (M, r)
    rows = values.shape[1]
    draws = np.random.default_rng(seed).multinomial(rows, np.full(rows, 1 / rows), RESAMPLES)
    values = np.where(np.isfinite(values).all(1, keepdims=True), values, np.nan)
    centred = values - values.mean(1, keepdims=True)
    shifts = centred @ draws.T / rows * np.sqrt(rows / count)  # (M, resamples)
    return np.asarray(scores)[:, None] + shifts


def intervals(scores: Sequence[float], samples: np.ndarray) -> Intervals:
    """Percentile intervals at level 0.95 of M models, higher is better.

    Args:
        scores: The scores of M models.
        samples: The scores of the same models on resampled data, `(M, resamples)`.

    Returns:
        `low`, `high`, and `tied`: whether the interval of the difference to the best model holds
        0. NaN and True where a model has NaN.
    """
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.quantile(samples, tails, axis=1)
    behind = samples[int(np.argmax(scores))] - samples
    smallest = np.quantile(behind, tails[0], axis=1)
    return Intervals(low, high, ~(smallest > 0))


def bootstrap(
    scores: Sequence[float], influences: Sequence[Tensor], count: int, seed: int
) -> Intervals:
    """Gives the `intervals` of `resampled` scores; arguments as there."""
    return intervals(scores, resampled(scores, influences, count, seed))
