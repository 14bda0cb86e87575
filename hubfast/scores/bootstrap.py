"""Intervals of scores, and of differences between models on the same samples.

A score moves with its samples as a mean of their influences does (the infinitesimal jackknife),
so resampling the influences is the bootstrap of the score without computing it again.
"""

from typing import NamedTuple

import numpy as np
from torch import Tensor

RESAMPLES = 2000
LEVEL = 0.95


class Intervals(NamedTuple):
    """Of M models, `(M,)` each."""

    low: np.ndarray
    high: np.ndarray
    tied: np.ndarray  # bool: not distinguishable from the best score, itself included


def bootstrap(scores: list[float], influences: list[Tensor], count: int, seed: int) -> Intervals:
    """Percentile intervals at level 0.95, all models resampled alike.

    Args:
        scores: Of M models, higher is better.
        influences: For each model those of the same r of the n samples, `(r,)`.
        count: n; with r < n the spread is that of n samples.
        seed: The same seed gives the same intervals.

    Returns:
        `low`, `high`, and `tied`: whether the interval of the difference to the best model holds
        0. NaN and True where a model has an influence that is not finite.
    """
    values = np.stack([x.numpy() for x in influences])  # (M, r)
    rows = values.shape[1]
    draws = np.random.default_rng(seed).multinomial(rows, np.full(rows, 1 / rows), RESAMPLES)
    values = np.where(np.isfinite(values).all(1, keepdims=True), values, np.nan)
    centred = values - values.mean(1, keepdims=True)
    shifts = centred @ draws.T / rows * np.sqrt(rows / count)  # (M, resamples)
    resampled = np.asarray(scores)[:, None] + shifts
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.quantile(resampled, tails, axis=1)
    behind = resampled[int(np.argmax(scores))] - resampled
    smallest = np.quantile(behind, tails[0], axis=1)
    return Intervals(low, high, ~(smallest > 0))
