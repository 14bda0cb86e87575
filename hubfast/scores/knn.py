"""k-NN: leave-one-out accuracy of the nearest neighbours in feature space.

Compared with other scores by Renggli et al., "Which Model to Transfer? Finding the Needle in the
Growing Haystack", CVPR 2022, and by Bolya et al., NeurIPS 2021.
"""

from typing import Any

import torch
from torch import Tensor

from hubfast.scores.held_out import quality
from hubfast.scores.inputs import Task, as_features, as_targets
from hubfast.scores.sample_score import SampleScore

NEIGHBOURS = 5


def knn(features: Any, targets: Any, *, k: int = NEIGHBOURS, task: Task | None = None) -> float:
    """Accuracy of a vote among the k nearest other samples, by cosine; R^2 of their mean else.

    Of classes with as many votes, the one with the nearest sample wins. Accuracy is between 0 and
    1, R^2 at most 1; higher is better. Needs O(n^2) memory. It misleads where a class has fewer
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


def fit_knn(
    features: Any, targets: Any, *, k: int = NEIGHBOURS, task: Task | None = None
) -> SampleScore:
    """k-NN with each sample's influence; arguments as in `knn`."""
    x = as_features(features).double()
    y, task = as_targets(targets, len(x), task)
    if not 1 <= k < len(x):
        raise ValueError(f"k must be in 1..{len(x) - 1} for {len(x)} samples, got {k}")
    nearest = _nearest(x, k).cpu()
    y = y.cpu()
    if task == "classification":
        classes, index = y.unique(return_inverse=True)
        return quality(_vote(index[nearest], len(classes)), index)
    return quality(y[nearest].mean(1), y)


def _nearest(x: Tensor, k: int) -> Tensor:
    """Indices of the k samples of largest cosine to each, itself left out, nearest first."""
    length = x.norm(dim=1, keepdim=True)
    unit = torch.where(length > 0, x / length, 0)
    cosines = unit @ unit.T
    cosines.fill_diagonal_(-torch.inf)
    return cosines.topk(k, dim=1).indices


def _vote(labels: Tensor, classes: int) -> Tensor:
    """The most frequent of each row of `labels` (n, k), nearest first."""
    # Each place outweighs all later ones together, and all of them are less than a vote.
    weights = 1 + 0.5 ** torch.arange(2, labels.shape[1] + 2, dtype=torch.float64)
    votes = torch.zeros(len(labels), classes, dtype=torch.float64)
    return votes.scatter_add_(1, labels, weights.expand(labels.shape)).argmax(1)
