"""Samples that belong together, such as the words of a sentence: they are drawn together."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def clustered_order(clusters: Tensor, seed: int) -> Tensor:
    """Positions of all samples, clusters in a random order and each in its own, `(n,)` int64.

    Args:
        clusters: The cluster of each sample, `(n,)`.
        seed: Seed of the order.
    """
    names, which = np.unique(clusters.cpu().numpy(), return_inverse=True)
    when = np.random.default_rng(seed).permutation(len(names))[which]
    return torch.from_numpy(np.argsort(when, kind="stable"))


def whole_clusters(clusters: Tensor, count: int) -> int:
    """The least number of the first samples, at least `count`, that are whole clusters.

    Args:
        clusters: The cluster of each sample, `(n,)`, in an order that keeps them together.
        count: At most n.
    """
    return whole_ends(clusters, (count,))[0]


def whole_ends(clusters: Tensor, ends: Sequence[int]) -> tuple[int, ...]:
    """Ends of blocks moved on to where the cluster ends that they cut; those that meet are one.

    Args:
        clusters: The cluster of each sample, `(n,)`, in an order that keeps them together.
        ends: Ascending, the last at most n.
    """
    last = torch.ones(len(clusters), dtype=torch.bool, device="cpu")
    last[:-1] = clusters[1:] != clusters[:-1]
    stops = last.nonzero().ravel().numpy() + 1  # behind each cluster
    moved = stops[np.searchsorted(stops, np.asarray(ends))]
    return tuple(dict.fromkeys(moved.tolist()))
