"""How well a ranking agrees with known qualities of the same models."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import pearsonr, weightedtau

from hubfast.ranking.result import Ranking


class Agreement(NamedTuple):
    """How well the scores of a ranking agree with one of its own columns."""

    models: int  # number of models that have both
    weighted_tau: float  # scipy's default: weights by both orders, best first
    pearson: float
    regret: float  # best quality minus that of the best-scored model; 0 is perfect


def agreement(ranking: Ranking, title: str) -> Agreement:
    """Compares the scores with the column `title`, added by `Ranking.with_column`.

    Raises:
        ValueError: There is no such column, or fewer than two models have both values.
    """
    if title not in ranking.extra:
        raise ValueError(f"title must be one of {list(ranking.extra)}, got {title!r}")
    values = ranking.extra[title]
    rows = [m for m in ranking.ranked if m.name in values]
    if len(rows) < 2:
        raise ValueError(f"{title!r} must have values of at least 2 scored models, got {len(rows)}")
    known = [values[m.name] for m in rows]
    tau, pearson = correlations([m.score for m in rows if m.score is not None], known)
    return Agreement(len(rows), tau, pearson, max(known) - known[0])


def correlations(scores: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Weighted Kendall tau (scipy's default: by both orders) and Pearson's r; neither constant."""
    return weighted_tau(scores, values), float(pearsonr(scores, values).statistic)


def weighted_tau(
    scores: Sequence[float] | np.ndarray,
    values: Sequence[float] | np.ndarray,
    *,
    by_values: bool = False,
) -> float:
    """Weighted Kendall tau, in which the best models count most; neither may be constant.

    Args:
        scores: One number per model, higher is better.
        values: The quality that the scores should tell, in the order of `scores`.
        by_values: Which models are best is told by `values` alone; else by both (scipy's default).
    """
    if by_values:
        return float(weightedtau(values, scores, rank=None).statistic)
    return float(weightedtau(scores, values).statistic)
