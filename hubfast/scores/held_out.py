"""How good held-out predictions are: accuracy for classes, R^2 for anything else."""

import numpy as np
import torch
from torch import Tensor

from hubfast.scores.fitted import SampleScore


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
