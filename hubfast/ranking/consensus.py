"""One order from several scores, by Borda's count."""

from collections.abc import Sequence

import numpy as np

CONSENSUS = "consensus"


def borda(scores: np.ndarray) -> np.ndarray:
    """Gives the mean over the metrics of the share of the other models that a model beats.

    It is 1 for the first by every metric, 0 for the last; ties count half. Each metric has one
    vote, so metrics that measure much the same outvote a different one. A model is judged by the
    metrics that it has, each among the models that have it.

    Args:
        scores: `(K, M, ...)` of K metrics and M models, higher is better, NaN where there is none.

    Returns:
        `(M, ...)`; 1 where there is nothing to beat, NaN for a model without any score.
    """
    from scipy.stats import rankdata  # slow to import

    present = np.isfinite(scores)
    ranks = rankdata(np.where(present, scores, -np.inf), axis=1)  # 1 for the worst
    absent = (~present).sum(1, keepdims=True)
    others = present.sum(1, keepdims=True) - 1
    shares = np.where(others > 0, (ranks - absent - 1) / np.maximum(others, 1), 1.0)
    votes = present.sum(0)
    total = np.where(present, shares, 0).sum(0)
    return np.where(votes > 0, total / np.maximum(votes, 1), np.nan)


def resampled_borda(samples: Sequence[np.ndarray]) -> np.ndarray:
    """`borda` of every resample: K metrics' `(M, resamples)` give `(M, resamples)`."""
    return borda(np.stack(samples))
