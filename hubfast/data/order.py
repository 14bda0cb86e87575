"""One seeded order of the samples, in which every prefix has the classes in proportion.

Whoever looks at the first n samples looks at a fair part of all, whatever n is: intervals, the
looks of a race, and the features that some scores keep are of prefixes.
"""

import numpy as np
import torch
from torch import Tensor

from hubfast.data.clusters import clustered_order, whole_ends
from hubfast.scores.inputs import Task

FIRST, LARGEST = 128, 1024  # samples of the first block, and of every later one beyond 1,024


def seeded_order(
    targets: Tensor, task: Task, seed: int = 0, clusters: Tensor | None = None
) -> Tensor:
    """Positions of all samples in the order in which they are looked at, `(n,)` int64.

    Each class is shuffled and spread evenly over the whole: the j-th of its n_c samples comes at
    (j + u) / n_c, where the starts u of the classes are spread evenly over [0, 1) at random. So
    each prefix holds of each class its share of samples, but for one or two. The classes of
    multi-label targets are the sets of labels; regression is a plain shuffle. Clusters are shuffled
    whole, whatever their targets are.

    Args:
        targets: As `as_targets` returns them.
        task: The task that they pose.
        seed: Seed of the order.
        clusters: Which samples stay together, `(n,)`; None for none.
    """
    if clusters is not None:
        return clustered_order(clusters, seed)
    count = len(targets)
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(count)
    if task == "regression":
        return torch.from_numpy(shuffled)
    classes = np.unique(targets.cpu().numpy()[shuffled], axis=0, return_inverse=True)[1].ravel()
    sizes = np.bincount(classes)
    starts = (generator.permutation(len(sizes)) + generator.random(len(sizes))) / len(sizes)
    by_class = np.argsort(classes, kind="stable")
    place = np.empty(count, dtype=np.int64)  # of each sample within its class
    place[by_class] = np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    when = (place + starts[classes]) / sizes[classes]
    return torch.from_numpy(shuffled[np.argsort(when, kind="stable")])


def block_ends(count: int, clusters: Tensor | None = None) -> tuple[int, ...]:
    """Where the order is cut into blocks: at 128, 256, 512, 1,024, then every 1,024, and at n.

    Args:
        count: Samples, n.
        clusters: Which samples stay together, `(n,)` in that order: a block ends where the cluster
            ends that it would cut. None for none.
    """
    ends, end = [], FIRST
    while end < count:
        ends.append(end)
        end += min(end, LARGEST)
    whole = (*ends, count) if count else ()
    return whole if clusters is None or not whole else whole_ends(clusters, whole)
