"""What scores computed from samples share: input checks, influences, exact rotations."""

from collections.abc import Callable
from typing import Any

import scipy.linalg
import torch
from torch import Tensor

from hubfast.scores.fitted import SampleScore
from hubfast.scores.inputs import as_features, as_targets
from hubfast.utils.threads import one_torch_thread


def class_problem(features: Any, targets: Any, name: str) -> tuple[Tensor, Tensor, int]:
    """Features `(n, D)` float64, class indices 0..C - 1 `(n,)`, and C.

    Raises:
        TypeError, ValueError: Bad input, a single class, or one sample of each class.
    """
    x = as_features(features).double()
    y, _ = as_targets(targets, len(x), "classification")
    classes, index = y.to(x.device).unique(return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"{name} needs at least 2 classes, got {classes.tolist()}")
    if len(classes) == len(x):
        raise ValueError(f"{name} needs two samples of one class, got one sample of each")
    return x, index, len(classes)


def by_weights(score: Callable[[Tensor], Tensor], count: int, device: torch.device) -> SampleScore:
    """The score, and by its gradient how it moves with the weight of each sample.

    Args:
        score: A differentiable function from weights `(n,)` that add up to 1 to a scalar.
        count: The number of samples n.
        device: Where the weights are.
    """
    weights = torch.full((count,), 1 / count, dtype=torch.float64, device=device)
    weights.requires_grad_()
    with torch.enable_grad():
        value = score(weights / weights.sum())
    (gradient,) = torch.autograd.grad(value, weights)
    found = value.detach()
    return SampleScore(float(found), (found + gradient).cpu())


def centred(x: Tensor) -> Tensor:
    """Columns of `x` (n, D) less their means; 0 where they are constant but for round-off."""
    moved = x - x.mean(0)
    noise = x.abs().amax(0) * len(x) * torch.finfo(x.dtype).eps
    return torch.where(moved.abs().amax(0) > noise, moved, 0)


def standardised(x: Tensor) -> Tensor:
    """Columns of `x` (n, D) with mean 0 and variance 1; 0 where they are constant."""
    moved = centred(x)
    std = moved.square().mean(0).sqrt()
    return torch.where(std > 0, moved / std, 0)


def compact(x: Tensor) -> Tensor:
    """Rows of `x` (n, D) in an orthonormal basis of their span: `(n, min(n, D))`, products kept."""
    if x.shape[1] <= len(x):
        return x
    with one_torch_thread():
        return torch.linalg.qr(x.T, mode="r")[1].T


def principal_components(x: Tensor, keep: int | float) -> Tensor:
    """Coordinates of the centred rows of `x` (n, D) along their directions of largest variance.

    Args:
        x: float64.
        keep: How many directions, or, if below 1, as many as hold this share of the variance.

    Returns:
        `(n, k)`, largest variance first; k is at least 1.
    """
    moved = centred(x)
    wide = moved.shape[1] > len(moved)
    gram = (moved @ moved.T if wide else moved.T @ moved).cpu().numpy()
    size = len(gram)
    count = size if keep < 1 else min(int(keep), size)
    values, vectors = scipy.linalg.eigh(gram, subset_by_index=[size - count, size - 1])
    variances = torch.from_numpy(values[::-1].copy()).clamp(min=0).to(x)
    directions = torch.from_numpy(vectors[:, ::-1].copy()).to(x)
    if keep < 1:
        shares = variances.cumsum(0) / variances.sum()
        count = min(int((shares < keep).sum()) + 1, size)
    if wide:
        return directions[:, :count] * variances[:count].sqrt()
    return moved @ directions[:, :count]
