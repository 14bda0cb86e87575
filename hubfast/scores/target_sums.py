"""Sums over samples that targets take part in."""

import torch
from torch import Tensor

from hubfast import ops


def target_sums(x: Tensor, y: Tensor, classes: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of y x' `(C, D)`, of y `(C,)` and of y^2 `(C,)`.

    Args:
        x: Features, `(n, D)` float64.
        y: Targets, `(n, C)`; of classes their ids `(n,)`, which stand for rows of zeros and a one.
        classes: Ids of the classes, `(C,)` int64 ascending; None unless y are classes.
    """
    if classes is None:
        return y.T @ x, y.sum(0), y.square().sum(0)
    index = torch.searchsorted(classes, y)
    counts = index.bincount(minlength=len(classes)).double()
    return ops.class_sums(x, index, len(classes)), counts, counts


def with_more_classes(sums: Tensor, index: Tensor, classes: int) -> Tensor:
    """Sums `(C, ...)` as those of more classes, of which the new ones have none.

    Args:
        sums: One row per class.
        index: Where each of these classes is among all, `(C,)` int64.
        classes: How many classes there are in all.
    """
    grown = sums.new_zeros(classes, *sums.shape[1:])
    grown[index] = sums
    return grown
