"""How good held-out predictions are: accuracy for classes, R^2 for anything else."""

import math

import numpy as np
import torch
from torch import Tensor


def check_varies(targets: Tensor) -> None:
    """Refuses target columns `(n, C)` that do not vary; class ids `(n,)` may be all the same.

    Raises:
        ValueError: Some do not; the message has their positions.
    """
    constant = (~_varies(targets)).nonzero().flatten().tolist() if targets.ndim == 2 else []
    if constant:
        raise ValueError(f"targets must vary, got constant columns: {constant}")


def quality(predicted: Tensor, targets: Tensor) -> float:
    """Accuracy of class ids `(n,)`, or the mean R^2 of those columns `(n, C)` that vary.

    It is NaN where no column varies.
    """
    if targets.ndim == 1:
        return float((predicted == targets).double().mean())
    varying = _varies(targets)
    if not bool(varying.any()):
        return math.nan
    missed = (predicted - targets)[:, varying].square().mean(0)
    return float((1 - missed / targets[:, varying].var(0, correction=0)).mean())


def smoothed(margins: Tensor, like: Tensor) -> Tensor:
    """What a prediction counts: 1 far on the right side, 0 far on the wrong one, `(n,)`.

    Whether a prediction is right takes steps, so that a slight change of a fit turns a few over and
    says little of how many it turns over on average. Smoothed over the margins near 0 it does; the
    bandwidth is Silverman's.

    Args:
        margins: By how much each sample's class leads all others, `(n,)`.
        like: Margins of the same kind whose spread and number set the bandwidth.
    """
    width = 1.06 * float(like.std(correction=0)) * len(like) ** -0.2
    return torch.special.ndtr(margins / width) if width > 0 else (margins > 0).to(margins)


def margins_of(scores: Tensor, labels: Tensor) -> Tensor:
    """By how much the score of the own class exceeds the highest other one, `(n,)`.

    Args:
        scores: Of each class, `(n, C)`.
        labels: Index of each sample's class, `(n,)`; -1 for one that has no column.
    """
    own = torch.zeros_like(scores, dtype=torch.bool)
    known = labels >= 0
    own[known, labels[known]] = True
    lowest = scores.amin(1) - 1
    right = torch.where(known, scores.masked_fill(~own, -torch.inf).amax(1), lowest)
    others = scores.masked_fill(own, -torch.inf).amax(1)
    return right - torch.where(others.isfinite(), others, lowest)


def _varies(columns: Tensor) -> Tensor:
    return (columns - columns.mean(0)).square().mean(0) > 0


def interleaved(classes: Tensor | None, count: int, folds: int, seed: int) -> Tensor:
    """Fold 0..folds - 1 of each of `count` samples, classes in proportion in every fold, `(n,)`.

    It goes by position. Classes take turns by their first sample, so their ids do not matter.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    order = torch.randperm(count, generator=generator, device="cpu")
    if classes is not None:
        _, first, index = np.unique(classes.numpy(), return_index=True, return_inverse=True)
        order = order[torch.from_numpy(first[index])[order].argsort(stable=True)]
    found = torch.empty(count, dtype=torch.int64, device="cpu")
    found[order] = torch.arange(count, device="cpu") % folds
    return found
