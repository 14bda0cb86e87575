"""Influences of clusters of samples, such as the words of a sentence, which are drawn together."""

import torch
from torch import Tensor


def cluster_influences(influences: Tensor, clusters: Tensor, *, cut: bool) -> Tensor:
    """The influence of each cluster on a score that is of samples, `(c,)`.

    A score moves with whole clusters as the sum over the samples of each moves it (the linearised
    ratio, since the number of samples moves, too). The sums are divided by the root of the mean
    size of a cluster: n samples of such influences, each drawn by itself, would move the score as
    much as the clusters of n samples do. So whoever resamples influences of samples resamples
    these.

    Args:
        influences: The influence of each of the first samples, `(r,)` float64.
        clusters: Which of them belong together, `(r,)`, each cluster in one piece.
        cut: Whether more samples follow, so that the last cluster may not be whole; it is then left
            out, unless it is the only one.
    """
    if cut and bool((others := clusters != clusters[-1]).any()):
        whole = int(others.nonzero().max()) + 1
        influences, clusters = influences[:whole], clusters[:whole]
    names, which = torch.unique_consecutive(clusters, return_inverse=True)
    sums = influences.new_zeros(len(names)).index_add_(0, which, influences - influences.mean())
    return sums / (len(influences) / len(names)) ** 0.5
