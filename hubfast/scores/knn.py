"""k-NN: leave-one-out accuracy of the nearest neighbours in feature space.

Compared with other scores by Renggli et al., "Which Model to Transfer? Finding the Needle in the
Growing Haystack", CVPR 2022, and by Bolya et al., NeurIPS 2021.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from hubfast.functional import class_sums
from hubfast.scores.held_out import quality
from hubfast.scores.inputs import Task, as_features, as_targets
from hubfast.scores.own_order import order_free
from hubfast.scores.sample_score import SampleScore

NEIGHBOURS = 5
ROUND_OFF = torch.finfo(torch.float64).eps  # of a cosine, for each feature
EQUAL_VOTES = 1e-9  # of a vote: a smaller difference is round-off


def knn(features: Any, targets: Any, *, k: int = NEIGHBOURS, task: Task | None = None) -> float:
    """Accuracy of a vote among the k nearest other samples, by cosine; R^2 of their mean else.

    Samples that are equally near, as of binary or repeated features, share the places that they
    take among the k. Of classes with as many votes, the one with the nearest sample wins; where
    these are equally near, too, a sample counts as right by one over how many classes tie, if its
    own is one of them. So the order of the samples does not matter. Accuracy is between 0 and 1,
    R^2 at most 1; higher is better. Needs O(n^2) memory. It misleads where a class has fewer
    than k / 2 samples, and it takes steps of 1 / n, so that good models tie.

    Args:
        features: `(n, D)` tensor or array, any float dtype.
        targets: `(n,)` integer classes; `(n, C)` 0/1 or floats for R^2.
        k: Neighbours, below n.
        task: As in `logme`.

    Raises:
        TypeError, ValueError: Bad input; the message names the argument.
    """
    return fit_knn(features, targets, k=k, task=task).score


@order_free
def fit_knn(
    features: Any, targets: Any, *, k: int = NEIGHBOURS, task: Task | None = None
) -> SampleScore:
    """k-NN with each sample's influence; arguments as in `knn`."""
    x = as_features(features).double()
    y, task = as_targets(targets, len(x), task)
    if not 1 <= k < len(x):
        raise ValueError(f"k must be in 1..{len(x) - 1} for {len(x)} samples, got {k}")
    y = y.cpu()
    places = _equally_near(x, k)
    if task == "classification":
        _, index = y.unique(return_inverse=True)
        return _vote(places, index)
    return quality(torch.stack([_mean_of(each, y) for each in places]).mean(0), y)


def _equally_near(x: Tensor, k: int) -> Iterator[Tensor]:
    """For each of the k places nearest to each sample by cosine: who is as near as its holder.

    Yields:
        `(n, n)` bool on the CPU, a row for each sample, itself left out.
    """
    length = x.norm(dim=1, keepdim=True)
    unit = torch.where(length > 0, x / length, 0)
    cosines = (unit @ unit.T).fill_diagonal_(-torch.inf).cpu()
    same = ROUND_OFF * max(x.shape[1], 16)
    for place in cosines.topk(k, dim=1).values.split(1, dim=1):
        yield (cosines >= place - same) & (cosines <= place + same)


def _mean_of(chosen: Tensor, values: Tensor) -> Tensor:
    """Mean of those rows of `values` (n, C) that each row of `chosen` (n, n) picks, `(n, C)`."""
    rows, columns = chosen.nonzero(as_tuple=True)
    sums = class_sums(values[columns], rows, len(chosen))
    return sums / chosen.sum(1, keepdim=True)


def _vote(places: Iterator[Tensor], index: Tensor) -> SampleScore:
    """How right a vote of the places is about each sample's class."""
    labels = one_hot(index).double()
    votes = torch.zeros_like(labels)
    for place, chosen in enumerate(places):
        # Each place outweighs all later ones together, and all of them are less than a vote.
        votes += (1 + 0.5 ** (place + 2)) * _mean_of(chosen, labels)
    first = votes >= votes.amax(1, keepdim=True) - EQUAL_VOTES
    right = (first * labels).sum(1) / first.sum(1)
    return SampleScore(float(right.mean()), right)
