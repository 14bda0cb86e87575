"""How good held-out predictions are: accuracy for classes, R^2 for anything else."""

import torch
from torch import Tensor

from hubfast.scores.sample_score import SampleScore


def quality(predicted: Tensor, targets: Tensor) -> SampleScore:
    """Accuracy of class ids `(n,)`, or the mean R^2 of columns `(n, C)`, with influences.

    Raises:
        ValueError: Target columns that do not vary.
    """
    if targets.ndim == 1:
        right = (predicted == targets).double()
        return SampleScore(float(right.mean()), right)
    spread = (targets - targets.mean(0)).square()
    variance = spread.mean(0)
    if not bool((variance > 0).all()):
        constant = (variance == 0).nonzero().flatten().tolist()
        raise ValueError(f"targets must vary, got constant columns: {constant}")
    lost = (predicted - targets).square() / variance
    share = lost.mean(0)  # 1 - R^2
    influence = (1 - lost + share * (spread / variance - 1)).mean(1)
    return SampleScore(float((1 - share).mean()), influence)


def interleaved(classes: Tensor | None, count: int, folds: int, seed: int) -> Tensor:
    """Fold 0..folds - 1 of each of `count` samples, classes in proportion in every fold, `(n,)`."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    if classes is not None:
        order = order[classes[order].argsort(stable=True)]
    found = torch.empty(count, dtype=torch.int64)
    found[order] = torch.arange(count) % folds
    return found
