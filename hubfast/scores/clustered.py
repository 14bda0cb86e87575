"""Clusters of samples, such as the words of a sentence, which are drawn together."""

import numpy as np
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
    whole = whole_ones(clusters, cut=cut)
    influences, clusters = influences[:whole], clusters[:whole]
    names, which = torch.unique_consecutive(clusters, return_inverse=True)
    sums = influences.new_zeros(len(names)).index_add_(0, which, influences - influences.mean())
    return sums / (len(influences) / len(names)) ** 0.5


def one_of_each(influences: Tensor, clusters: Tensor, *, cut: bool) -> Tensor:
    """The influence of each cluster, `(c,)`, where it is that of each of its samples already.

    So it is of a score that was fitted anew without whole clusters. Arguments are those of
    `cluster_influences`.
    """
    clusters = clusters[: whole_ones(clusters, cut=cut)]
    sizes = torch.unique_consecutive(clusters, return_counts=True)[1]
    return influences[sizes.cumsum(0) - sizes]


def whole_ones(clusters: Tensor, *, cut: bool) -> int:
    """How many of the first samples are of whole clusters; see `cluster_influences`."""
    others = (clusters != clusters[-1]).nonzero() if cut else clusters[:0]
    return int(others.max()) + 1 if len(others) else len(clusters)


def sizes_of(clusters: Tensor) -> Tensor:
    """The number of samples of each cluster, in no order that means anything, `(c,)`."""
    return torch.unique(clusters, return_counts=True)[1]


def check_several(clusters: Tensor | None, name: str) -> None:
    """Refuses samples that are all of one cluster, for what tells some by those of others.

    Raises:
        ValueError: They are; the message begins with `name`.
    """
    if clusters is not None and len(sizes_of(clusters)) < 2:
        raise ValueError(f"{name} needs samples of at least 2 clusters, got 1")


def by_appearance(clusters: Tensor) -> Tensor:
    """Numbers 0..c - 1 of the clusters in the order in which they first appear, `(n,)` int64."""
    _, first, which = np.unique(clusters.numpy(), return_index=True, return_inverse=True)
    place = np.empty(len(first), dtype=np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    return torch.from_numpy(place[which])
