"""PARC: whether samples that are alike in feature space are alike in their labels.

Bolya, Mittapalli, Hoffman: "Scalable Diverse Model Selection for Accessible Transfer Learning",
NeurIPS 2021 (pairwise annotation representation comparison).
"""

from typing import Any

import torch
from torch import Tensor

from hubfast.scores.fitted import SampleScore
from hubfast.scores.own_order import order_free
from hubfast.scores.sample_score import class_problem, standardised
from hubfast.scores.scale import of_ordinary_size
from hubfast.scores.score import CLASSES, Score

NOTHING = 1e-12  # of a sum of squares: round-off


def parc(features: Any, targets: Any) -> float:
    """Spearman correlation, over pairs of samples, of feature and of label dissimilarity.

    Dissimilarity is 1 minus the Pearson correlation of two samples' standardised features, or
    one-hot labels. Between -1 and 1 (the authors' code multiplies by 100), higher is better.
    Needs O(n^2) memory. It misleads for many classes, where nearly all pairs differ alike, and it
    counts likeness within a class that a linear head would not need.

    Args:
        features: `(n, D)` tensor or array, D > 1, any float dtype.
        targets: `(n,)` integer classes.

    Raises:
        TypeError, ValueError: Bad input; the message names the argument.
    """
    return fit_parc(features, targets).score


@order_free
def fit_parc(features: Any, targets: Any) -> SampleScore:
    """PARC with each sample's jackknife pseudo-value, ranks as given; arguments as in `parc`."""
    x, index, _ = class_problem(features, targets, "PARC")
    x = of_ordinary_size(x)
    if x.shape[1] < 2:
        raise ValueError("PARC correlates two samples' features, so it needs a width of at least 2")
    index = index.cpu()
    count = len(x)
    rows, columns = torch.triu_indices(count, count, 1, device="cpu")
    different = (index[rows] != index[columns]).double()
    distances = 1 - _correlations(x).cpu()[rows, columns]
    a, b = (_centred_ranks(values) for values in (distances, different))
    # Constant features: all pairs alike, nothing to correlate.
    sums = torch.stack([(a * b).sum(), a.square().sum(), b.square().sum()])
    if float(sums[1]) == 0:
        return SampleScore(0.0, torch.zeros(count, dtype=torch.float64, device="cpu"))
    score = _ratio(sums)
    pieces = torch.stack([a * b, a.square(), b.square(), a, b])
    of_sample = pieces.new_zeros(5, count)
    of_sample.index_add_(1, rows, pieces).index_add_(1, columns, pieces)
    left = len(a) - (count - 1)  # pairs without one sample
    mean_a, mean_b = -of_sample[3] / left, -of_sample[4] / left
    without = sums[:, None] - of_sample[:3]
    without = without - left * torch.stack([mean_a * mean_b, mean_a**2, mean_b**2])
    # Without some sample there may be nothing left to correlate, but for round-off.
    nothing = (without[1:] <= NOTHING * sums[1:, None]).any(0)
    others = torch.where(nothing, 0.0, _ratio(without.masked_fill(nothing, 1.0)))
    influence = count * score - (count - 1) * others if left > 1 else score + 0 * mean_a
    return SampleScore(float(score), influence)


def _ratio(sums: Tensor) -> Tensor:
    return sums[0] / (sums[1] * sums[2]).sqrt()


def _correlations(x: Tensor) -> Tensor:
    """Pearson correlations of the rows of standardised `x`, `(n, n)`; 0 for a constant row."""
    scaled = standardised(x)
    rows = scaled - scaled.mean(1, keepdim=True)
    length = rows.norm(dim=1, keepdim=True)
    rows = torch.where(length > 0, rows / length, 0)
    return rows @ rows.T


def _centred_ranks(values: Tensor) -> Tensor:
    from scipy.stats import rankdata  # slow to import

    # Products of correlations that are equal differ in their last digits.
    ranks = torch.from_numpy(rankdata((values * 2**40).round().numpy()))
    return ranks - ranks.mean()


SCORE = Score(
    name="parc",
    title="PARC",
    unit="",
    range="-1 to 1",
    tasks=CLASSES,
    needs="samples",
    fit=fit_parc,
    meaning=(
        "PARC is the Spearman correlation, over all pairs of samples, of how different their "
        "features and how different their labels are. It lies between &minus;1 and 1, higher is "
        "better. With many classes nearly all pairs differ alike and it says little; it also "
        "counts likeness within a class that a classifier would not need."
    ),
    source=(
        "Bolya, Mittapalli, Hoffman: <cite>Scalable Diverse Model Selection for Accessible "
        'Transfer Learning</cite>, NeurIPS 2021. <a href="https://arxiv.org/abs/2111.06977" '
        'rel="noreferrer">arXiv:2111.06977</a>'
    ),
)
