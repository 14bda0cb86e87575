"""Influences on scores that fit something to their samples: groups of samples are left out.

A sample moves such a score in two ways: by its own term, and by what it does to the fit. The second
is seen by leaving samples out. Deleting groups needs few refits and is right for scores that take
steps, where deleting one sample after the other is not. Shao, Wu: "A General Theory for Jackknife
Variance Estimation", Annals of Statistics 1989; Kott: "The Delete-a-Group Jackknife", Journal of
Official Statistics 2001.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from hubfast.scores.bootstrap import LEVEL, NORMAL
from hubfast.scores.clustered import by_appearance
from hubfast.scores.fitted import SampleScore
from hubfast.scores.held_out import smoothed

GROUPS = 10
FEWEST = 3  # clusters, of which some are left out: of two, a fit that holds one out has none left


def groups_of(count: int, groups: int = GROUPS, clusters: Tensor | None = None) -> Tensor:
    """A group 0..groups - 1 for each of `count` samples, `(n,)`; the same for every model.

    It goes by the position of the sample, by a draw that has nothing to do with an order of
    classes.

    Args:
        count: The number of samples n.
        groups: How many groups.
        clusters: Which samples belong together, `(n,)`: a cluster is in one group, and groups are
            about as large as each other. Fewer than three clusters are one group.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    if clusters is None:
        return torch.randperm(count, generator=generator, device="cpu") % min(groups, count)
    which = by_appearance(clusters)
    sizes = which.bincount().tolist()
    if len(sizes) < FEWEST:
        return torch.zeros_like(which)
    filled, group = [0] * min(groups, len(sizes)), which.new_empty(len(sizes))
    for cluster in torch.randperm(len(sizes), generator=generator, device="cpu").tolist():
        smallest = min(range(len(filled)), key=filled.__getitem__)
        group[cluster] = smallest
        filled[smallest] += sizes[cluster]
    return group[which]


def group_influences(
    score: float,
    groups: Tensor | None,
    without: Callable[[Tensor], float],
    *,
    noise: float = 0.0,
) -> Tensor:
    """Influences of samples, one value per group, that have the spread of the whole score.

    Their std over sqrt(n) is the delete-a-group estimate of the score's standard error, widened as
    Student's t is beside the normal distribution, since few groups know it roughly.

    Args:
        score: The score of all samples.
        groups: What `groups_of` gives, `(n,)`. `order_free` gives them to every fit that it wraps.
        without: Gives the score of the samples where a mask `(n,)` is True.
        noise: Variance of the score that leaving samples out does not show, such as that of a draw
            of folds. Each model has such noise of its own: it spreads over the samples by signs
            that are drawn for their own order, which no two models share.

    Returns:
        `(n,)` float64; NaN where all samples are one group.
    """
    assert groups is not None
    count, number = len(groups), int(groups.max()) + 1
    if number < 2:
        return torch.full((count,), math.nan, dtype=torch.float64, device="cpu")
    found = [without(groups != group) for group in range(number)]
    values = torch.tensor(found, dtype=torch.float64, device="cpu")
    widened = _student(len(values) - 1) / NORMAL
    moved = (values.mean() - values) * math.sqrt(count * (len(values) - 1))
    each = widened * (moved[groups] + math.sqrt(count * noise) * _signs(count))
    return score + each - each.mean()


def fitted_anew(groups: Tensor | None, of: Callable[[Tensor], float]) -> SampleScore:
    """The score of all samples, with influences by `group_influences`.

    Args:
        groups: As in `group_influences`.
        of: Gives the score of the samples where a mask `(n,)` on the CPU is True.
    """
    assert groups is not None
    score = of(torch.ones_like(groups, dtype=torch.bool))
    return SampleScore(score, group_influences(score, groups, of))


def share_of_right(
    right: Tensor, margins: Tensor, groups: Tensor | None, again: Callable[[Tensor], Tensor]
) -> SampleScore:
    """The share of predictions that are right, with influences as `group_influences` gives them.

    What leaving a group out does to the predictions of the others shows in their margins,
    `smoothed`. A share of 1 has a spread, too: the next sample may be wrong.

    Args:
        right: How right the prediction of each sample is, from 0 to 1, `(n,)` float64.
        margins: By how much each sample's class leads all others, `(n,)`.
        groups: As in `group_influences`.
        again: Gives the margins of the samples where a mask `(n,)` is True, by a fit to no others.
    """

    def without(mask: Tensor) -> float:
        turned = smoothed(again(mask), margins) - smoothed(margins[mask], margins)
        return float((right[mask] + turned).mean())

    score = float(right.mean())
    noise = _unseen(score, len(right))
    return SampleScore(score, group_influences(score, groups, without, noise=noise))


def _unseen(share: float, count: int) -> float:
    """Variance that the samples do not show of a share near 0 or 1, where the rarer kind is seldom.

    It is that of two samples more of either kind, less that without: Agresti, Coull: "Approximate
    Is Better than 'Exact' for Interval Estimation of Binomial Proportions", The American
    Statistician 1998.
    """
    inner = (count * share + 2) / (count + 4)
    return max(0.0, inner * (1 - inner) - share * (1 - share)) / count


def _signs(count: int) -> Tensor:
    """As many -1 as 1, or one more, in an order that is drawn, `(n,)` float64."""
    generator = torch.Generator("cpu").manual_seed(1)
    drawn = torch.randperm(count, generator=generator, device="cpu") % 2
    return (2 * drawn - 1).double()


def _student(freedom: int) -> float:
    from scipy.stats import t  # slow to import

    return float(t.ppf((1 + LEVEL) / 2, freedom))
